"""How long a five-year file takes to be parsed and loaded into DuckDB, and by how much the process grows.

Run with `python -m tests.bench.load_file`; prints JSON. Each round is a process of its own that starts with a file on
disk and an empty database; `grown_mb` is its high-water mark minus what it had after its imports.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from expert_bot.energy.formats import parse_curve
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from tests.unit.curve_files import MADRID, clock_at_end, datadis_json, e_distribucion, labelled

ROUNDS: Final = 5
UPLOADED_AT: Final = datetime(2026, 11, 1, tzinfo=UTC)


def write_files(folder: Path) -> list[Path]:
    """Write a file of 60 months in three layouts."""
    readings = simulate_household(until=date(2026, 10, 31), months=60)
    rows = labelled(readings, clock_at_end, MADRID)
    contents = {
        "household_csv": b"".join(write_household_csv(readings)),
        "e_distribucion_csv": e_distribucion(rows),
        "datadis_json": datadis_json(rows),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


async def load(file: Path) -> dict[str, float]:
    """Parse one file and load it into a new database beside it; return seconds and megabytes."""
    before_mb = _peak_mb()
    started = time.perf_counter()
    with file.open("rb") as source:
        curve = parse_curve(source)
    parsed = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        analytics = DuckdbAnalytics(Path(folder) / "analytics.duckdb", pseudonym=lambda user: user)
        await analytics.store_readings("bench", curve.readings, as_of=UPLOADED_AT)
        await analytics.close()
    loaded = time.perf_counter()
    return {
        "rows": curve.rows_read,
        "parse_s": parsed - started,
        "load_s": loaded - parsed,
        "total_s": loaded - started,
        "grown_mb": _peak_mb() - before_mb,
    }


def _peak_mb() -> float:
    """Return the high-water mark of this program; `getrusage` would count the parent's memory too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure each layout and print medians; with a file as argument, measure that file once."""
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(load(Path(sys.argv[1])))))  # noqa: T201 # for the parent process
        return
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in write_files(Path(folder)):
            command = [sys.executable, "-m", "tests.bench.load_file", str(file)]
            rounds = [json.loads(subprocess.check_output(command)) for _ in range(ROUNDS)]
            report[file.name] = {
                name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]
            } | {"bytes": file.stat().st_size}
    print(json.dumps(report, indent=2))  # noqa: T201 # the result


if __name__ == "__main__":
    main()
