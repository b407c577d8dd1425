"""Log rows of many tasks, gathered and appended together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import stamina
import structlog

from expert_bot.errors import StoreUnavailableError
from expert_bot.ports_analytics import LogRow, WorkerMetricsRow

_log: Final = structlog.get_logger(__name__)


class Appends(Protocol):
    """The part of the Analytics port that is used here."""

    async def append(self, rows: Sequence[LogRow]) -> None:
        """Add rows to their logs."""
        ...


class RowBatches:
    """Appends rows in batches, each as often as it takes; the order of rows is not kept.

    `max_rows`: a batch leaves when it has as many; `every_s`: or when its first row has waited so long. `capacity`:
    rows of each sort that may wait. When it is reached, metrics lose their oldest rows, which the next figures make up
    for; every other row waits in `put`, which slows down whoever makes them. `append_s`: time for one append, then it
    is tried again; pauses grow from `first_pause_s` to `longest_pause_s`, with jitter, without end.
    """

    def __init__(
        self,
        analytics: Appends,
        *,
        max_rows: int = 500,
        every_s: float = 5.0,
        capacity: int = 10_000,
        append_s: float = 60.0,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 30.0,
    ) -> None:
        self._analytics = analytics
        self._max_rows = max_rows
        self._every_s = every_s
        self._capacity = capacity
        self._append_s = append_s
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._rows: deque[LogRow] = deque()
        self._metrics: deque[LogRow] = deque()
        self._in_flight = 0
        self._dropped = 0
        self._refused = 0
        self._arrived = asyncio.Event()
        self._due = asyncio.Event()
        self._room = asyncio.Condition()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Rows that were put and are not stored yet."""
        return len(self._rows) + len(self._metrics) + self._in_flight

    @property
    def dropped(self) -> int:
        """Rows lost so far: metrics that were too many, and what was left when closing had to end."""
        return self._dropped

    @property
    def refused(self) -> int:
        """Rows so far that the store can never take."""
        return self._refused

    async def put(self, row: LogRow) -> None:
        """Take a row; waits while too many are waiting, except for metrics. Confirms nothing: it is stored later.

        Raises StoreUnavailableError once closing has begun.
        """
        if isinstance(row, WorkerMetricsRow):
            self._put_metric(row)
        else:
            async with self._room:
                await self._room.wait_for(lambda: self._is_closing or len(self._rows) < self._capacity)
                if self._is_closing:
                    raise StoreUnavailableError("log rows are no longer taken: the service is stopping")
                self._rows.append(row)
        self._notice()

    async def close(self, *, within_s: float = 5.0) -> None:
        """Append what is waiting, for `within_s` at most; what is left then is lost and logged. Safe to call twice."""
        self._is_closing = True
        self._due.set()
        self._arrived.set()
        async with self._room:
            self._room.notify_all()
        task, self._task = self._task, None
        if task is None:
            return
        await asyncio.wait([task], timeout=within_s)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if lost := self.pending:
            self._dropped += lost
            self._rows.clear()
            self._metrics.clear()
            self._in_flight = 0
            _log.warning("analytics_rows_lost", rows=lost)

    def _put_metric(self, row: WorkerMetricsRow) -> None:
        if self._is_closing:
            self._dropped += 1
            return
        if len(self._metrics) >= self._capacity:
            self._metrics.popleft()
            self._dropped += 1
        self._metrics.append(row)

    def _notice(self) -> None:
        """Tell the appending task, which begins with the first row."""
        if self._task is None and not self._is_closing:
            self._task = asyncio.create_task(self._run(), name="row-batches")
        self._arrived.set()
        if len(self._rows) + len(self._metrics) >= self._max_rows:
            self._due.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._due.wait()
            if batch := await self._take():
                await self._append(batch)
            if self._is_closing and not self._rows and not self._metrics:
                return

    async def _take(self) -> list[LogRow]:
        """Remove and return the next batch, metrics last; whoever waits in `put` may go on."""
        batch: list[LogRow] = []
        for waiting in (self._rows, self._metrics):
            while waiting and len(batch) < self._max_rows:
                batch.append(waiting.popleft())
        self._in_flight = len(batch)
        if not self._is_closing:
            waits = len(self._rows) + len(self._metrics)
            if not waits:
                self._arrived.clear()
            if waits < self._max_rows:
                self._due.clear()
        async with self._room:
            self._room.notify_all()
        return batch

    async def _append(self, batch: list[LogRow]) -> None:
        """Append a batch, however often it takes; of one that cannot be taken whole, row by row what can be taken."""
        try:
            await self._insist(batch)
        except Exception:  # noqa: BLE001  # whatever is wrong with a row, the rows behind it go on
            for row in batch:
                await self._append_alone(row)
        self._in_flight = 0

    async def _append_alone(self, row: LogRow) -> None:
        try:
            await self._insist([row])
        except Exception:  # noqa: BLE001  # likewise; its traceback is logged
            self._refused += 1
            _log.exception("analytics_row_refused", row=type(row).__name__, row_id=row.row_id)

    async def _insist(self, rows: list[LogRow]) -> None:
        async for attempt in stamina.retry_context(
            on=(StoreUnavailableError, TimeoutError),
            attempts=None,
            timeout=None,
            wait_initial=self._first_pause_s,
            wait_max=self._longest_pause_s,
            wait_jitter=self._first_pause_s,
        ):
            with attempt:
                async with asyncio.timeout(self._append_s):
                    await self._analytics.append(rows)
