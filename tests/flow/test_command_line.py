"""The command line as people and machines run it: real processes, their output and their exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from expert_bot import __version__
from expert_bot.config import Settings, variable_name
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "expert_bot"]
PATIENCE_S = 60.0  # only a broken command ever takes this long


def environment(folder: Path, changes: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with no settings but the data folder and these."""
    settings = {variable_name(field) for field in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    return {
        **inherited,
        "EXPERT_BOT_DATA_DIR": str(folder / "data"),
        "EXPERT_BOT_LOG_FORMAT": "json",
        **changes,
    }


def run(folder: Path, *arguments: str, code: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must have this exit code and never a traceback."""
    ran = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(folder, changes),
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "Traceback" not in ran.stderr
    assert code == ran.returncode, ran.stderr
    return ran


@contextmanager
def service(folder: Path, *arguments: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """Run a service for as long as the block runs."""
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment(folder, changes), stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def logged(process: subprocess.Popen[str], until: str = "") -> list[dict[str, Any]]:
    """Read a service's log up to this event, or to its end."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if lines[-1]["message"] == until:
            break
    return lines


def events(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of logged events."""
    return [line["message"] for line in log]


def household(rows: int) -> list[bytes]:
    """Return the lines of a household's file: a header and this many hours."""
    return list(islice(write_household_csv(simulate_household(until=date(2026, 10, 31))), rows + 1))


def test_the_demonstration_runs_everywhere_and_can_be_asked_on(tmp_path: Path) -> None:
    """Demo shows the figures to people, gives scripts JSON, and leaves data that `ask` answers from."""
    shown = run(tmp_path, "demo").stdout
    energy = re.search(r"En octubre de 2026 consumiste ([\d.,]+ kWh)", re.sub(r"[\s│]+", " ", shown))
    assert energy is not None, shown
    assert (tmp_path / "data" / "documents.sqlite3").is_file()

    demo = json.loads(run(tmp_path, "demo", "--json").stdout)
    assert energy[1] in demo["reply"]["data"]["response"]
    assert demo["reply"]["attributes"]["correlationid"] == demo["request"]["attributes"]["id"]
    assert set(demo["timings_s"]) == {"simulate", "import", "ask"}

    asked = json.loads(
        run(tmp_path, "ask", "¿Cuánto consumí en octubre de 2026?", "--user", "demo", "--json").stdout
    )
    assert asked["reply"]["data"]["facts"] == demo["reply"]["data"]["facts"]
    assert asked["reply"]["attributes"]["type"] == "com.smarwatt.chat.responded.v1"
    assert asked["took_ms"] > 0


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    """The second import of a file finds everything there, and leaves the profile alone."""
    file = tmp_path / "curve.csv"
    file.write_bytes(b"".join(household(72)))
    arguments = ["import", "consumption", str(file), "--user", "ana", "--json"]
    first, second = (json.loads(run(tmp_path, *arguments).stdout) for _ in range(2))
    assert (first["accepted"], first["inserted"], first["unchanged"], first["profile_changed"]) == (
        72,
        72,
        0,
        True,
    )
    assert (second["accepted"], second["inserted"], second["unchanged"], second["profile_changed"]) == (
        72,
        0,
        72,
        False,
    )


def test_a_partly_corrupt_file_is_imported_and_its_errors_are_told_by_line(tmp_path: Path) -> None:
    """Good rows count, so the command succeeds; each bad row is named."""
    lines = household(24)
    lines[2], lines[4] = b"not-a-day,1,0.1,R\n", b"2026-01-01,99,0.1,R\n"
    file = tmp_path / "curve.csv"
    file.write_bytes(b"".join(lines))
    shown = run(tmp_path, "import", "consumption", str(file), "--user", "ana").stdout
    assert "24 rows read, 22 accepted" in shown
    assert re.findall(r"line (\d+): \S", shown) == ["3", "5"]


@pytest.mark.parametrize(
    ("code", "content"),
    [
        pytest.param(1, b"fecha,hora,consumo,met_obtencion\nx,1,0.1,R\n", id="no usable row"),
        pytest.param(2, b"a,b\n1,2\n", id="not a household file"),
        pytest.param(2, None, id="no file"),
    ],
)
def test_an_import_without_effect_fails(code: int, content: bytes | None, tmp_path: Path) -> None:
    """1 when the file had nothing to store, 2 when the command cannot use it at all; the message says why."""
    file = tmp_path / "curve.csv"
    if content is not None:
        file.write_bytes(content)
    ran = run(tmp_path, "import", "consumption", str(file), "--user", "ana", code=code)
    assert re.search(r"nothing usable|error: .*(header|No such file)", ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    ("said", "arguments", "changes"),
    [
        pytest.param(
            "EXPERT_BOT_MODE='prod': allowed: ", ["work"], {"EXPERT_BOT_MODE": "prod"}, id="wrong setting"
        ),
        pytest.param(
            "EXPERT_BOT_DATA_DIR='/dev/null/x' cannot be used",
            ["work"],
            {"EXPERT_BOT_DATA_DIR": "/dev/null/x"},
            id="folder",
        ),
        pytest.param("user_id: ", ["ask", "hola", "--user", "a/b"], {}, id="unusable user id"),
    ],
)
def test_a_wrong_use_is_one_line(
    said: str, arguments: list[str], changes: dict[str, str], tmp_path: Path
) -> None:
    """Exit code 2 and one line that says what is allowed; no traceback."""
    ran = run(tmp_path, *arguments, code=2, **changes)
    assert (ran.stderr.count("\n"), ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"error: {said}")


def test_topics_are_created_once(tmp_path: Path) -> None:
    """Opening the embedded bus creates them; applying again finds them all there."""
    report = json.loads(run(tmp_path, "topics", "apply", "--json").stdout)
    assert report["created"] == []
    assert {"chat-requests", "chat-replies", "expert-bot-chat-requests"} <= set(report["existing"])


def test_the_contract_is_written_and_checked(tmp_path: Path) -> None:
    """Check fails where nothing is written and says what to do; after writing it passes."""
    drift = run(tmp_path, "contract", "check", "--root", str(tmp_path), code=1).stderr
    assert "docs/asyncapi.yaml" in drift
    assert "contract write" in drift
    written = run(tmp_path, "contract", "write", "--root", str(tmp_path)).stdout.split()
    assert {"docs/asyncapi.yaml", "infra/topics.json"} <= set(written)
    run(tmp_path, "contract", "check", "--root", str(tmp_path))


def test_serve_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Health, readiness and version on a free port; one SIGTERM ends it with exit code 0."""
    with service(tmp_path, "serve", PORT="0", EXPERT_BOT_COMMIT="abc") as process:
        address = logged(process, until="service_started")[-1]["http"]
        answers = {}
        for name in ("health", "ready", "version"):
            with urllib.request.urlopen(f"{address}/api/v1/{name}", timeout=PATIENCE_S) as response:  # noqa: S310  # our own address
                answers[name] = json.load(response)
        taken = run(tmp_path / "other", "serve", code=2, PORT=address.rpartition(":")[2])
        process.send_signal(signal.SIGTERM)
        rest = events(logged(process))
        assert process.wait() == 0
    assert answers["health"] == {"status": "ok"}
    assert set(answers["ready"]["checks"].values()) == {"ok"}
    assert answers["version"] == {"version": __version__, "commit": "abc", "mode": "embedded"}
    assert taken.stderr.startswith("error: PORT=")
    assert rest == ["service_stopping", "service_stopped"]


def test_a_worker_survives_being_told_to_stop_again_and_again(tmp_path: Path) -> None:
    """From the first SIGTERM to the end of the process further ones change nothing: exit code 0."""
    with service(tmp_path, "work") as process:
        assert "embedded_mode" in events(logged(process, until="service_started")), "embedded mode must warn"
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        assert events(logged(process)) == ["service_stopping", "service_stopped"]
        assert process.returncode == 0


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs /proc to see when the process listens"
)
def test_a_worker_told_to_stop_while_it_starts_stops(tmp_path: Path) -> None:
    """A SIGTERM from the moment the process listens for it is kept: the start ends in a stop, exit code 0."""
    with service(tmp_path, "work") as process:
        while process.poll() is None and not catches(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        log = events(logged(process))
        assert process.wait() == 0
    assert log[-2:] == ["service_stopping", "service_stopped"]


def catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler of its own for a signal."""
    caught = re.search(
        r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE
    )
    assert caught is not None
    return bool(int(caught[1], 16) >> (number - 1) & 1)


def test_cloud_mode_without_credentials_says_what_to_do(tmp_path: Path) -> None:
    """Missing Google credentials are one line that names the way out, not a traceback."""
    ran = run(
        tmp_path,
        "work",
        code=2,
        EXPERT_BOT_MODE="cloud",
        EXPERT_BOT_ALLOWED_SOURCES="*",
        EXPERT_BOT_PSEUDONYM_KEY="k" * 32,
        GOOGLE_CLOUD_PROJECT="no-such-project",
        GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "missing.json"),
    )
    assert ran.stderr.count("\n") == 1
    assert "GOOGLE_APPLICATION_CREDENTIALS" in ran.stderr
