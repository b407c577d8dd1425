"""What only the embedded analytics file has to hold: old files, other people's eyes, and workers killed in a load."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from expert_bot.energy.readings import Period
from expert_bot.ports_analytics import UserAnalyticsRow
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.pseudonyms import Pseudonyms
from tests.contract.test_analytics import NOW, reading

KILLS = 10
HOURS = 8760
PSEUDONYM = Pseudonyms(bytes(32))

OLD_TABLE = """CREATE TABLE consumption_hourly (
    user_id VARCHAR NOT NULL, starts_at TIMESTAMP NOT NULL, energy_kwh DECIMAL(38,9) NOT NULL, method VARCHAR NOT NULL,
    local_date DATE NOT NULL, local_hour TINYINT NOT NULL, local_month VARCHAR NOT NULL, period VARCHAR NOT NULL,
    PRIMARY KEY (user_id, starts_at))"""

# Loads a year of hours whose kWh tell which upload they are of: hour n of upload u has n + u * 1e-9 kWh.
LOADER = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics

START = datetime(2023, 1, 1, tzinfo=UTC)

async def load(path, upload, hours):
    instants = [START + timedelta(hours=n) for n in range(hours)]
    readings = [
        HourlyReading(starts_at=each, energy_kwh=Decimal(n) + Decimal(upload).scaleb(-9), method=ReadingMethod.REAL,
            local_date=each.date(), local_hour=each.hour, period=Period.P3)
        for n, each in enumerate(instants)
    ]
    analytics = DuckdbAnalytics(Path(path), pseudonym=str)
    print("ready", flush=True)
    sys.stdin.readline()
    await analytics.store_readings("ana", readings, as_of=START + timedelta(seconds=upload))
    print("stored", flush=True)
    await analytics.close()

asyncio.run(load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def loaded(path: Path, upload: int, kill_after_s: float | None = None) -> float:
    """Load an upload in another process, which may be killed while it does; return how long it took or lived."""
    command = [sys.executable, "-c", LOADER, str(path), str(upload), str(HOURS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.stdin.write("go\n")
        process.stdin.flush()
        if kill_after_s is None:
            assert process.stdout.readline() == "stored\n"
        else:
            time.sleep(kill_after_s)
            process.kill()
        return time.monotonic() - began


def uploads_in(path: Path) -> set[int]:
    """Return which uploads the stored hours are of. Fails if any hour is missing, there twice, or another one."""
    with duckdb.connect(path) as connection:
        rows = connection.execute("SELECT starts_at, energy_kwh FROM consumption_hourly").fetchall()
    hours = [int((starts_at - datetime(2023, 1, 1)).total_seconds()) // 3600 for starts_at, _ in rows]  # noqa: DTZ001  # as DuckDB returns it
    assert sorted(hours) == list(range(HOURS))
    nano = [int((kwh - hour).scaleb(9)) for hour, (_, kwh) in zip(hours, rows, strict=True)]
    return set(nano)


def test_a_load_that_is_killed_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Killed at any moment of a load, a worker leaves the hours as they were or as they should be; a repetition ends it."""
    path = tmp_path / "analytics.duckdb"
    took_s = loaded(path, 0)
    moments = random.Random(4)
    before = {0}
    interrupted = 0
    for upload in range(1, KILLS + 1):
        loaded(path, upload, kill_after_s=moments.uniform(0, took_s))
        left = uploads_in(path)
        assert left in (before, {upload})
        interrupted += left == before
        before = left
    assert interrupted, "no kill came before the end of its load"
    loaded(path, KILLS)
    assert uploads_in(path) == {KILLS}


async def test_a_file_of_before_uploads_had_times_goes_on(tmp_path: Path) -> None:
    """An older file's hours are kept, under pseudonyms instead of user ids; any upload replaces them."""
    path = tmp_path / "analytics.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(OLD_TABLE)
        for user, kwh in (("user-ana", "0.5"), ("user-leo", "2")):
            connection.execute(
                "INSERT INTO consumption_hourly VALUES (?, '2023-01-01', ?, 'real', '2023-01-01', 0, '2023-01', 'P3')",
                [user, kwh],
            )
    analytics = DuckdbAnalytics(path, pseudonym=PSEUDONYM)
    [ana] = await analytics.monthly_usage("user-ana")
    report = await analytics.store_readings("user-ana", [reading(0, "0.7")], as_of=NOW)
    [leo] = await analytics.monthly_usage("user-leo")
    await analytics.close()
    assert (Decimal("0.5"), Decimal(2), 1) == (ana.energy_kwh[Period.P3], leo.total_kwh, report.changed)
    with duckdb.connect(path) as connection:
        users = connection.execute("SELECT user_id FROM consumption_hourly").fetchall()
    assert sorted(users) == sorted([(PSEUDONYM("user-ana"),), (PSEUDONYM("user-leo"),)])


async def test_no_table_holds_a_user_id(tmp_path: Path) -> None:
    """Whoever reads the file learns no user id from it."""
    path = tmp_path / "analytics.duckdb"
    analytics = DuckdbAnalytics(path, pseudonym=PSEUDONYM)
    await analytics.store_readings("canary-ana", [reading(0)], as_of=NOW)
    row = UserAnalyticsRow(row_id="1", recorded_at=NOW, user_id="canary-ana", name="n", value=Decimal(1))
    await analytics.append([row])
    await analytics.close()
    content = path.read_bytes()
    assert PSEUDONYM("canary-ana").encode() in content
    assert b"canary-ana" not in content
