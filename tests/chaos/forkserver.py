"""Worker processes that start in a tenth of a second: a parent imports the service once and forks them.

Run as `python -m tests.chaos.forkserver`: one JSON command per line on standard input, one JSON answer per line on
standard output. A worker is told through its command at which protocol step to kill itself; nothing of this exists in
the service, which only takes an injected Failpoints object.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

# everything a worker needs, imported before the first fork; no connection is opened before it
import expert_bot.consumers.embedded
import expert_bot.consumers.pull
import expert_bot.google_channels
import expert_bot.handlers.chat_requested
import expert_bot.publishers.embedded
import expert_bot.publishers.pubsub
import expert_bot.publishers.pubsub_admin
import expert_bot.storage.duckdb_analytics
import expert_bot.storage.firestore_documents
import expert_bot.storage.sqlite_bus
import expert_bot.storage.sqlite_documents  # noqa: F401  # the same
from expert_bot.config import load_settings
from expert_bot.service import run_service
from expert_bot.telemetry import configure_logging

_PR_SET_PDEATHSIG = 1
_LONGEST_STAY_S = 1.0


class KillingFailpoints:
    """Kills its own process at the n-th time a step is reached.

    `exact`: from P3 to P5 events go one by one, so that a death leaves one reply published and not marked (at P4) or
    none (at any other step), and copies can be counted; otherwise they go as they come, and a death may strike any number. The trace tells who watches from outside: one byte per step passed, `3` or `5`; while it has more of
    the former an event is in there.
    """

    def __init__(self, trace: Path, point: str | None, nth: int, *, exact: bool) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._point = point
        self._exact = exact
        self._left = nth
        self._gate = asyncio.Lock()
        self._inside: asyncio.Task[Any] | None = None

    async def reach(self, point: str) -> None:
        if point == "P3":
            await self._enter()
        if point == "P5":
            os.write(self._trace, b"5")
        await self._die_at(point)
        if point == "P3":
            os.write(self._trace, b"3")
        if point == "P5":
            self._leave(asyncio.current_task())

    async def _die_at(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left <= 0:
            await self._enter()
            os.kill(os.getpid(), signal.SIGKILL)

    async def _enter(self) -> None:
        task = asyncio.current_task()
        if not self._exact or self._inside is task:
            return
        await self._gate.acquire()
        self._inside = task
        asyncio.get_running_loop().call_later(
            _LONGEST_STAY_S, self._leave, task
        )  # it may have failed in there

    def _leave(self, task: asyncio.Task[Any] | None) -> None:
        if self._inside is task:
            self._inside = None
            self._gate.release()


def run_worker(command: dict[str, Any]) -> None:
    """Become a worker: as the command line would, but with failpoints."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(command["env"])
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    random.seed()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    failpoints = KillingFailpoints(
        Path(command["trace"]), command["kill_at"], command["nth"], exact=command["exact"]
    )
    asyncio.run(run_service(settings, with_http=False, failpoints=failpoints))


def main() -> None:
    """Fork a worker per command and answer its pid, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead: a pid that is gone is dead
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run_worker(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001  # the last words of a worker that ends by itself
                traceback.print_exc()
            finally:
                os._exit(1)
        print(json.dumps({"pid": pid}), flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
