"""What a worker has done, for operations: figures by minute into `worker_metrics`, use by user into `user_analytics`.

Figures are summed in memory and handed on once a minute: a worker that is killed takes at most a minute's figures with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Final

from expert_bot.delivery import Ack, DeadLetter, Outcome, Retry
from expert_bot.ports import Clock
from expert_bot.ports_analytics import LogRow, UserAnalyticsRow, WorkerMetricsRow

EVERY_S: Final = 60.0
MAX_USERS: Final = 10_000
"""Users whose use is told apart in one minute; the others' events count as the worker's only."""

_MILLISECOND: Final = Decimal("0.001")


class WorkerMetrics:
    """The figures of one worker since they were last handed on. `put`: takes a row, for a batch."""

    def __init__(self, clock: Clock, put: Callable[[LogRow], Awaitable[None]]) -> None:
        self._clock = clock
        self._put = put
        self._worker = uuid.uuid4().hex[:12]
        self._minute = 0
        self._outcomes: Counter[str] = Counter()
        self._took_s = 0.0
        self._slowest_s = 0.0
        self._uses: Counter[tuple[str, str]] = Counter()

    def observe(self, outcome: Outcome, took_s: float, event_type: str, user_id: str | None) -> None:
        """Count one delivery. `event_type`: `""` where none could be read; `user_id`: whose request was answered."""
        self._outcomes[_name(outcome)] += 1
        self._took_s += took_s
        self._slowest_s = max(self._slowest_s, took_s)
        use = (user_id or "", event_type)
        if user_id is not None and (use in self._uses or len(self._uses) < MAX_USERS):
            self._uses[use] += 1

    async def run(self) -> None:
        """Hand the figures on once a minute, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await self.hand_on()
        finally:
            await self.hand_on()

    async def hand_on(self) -> None:
        """Hand on what was counted since the last time, and count from zero."""
        rows: list[LogRow] = [*self._worker_rows(), *self._user_rows()]
        self._minute += 1
        self._outcomes.clear()
        self._uses.clear()
        self._took_s = self._slowest_s = 0.0
        for row in rows:
            await self._put(row)

    def _worker_rows(self) -> Iterator[WorkerMetricsRow]:
        if not self._outcomes:
            return
        values: list[tuple[str, Decimal, str]] = [
            (f"deliveries_{name}", Decimal(count), "1") for name, count in sorted(self._outcomes.items())
        ]
        values.append(("delivery_time_sum", _seconds(self._took_s), "s"))
        values.append(("delivery_time_max", _seconds(self._slowest_s), "s"))
        for name, value, unit in values:
            yield WorkerMetricsRow(
                row_id=f"{self._worker}:{self._minute}:{name}",
                recorded_at=self._clock.now(),
                worker=self._worker,
                name=name,
                value=value,
                unit=unit,
            )

    def _user_rows(self) -> Iterator[UserAnalyticsRow]:
        for number, ((user_id, event_type), count) in enumerate(self._uses.items()):
            yield UserAnalyticsRow(
                row_id=f"{self._worker}:{self._minute}:{number}",
                recorded_at=self._clock.now(),
                user_id=user_id,
                name=event_type,
                value=Decimal(count),
            )


def _name(outcome: Outcome) -> str:
    match outcome:
        case Ack(duplicate=True):
            return "duplicate"
        case Ack():
            return "acknowledged"
        case Retry():
            return "retried"
        case DeadLetter():
            return "dead_lettered"


def _seconds(value: float) -> Decimal:
    return Decimal(value).quantize(_MILLISECOND)
