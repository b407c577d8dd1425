"""Heartbeats: one timer keeps alive every lease that a process is working under, and ends work that lost its own.

A timer and a timeout for each piece of work would cost more than most of the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Protocol, TypeVar

from expert_bot.errors import ExpertBotError, StoreUnavailableError

_BEATS_PER_LEASE: Final = 3
_TICKS_PER_BEAT: Final = 4
_LONGEST_TICK_S: Final = 0.5

T = TypeVar("T")


class LeaseLostError(ExpertBotError):
    """Another worker owns the document now; whatever was decided here is discarded."""


class Renewable(Protocol):
    """What heartbeats keep alive. `deadline`: loop time from which ownership can no longer be shown."""

    deadline: float

    async def extend(self) -> None:
        """Renew it. Raises LeaseLostError or StoreUnavailableError."""
        ...


class _Watched:
    """One piece of work under a lease."""

    __slots__ = ("beat_at", "cancelling", "lease", "lost", "renewal", "stop_at", "stopped", "task")

    def __init__(self, lease: Renewable, task: asyncio.Task[Any], beat_at: float, stop_at: float) -> None:
        self.lease = lease
        self.task = task
        self.cancelling = task.cancelling()
        self.beat_at = beat_at
        self.stop_at = stop_at
        self.renewal: asyncio.Task[None] | None = None
        self.stopped = False
        self.lost = False

    def stop(self) -> None:
        self.stopped = True
        self.task.cancel()


class Heartbeats:
    """Renews at a third of `lease_s` (seconds) every lease that is being worked under."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._beat_s = lease_s / _BEATS_PER_LEASE
        self._tick_s = min(_LONGEST_TICK_S, self._beat_s / _TICKS_PER_BEAT)
        self._watched: dict[_Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, lease: Renewable, work: Awaitable[T], timeout_s: float) -> T:
        """Await `work` while its lease is renewed; cancel it when the lease is lost or `timeout_s` are over.

        Both are noticed within a tick (a twelfth of the lease, half a second at most). Raises LeaseLostError,
        TimeoutError, or what `work` raises.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # coroutines run in tasks
        now = loop.time()
        beat_at = lease.deadline - self._lease_s + self._beat_s  # counted from the last renewal, not from now
        watched = _Watched(lease, task, min(now + self._beat_s, beat_at), now + timeout_s)
        self._watched[watched] = None
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)
        cancelled: asyncio.CancelledError | None = None
        try:
            result = await work
        except asyncio.CancelledError as error:
            cancelled = error
        finally:
            del self._watched[watched]
            if watched.renewal is not None:
                left_s = max(0.0, lease.deadline - loop.time())
                _, hanging = await asyncio.wait((watched.renewal,), timeout=left_s)
                if hanging:  # ownership can no longer be shown
                    watched.lost = watched.renewal.cancel()
            # as in `asyncio.timeout`: somebody else may have cancelled the task too, and that comes first
            stopped_here = watched.stopped and task.uncancel() <= watched.cancelling
        if cancelled is not None and not stopped_here:
            raise cancelled
        if watched.lost:
            raise LeaseLostError("another worker owns the event now")
        if cancelled is not None:
            raise TimeoutError(f"no result within {timeout_s:g} s")
        return result

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._tick_s, self._tick, loop) if self._watched else None
        now = loop.time()
        for watched in self._watched:
            if watched.stopped:
                continue
            if now >= watched.stop_at:
                watched.stop()
            elif watched.renewal is not None:
                if now >= watched.lease.deadline:  # it hangs: ownership can no longer be shown
                    watched.lost = True
                    watched.renewal.cancel()
                    watched.stop()
            elif now >= watched.beat_at:
                watched.renewal = loop.create_task(self._renew(watched, loop))

    async def _renew(self, watched: _Watched, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await watched.lease.extend()
        except LeaseLostError:
            watched.lost = True
        except StoreUnavailableError:
            watched.lost = loop.time() >= watched.lease.deadline  # ownership can no longer be shown
        finally:
            watched.renewal = None
            # a renewal that failed is tried once more when the lease ends: then it is ours again, or lost
            watched.beat_at = min(loop.time() + self._beat_s, max(watched.lease.deadline, loop.time()))
        if watched.lost and watched in self._watched and not watched.stopped:
            watched.stop()
