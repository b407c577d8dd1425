"""The emulators themselves: they go when their starter goes, and say what is missing when they cannot come."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulators import PUBSUB, EmulatorMissingError, pubsub_emulator, running
from tests.waiting import until

_ROOT = Path(__file__).parents[2]
_STARTER = """
import sys
from tests.emulators import PUBSUB, running
with running(PUBSUB) as emulator:
    print(emulator.pid, flush=True)
    sys.stdin.read()
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.emulator
@pytest.mark.usefixtures("pubsub_emulator")  # where it is missing, this is skipped too
def test_an_emulator_ends_with_its_killed_starter() -> None:
    """Not even `kill -9` of whoever started it leaves an emulator behind."""
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        emulator_pid = int(starter.stdout.readline())
        assert is_alive(emulator_pid)
        os.kill(starter.pid, signal.SIGKILL)
    asyncio.run(until(lambda: not is_alive(emulator_pid)))


def test_a_missing_java_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fresh machine has no Java: the skipped test tells what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorMissingError, match="needs Java"), pubsub_emulator():
        pass


@pytest.mark.emulator
def test_a_taken_port_is_refused(request: pytest.FixtureRequest) -> None:
    """Whoever listens there already would be taken for the new emulator."""
    host: str = request.getfixturevalue("pubsub_emulator")
    port = int(host.rpartition(":")[2])
    with pytest.raises(RuntimeError, match="is taken"), running(PUBSUB, port=port):
        pass
