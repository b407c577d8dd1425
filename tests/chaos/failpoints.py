"""What a worker is told to do at protocol steps: leave a trace of each, and die at one of them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

_LONGEST_STAY_S = 1.0


class KillingFailpoints:
    """Kills its own process at the n-th time a step is reached.

    `exact`: from P3 to P5 events go one by one, so that a death leaves one reply published and not marked (at P4) or
    none (at any other step), and copies can be counted; otherwise they go as they come, and a death may strike any
    number. The trace tells who watches from outside: one byte per step passed, `3` or `5`; while it has more of the
    former an event is in there.
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
