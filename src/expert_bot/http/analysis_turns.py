"""Analyses that a route computes while its caller waits: a few at once, and nobody takes all the turns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

Result = TypeVar("Result")
AT_ONCE: Final = 4
"""Analyses computed at once: each has a thread, and as many again are left to events."""
PER_USER: Final = 2


class TooManyAnalysesError(Exception):
    """A user has as many analyses waiting or running as he may have."""


class AnalysisTurns:
    """Runs computations in threads. Whoever gives up waiting leaves the thread its turn until it has ended."""

    def __init__(self, at_once: int = AT_ONCE, per_user: int = PER_USER) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._per_user = per_user
        self._of_user: Counter[str] = Counter()
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, user_id: str, compute: Callable[[], Result]) -> Result:
        """Return what `compute` returns, once there is a turn. Raises TooManyAnalysesError, and what it raises."""
        if self._of_user[user_id] >= self._per_user:
            raise TooManyAnalysesError
        self._of_user[user_id] += 1
        try:
            await self._free.acquire()
        except BaseException:
            self._leave(user_id)
            raise
        work = asyncio.ensure_future(asyncio.to_thread(compute))
        self._running.add(work)
        work.add_done_callback(lambda _: self._end(user_id, work))
        return await asyncio.shield(work)

    def _end(self, user_id: str, work: asyncio.Future[Result]) -> None:
        self._running.discard(work)
        self._free.release()
        self._leave(user_id)
        if not work.cancelled():
            work.exception()  # looked at, whoever has gone: or the loop would complain

    def _leave(self, user_id: str) -> None:
        self._of_user[user_id] -= 1
        if not self._of_user[user_id]:
            del self._of_user[user_id]
