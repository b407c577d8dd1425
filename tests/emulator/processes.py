"""The command line as processes: commands that end, and services that run and log."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0  # only a broken service ever takes this long


class Service:
    """A service process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def logged(self, event: str) -> dict[str, Any]:
        """Wait until the service has logged this event, and return the line's fields."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not (found := [fields for fields in self.lines() if fields["message"] == event]):
            assert self.process.poll() is None, self._log.read_text("utf-8")
            assert time.monotonic() < give_up_at, f"{event} was never logged"
            time.sleep(0.02)
        return found[0]

    def lines(self) -> list[dict[str, Any]]:
        """Return what the service has logged so far."""
        lines = self._log.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def push(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST a push delivery and return the status."""
        request = urllib.request.Request(  # noqa: S310  # the service's own address
            self.logged("service_started")["http"] + path, data=body, headers=dict(headers), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310  # the same
                status: int = response.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                return error.code


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command line to its end, which must be good, and return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "expert_bot", *arguments],
        env=environment_of(folder, environment),
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextlib.contextmanager
def service(folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Service]:
    """Run a service for as long as the block runs, once it has started."""
    log = folder / f"{arguments[0]}-{uuid.uuid4().hex[:8]}.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "expert_bot", *arguments],
            env=environment_of(folder, environment),
            stderr=stderr,
        ) as process,
    ):
        try:
            started = Service(process, log)
            started.logged("service_started")
            yield started
        finally:
            process.kill()


def environment_of(folder: Path, changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service of its own: none of this machine's settings, data in `folder`, JSON logs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EXPERT_BOT_")}
    return {
        **inherited,
        "EXPERT_BOT_DATA_DIR": str(folder / "data"),
        "EXPERT_BOT_LOG_FORMAT": "json",
        **changes,
    }
