"""The embedded consumer when its bus, its work or its owner misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from expert_bot.consumers.embedded import EmbeddedConsumer
from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.errors import BusUnavailableError
from expert_bot.schemas.topology import Subscription, Topic, Topology
from expert_bot.storage.sqlite_bus import Received, SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile

PATIENCE_S = 20.0


class RealClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FlakyBus(SqliteBus):
    """A bus whose methods raise what `failures` holds for them, one at a time, before they work again."""

    def __init__(self, file: SqliteFile) -> None:
        super().__init__(file, clock=RealClock())
        self.failures: dict[str, list[Exception]] = {}
        self.extended = asyncio.Event()
        self.acknowledged = asyncio.Event()

    async def receive(self, subscription: str, limit: int) -> list[Received]:
        self._fail("receive")
        return await super().receive(subscription, limit)

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self._fail("acknowledge")
        await super().acknowledge(ack_ids)
        self.acknowledged.set()

    async def modify_deadline(self, ack_ids: Sequence[str], seconds: float) -> None:
        self._fail("modify_deadline")
        await super().modify_deadline(ack_ids, seconds)
        self.extended.set()

    def _fail(self, method: str) -> None:
        if self.failures.get(method):
            raise self.failures[method].pop(0)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    """Open a bus with one message on subscription `work`, whose lease is a second and whose retries are immediate."""
    bus = FlakyBus(SqliteFile(tmp_path / "bus.sqlite3"))
    policy = Subscription(name="work", topic="t", ack_deadline_s=1, min_backoff_s=0, max_backoff_s=0)
    await bus.apply(Topology(topics=(Topic(name="t", purpose="x"),), subscriptions=(policy,)))
    await bus.publish([Message(topic="t", data=b"secret payload", attributes={"a": "secret attribute"})])
    yield bus
    await bus.close()


async def ack(delivery: Delivery) -> Outcome:
    """Settle everything."""
    return Ack()


class Attempts:
    """Work that misbehaves on the first attempt and acknowledges the second."""

    def __init__(self, first: Any) -> None:
        self.count = 0
        self.second_began = asyncio.Event()
        self._first = first

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.count += 1
        if self.count == 1:
            return await self._first()
        self.second_began.set()
        return Ack()


async def settled(bus: SqliteBus) -> bool:
    """Tell whether nothing is left on the subscription, leased or not."""
    return await bus._file.run(lambda c: c.execute("SELECT count(*) FROM deliveries").fetchone() == (0,))


async def drained(
    consumer: EmbeddedConsumer, running: asyncio.Task[None], grace_s: float = PATIENCE_S
) -> None:
    """Drain the consumer and wait for its end."""
    async with asyncio.timeout(PATIENCE_S):
        await consumer.drain(grace_s)
        await running


@pytest.mark.parametrize("method", ["receive", "acknowledge"])
async def test_outage_is_waited_out(method: str, bus: FlakyBus) -> None:
    """A bus that fails for a while delays a message, and work that was done is not done again."""
    bus.failures[method] = [BusUnavailableError("down"), BusUnavailableError("down")]
    count = 0

    async def work(delivery: Delivery) -> Outcome:
        nonlocal count
        count += 1
        return Ack()

    consumer = EmbeddedConsumer(bus, "work", work)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(PATIENCE_S):
        await bus.acknowledged.wait()
    await drained(consumer, running)
    assert (count, bus.failures[method]) == (1, [])


async def test_failed_extension_is_tried_again(bus: FlakyBus) -> None:
    """A lease that could not be extended is extended the next time, before it ends."""
    bus.failures["modify_deadline"] = [BusUnavailableError("down")]

    async def until_extended() -> Outcome:
        async with asyncio.timeout(PATIENCE_S):
            await bus.extended.wait()
        return Ack()

    work = Attempts(until_extended)
    consumer = EmbeddedConsumer(bus, "work", work)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(PATIENCE_S):
        await bus.acknowledged.wait()
    await drained(consumer, running)
    assert work.count == 1


async def test_outage_at_the_end_does_not_hold_up_the_drain(bus: FlakyBus) -> None:
    """A settlement that cannot be written while draining is given up: the message will be delivered again."""
    bus.failures["acknowledge"] = [BusUnavailableError("down")] * 1000
    acknowledged = asyncio.Event()

    async def work(delivery: Delivery) -> Outcome:
        acknowledged.set()
        return Ack()

    consumer = EmbeddedConsumer(bus, "work", work)
    running = asyncio.create_task(consumer.run())
    await acknowledged.wait()
    await drained(consumer, running)
    assert not await settled(bus)


async def no_outcome() -> Any:
    """Return what is not an Outcome."""
    return None


async def for_ever() -> Any:
    """Never end by itself."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("event", "first"),
    [
        pytest.param("message_work_failed", no_outcome, id="no-outcome"),
        pytest.param("message_work_failed", for_ever, id="beyond-the-longest-lease"),
    ],
)
async def test_misbehaving_work_is_logged_and_tried_again(event: str, first: Any, bus: FlakyBus) -> None:
    """Work that ends without an outcome, or takes longer than allowed, is never taken for done; no payload is logged."""
    work = Attempts(first)
    consumer = EmbeddedConsumer(bus, "work", work, max_lease_s=0.1)
    with capture_logs() as logs:
        running = asyncio.create_task(consumer.run())
        async with asyncio.timeout(PATIENCE_S):
            await work.second_began.wait()
        await drained(consumer, running)
    assert [(entry["event"], entry["message_id"]) for entry in logs] == [(event, "1")]
    assert "secret" not in str(logs)
    assert await settled(bus)


async def test_work_that_ignores_its_cancellation_is_handed_back(bus: FlakyBus) -> None:
    """A drain ends although work does not heed it, and the message is available again."""
    began, leave = asyncio.Event(), asyncio.Event()

    async def stubborn(delivery: Delivery) -> Outcome:
        began.set()
        while not leave.is_set():
            try:
                await leave.wait()
            except asyncio.CancelledError:
                continue
        return Ack()

    consumer = EmbeddedConsumer(bus, "work", stubborn)
    running = asyncio.create_task(consumer.run())
    await began.wait()
    await drained(consumer, running, grace_s=0)
    assert [received.delivery.message_id for received in await bus.receive("work", 1)] == ["1"]
    leave.set()
    await asyncio.sleep(0)


async def test_cancelled_run_hands_its_work_back(bus: FlakyBus) -> None:
    """Cancelling `run` itself is a drain without grace."""
    began = asyncio.Event()

    async def hang(delivery: Delivery) -> Outcome:
        began.set()
        await asyncio.Event().wait()
        return Ack()

    running = asyncio.create_task(EmbeddedConsumer(bus, "work", hang).run())
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [received.delivery.message_id for received in await bus.receive("work", 1)] == ["1"]


async def test_fault_in_settling_ends_the_run(bus: FlakyBus) -> None:
    """An error that is no outage, where messages are settled, is raised by `run` instead of working for nothing."""
    bus.failures["acknowledge"] = [ZeroDivisionError("bug")]
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ZeroDivisionError):
            await EmbeddedConsumer(bus, "work", ack).run()
