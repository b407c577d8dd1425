"""Batches of log rows: few appends, every row in the end, bounded memory, an end in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from expert_bot.errors import StoreUnavailableError
from expert_bot.ports_analytics import AsyncTaskRow, LogRow, WorkerMetricsRow
from expert_bot.storage.row_batches import RowBatches
from tests.waiting import until

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class FlakyStore:
    """Takes rows; fails the first `failures` times, and not at all before `gate` is open."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.gate = asyncio.Event()
        self.gate.set()
        self.tries = 0
        self.batches: list[list[LogRow]] = []

    async def append(self, rows: Sequence[LogRow]) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise StoreUnavailableError("down")
        await self.gate.wait()
        if any(row.row_id == "bad" for row in rows):
            raise ValueError("a row that no store takes")
        self.batches.append(list(rows))

    @property
    def stored(self) -> list[str]:
        """The ids of all rows that were taken."""
        return [row.row_id for batch in self.batches for row in batch]


def task_row(row_id: str) -> AsyncTaskRow:
    """Return a row that must not get lost."""
    return AsyncTaskRow(
        row_id=row_id,
        recorded_at=NOW,
        task_id="t",
        user_id="ana",
        kind="forecast",
        status="queued",
        correlation_id=None,
    )


def metric(row_id: str) -> WorkerMetricsRow:
    """Return a figure that the next one makes up for."""
    return WorkerMetricsRow(row_id=row_id, recorded_at=NOW, worker="w", name="n", value=Decimal(1), unit="1")


@asynccontextmanager
async def batches_over(store: FlakyStore, **settings: float) -> AsyncIterator[RowBatches]:
    """Batches that leave at once when they are full, and hardly ever otherwise."""
    defaults = {
        "max_rows": 4,
        "every_s": 60.0,
        "capacity": 8,
        "first_pause_s": 0.001,
        "longest_pause_s": 0.002,
    }
    batches = RowBatches(store, **{**defaults, **settings})  # type: ignore[arg-type]  # counts are whole numbers
    yield batches
    store.gate.set()
    await batches.close()


async def test_rows_of_many_tasks_leave_together() -> None:
    """A batch leaves when it is full; the rest at the close: 10 rows of 10 tasks are three appends."""
    store = FlakyStore()
    async with batches_over(store) as batches:
        await asyncio.gather(*(batches.put(task_row(str(n))) for n in range(10)))
        await until(lambda: len(store.batches) == 2)
    assert [len(batch) for batch in store.batches] == [4, 4, 2]
    assert {str(n) for n in range(10)} == set(store.stored)


async def test_a_row_does_not_wait_for_others_for_ever() -> None:
    """A batch that does not fill leaves when its time has come."""
    store = FlakyStore()
    async with batches_over(store, every_s=0.01) as batches:
        await batches.put(task_row("a"))
        await until(lambda: store.stored == ["a"])
        assert batches.pending == 0


async def test_an_outage_loses_nothing() -> None:
    """A failed append is tried again until it succeeds; every row is there once."""
    store = FlakyStore(failures=5)
    async with batches_over(store) as batches:
        for n in range(8):
            await batches.put(task_row(str(n)))
        await until(lambda: len(store.stored) == 8)
    assert sorted(store.stored) == [str(n) for n in range(8)]
    assert store.tries == 5 + 2


async def test_an_append_that_hangs_is_tried_again() -> None:
    """An append that does not come back in time counts as failed."""
    store = FlakyStore()
    store.gate.clear()
    async with batches_over(store, append_s=0.01, max_rows=1) as batches:
        await batches.put(task_row("a"))
        await until(lambda: store.tries >= 3)
        store.gate.set()
        await until(lambda: store.stored == ["a"])


async def test_a_full_buffer_slows_its_callers_down() -> None:
    """Rows that must not get lost wait in `put` once `capacity` rows wait; they go on when the store answers."""
    store = FlakyStore()
    store.gate.clear()
    async with batches_over(store) as batches:
        putting = [asyncio.create_task(batches.put(task_row(str(n)))) for n in range(20)]
        await until(lambda: sum(task.done() for task in putting) == 12)  # 4 in flight, 8 waiting
        await asyncio.sleep(0.01)
        assert (sum(task.done() for task in putting), batches.pending) == (12, 12)
        store.gate.set()
        await asyncio.gather(*putting)
    assert {str(n) for n in range(20)} == set(store.stored)


async def test_metrics_never_wait_and_lose_the_oldest() -> None:
    """A full buffer of metrics drops its oldest figure, counted; other rows do not lose their room to them."""
    store = FlakyStore()
    store.gate.clear()
    async with batches_over(store) as batches:
        for n in range(4):
            await batches.put(task_row(f"t{n}"))
        await until(lambda: store.tries == 1)
        for n in range(20):
            await batches.put(metric(str(n)))
        for n in range(8):
            await batches.put(task_row(f"u{n}"))
        assert (batches.dropped, batches.pending) == (12, 4 + 8 + 8)
    assert {str(n) for n in range(12, 20)} == {row_id for row_id in store.stored if row_id.isdigit()}
    assert sum(not row_id.isdigit() for row_id in store.stored) == 12


async def test_a_row_that_cannot_be_stored_holds_nobody_up() -> None:
    """A row that the store refuses for good is left out, counted and logged; its neighbours are stored."""
    store = FlakyStore()
    with capture_logs() as log:
        async with batches_over(store) as batches:
            for row_id in ("a", "bad", "b", "c"):
                await batches.put(task_row(row_id))
            await until(lambda: len(store.stored) == 3)
            assert batches.refused == 1
    assert store.stored == ["a", "b", "c"]
    assert [entry["row_id"] for entry in log if entry["event"] == "analytics_row_refused"] == ["bad"]


@pytest.mark.parametrize("fail", [False, True], ids=["hangs", "fails"])
async def test_close_ends_in_time(*, fail: bool) -> None:
    """Closing over a dead store ends within its limit, and says how many rows were lost; twice is once."""
    store = FlakyStore(failures=10**9 if fail else 0)
    if not fail:
        store.gate.clear()
    batches = RowBatches(store, max_rows=4, every_s=60, capacity=8)
    for n in range(6):
        await batches.put(task_row(str(n)))
    with capture_logs() as log:
        async with asyncio.timeout(2):
            await batches.close(within_s=0.05)
            await batches.close(within_s=0.05)
    assert [entry["rows"] for entry in log if entry["event"] == "analytics_rows_lost"] == [6]
    assert (batches.dropped, batches.pending) == (6, 0)


async def test_close_without_rows_is_nothing() -> None:
    """Batches that never had a row close at once."""
    store = FlakyStore()
    await RowBatches(store).close()
    assert store.tries == 0


async def test_nothing_is_taken_after_close() -> None:
    """Rows that must not get lost are refused as an outage, also to those that wait; metrics count as dropped."""
    store = FlakyStore()
    store.gate.clear()
    batches = RowBatches(store, max_rows=1, every_s=60, capacity=1)
    await batches.put(task_row("a"))
    await until(lambda: store.tries == 1)
    await batches.put(task_row("b"))
    waiting = asyncio.create_task(batches.put(task_row("c")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    store.gate.set()
    await closing
    with pytest.raises(StoreUnavailableError, match="stopping"):
        await waiting
    with pytest.raises(StoreUnavailableError, match="stopping"):
        await batches.put(task_row("d"))
    await batches.put(metric("m"))
    assert (store.stored, batches.dropped) == (["a", "b"], 1)
