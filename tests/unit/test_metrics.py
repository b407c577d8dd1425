"""A worker's figures: summed, handed on once, use by user bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from expert_bot import metrics
from expert_bot.delivery import Ack, DeadLetter, Retry
from expert_bot.metrics import WorkerMetrics
from expert_bot.ports_analytics import LogRow, UserAnalyticsRow, WorkerMetricsRow

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ASKED = "com.smarwatt.chat.requested.v1"


class SetClock:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


class Rows:
    """Rows as they were put."""

    def __init__(self) -> None:
        self.put_rows: list[LogRow] = []

    async def put(self, row: LogRow) -> None:
        self.put_rows.append(row)

    def figures(self) -> dict[str, Decimal]:
        return {row.name: row.value for row in self.put_rows if isinstance(row, WorkerMetricsRow)}

    def uses(self) -> dict[tuple[str, str], Decimal]:
        return {
            (row.user_id, row.name): row.value for row in self.put_rows if isinstance(row, UserAnalyticsRow)
        }


@pytest.fixture
def rows() -> Rows:
    """Return a place where rows go."""
    return Rows()


async def test_every_outcome_is_counted_and_its_time_summed(rows: Rows) -> None:
    """A minute's figures: deliveries by outcome, the time they took together, the slowest."""
    worker = WorkerMetrics(SetClock(), rows.put)
    worker.observe(Ack(), 0.25, ASKED, "user-ana")
    worker.observe(Ack(), 0.5, ASKED, "user-ana")
    worker.observe(Ack(duplicate=True), 0.0, ASKED, None)
    worker.observe(Retry(1.0, "held"), 0.125, ASKED, "user-eva")
    worker.observe(DeadLetter("expired"), 0.125, "", None)
    await worker.hand_on()
    assert rows.figures() == {
        "deliveries_acknowledged": 2,
        "deliveries_duplicate": 1,
        "deliveries_retried": 1,
        "deliveries_dead_lettered": 1,
        "delivery_time_sum": 1,
        "delivery_time_max": Decimal("0.5"),
    }
    assert rows.uses() == {("user-ana", ASKED): 2, ("user-eva", ASKED): 1}


async def test_figures_are_handed_on_once(rows: Rows) -> None:
    """The next minute starts from zero, and its rows have names of their own."""
    worker = WorkerMetrics(SetClock(), rows.put)
    worker.observe(Ack(), 0.5, ASKED, "user-ana")
    await worker.hand_on()
    await worker.hand_on()
    first = len(rows.put_rows)
    worker.observe(Ack(), 0.5, ASKED, "user-ana")
    await worker.hand_on()
    assert len(rows.put_rows) == 2 * first
    assert len({row.row_id for row in rows.put_rows}) == 2 * first


async def test_use_is_bounded_in_memory(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more users than are kept apart the later ones count only as deliveries."""
    monkeypatch.setattr(metrics, "MAX_USERS", 2)
    worker = WorkerMetrics(SetClock(), rows.put)
    for user in ("a", "b", "c", "a"):
        worker.observe(Ack(), 0.1, ASKED, user)
    await worker.hand_on()
    assert rows.uses() == {("a", ASKED): 2, ("b", ASKED): 1}
    assert rows.figures()["deliveries_acknowledged"] == 4


async def test_two_workers_rows_are_never_taken_for_each_other(rows: Rows) -> None:
    """Row ids carry the worker."""
    for worker in (WorkerMetrics(SetClock(), rows.put), WorkerMetrics(SetClock(), rows.put)):
        worker.observe(Ack(), 0.5, ASKED, None)
        await worker.hand_on()
    assert len({row.row_id for row in rows.put_rows}) == len(rows.put_rows)
