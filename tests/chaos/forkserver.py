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
import expert_bot.handlers.chat_requested
import expert_bot.publishers.embedded
import expert_bot.publishers.pubsub
import expert_bot.publishers.pubsub_admin
import expert_bot.publishers.pubsub_channel
import expert_bot.storage.duckdb_analytics
import expert_bot.storage.firestore_documents
import expert_bot.storage.sqlite_bus
import expert_bot.storage.sqlite_documents  # noqa: F401  # the same
from expert_bot.config import load_settings
from expert_bot.service import run_service
from expert_bot.telemetry import configure_logging

_PR_SET_PDEATHSIG = 1


class KillingFailpoints:
    """Kills its own process at the n-th time a step is reached; counts steps in a file for the judge.

    The file holds one byte per step passed, `3`, `4` or `5`: how many events stood between publish and settlement when
    the process died can be read off afterwards.
    """

    def __init__(self, trace: Path, point: str | None, nth: int) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._point = point
        self._left = nth

    async def reach(self, point: str) -> None:
        if point in ("P3", "P4", "P5"):
            os.write(self._trace, point[1].encode())
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


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
    failpoints = KillingFailpoints(Path(command["trace"]), command.get("kill_at"), command.get("nth", 1))
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
