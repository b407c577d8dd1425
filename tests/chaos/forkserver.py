"""Worker processes that start in a tenth of a second: a parent imports the service once and forks them.

Run as `python -m tests.chaos.forkserver`: one JSON command per line on standard input; on standard output one JSON line
per worker started (`pid`) and one per worker that ended (`ended`, `code`: as in subprocess). How a worker differs from
the real one comes with its command; nothing of this exists in the service, which only takes injected objects.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import traceback
from asyncio import run
from contextlib import suppress
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
from tests.chaos.behaviour import Behaviour, behave
from tests.chaos.failpoints import KillingFailpoints

_PR_SET_PDEATHSIG = 1


def run_worker(command: dict[str, Any]) -> None:
    """Become a worker: as the command line would, but for what the command says."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(command["env"])
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    random.seed()
    behaviour, trace = Behaviour(**command["behaviour"]), Path(command["trace"])
    behave(behaviour, trace)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    failpoints = KillingFailpoints(trace, behaviour.kill_at, behaviour.nth, exact=behaviour.exact)
    run(run_service(settings, with_http=False, failpoints=failpoints))


def main() -> None:
    """Fork a worker per command, and say when one has ended, until standard input ends."""
    signal.signal(signal.SIGCHLD, _bury)
    for line in sys.stdin:
        # a worker may end before its start is told: its end waits
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            _live(line)
        _say(pid=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _live(line: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    try:
        run_worker(json.loads(line))
        os._exit(0)
    except BaseException:  # noqa: BLE001  # the last words of a worker that ends by itself
        traceback.print_exc()
    finally:
        os._exit(1)


def _bury(*_: object) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _say(ended=ended[0], code=os.waitstatus_to_exitcode(ended[1]))


def _say(**fields: int) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    main()
