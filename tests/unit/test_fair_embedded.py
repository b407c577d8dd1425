"""Embedded consumers that share one budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.embedded import EmbeddedConsumer
from expert_bot.delivery import Message
from expert_bot.schemas.topology import Subscription, Topic, Topology
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from tests.unit.pull_rig import Work
from tests.waiting import until


class RealClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    """Open a bus with ten messages on each of the subscriptions `a` and `b`, which are retried at once."""
    bus = SqliteBus(SqliteFile(tmp_path / "bus.sqlite3"), clock=RealClock())
    subscriptions = tuple(
        Subscription(name=name, topic="t", min_backoff_s=0, max_backoff_s=0) for name in "ab"
    )
    await bus.apply(Topology(topics=(Topic(name="t", purpose="x"),), subscriptions=subscriptions))
    await bus.publish([Message(topic="t", data=b"%d" % n) for n in range(10)])
    yield bus
    await bus.close()


async def test_no_more_than_the_budget_run_at_once_over_both_subscriptions(bus: SqliteBus) -> None:
    """Everything is done in the end, and the budget is whole again."""
    work, budget = Work(), Budget(3)
    work.gate.clear()
    consumers = [EmbeddedConsumer(bus, name, work, budget=budget) for name in "ab"]
    running = [asyncio.create_task(consumer.run()) for consumer in consumers]
    await until(lambda: work.running == 3)
    work.gate.set()
    await until(lambda: len(work.done) == 20)
    assert work.most_running == 3
    await asyncio.gather(*(consumer.drain(1.0) for consumer in consumers), *running)
    assert (budget.held, budget.running) == (0, 0)


async def test_a_drained_consumer_gives_its_slots_back(bus: SqliteBus) -> None:
    """Also of what was cancelled, or waited for a slot: the other one goes on with all of them."""
    work, other_work, budget = Work(), Work(), Budget(2)
    work.gate.clear()
    one = EmbeddedConsumer(bus, "a", work, budget=budget)
    one_runs = asyncio.create_task(one.run())
    await until(lambda: work.running == 2)
    other = EmbeddedConsumer(bus, "b", other_work, budget=budget)
    other_runs = asyncio.create_task(other.run())
    await one.drain(0.0)
    await one_runs
    await until(lambda: len(other_work.done) == 10)
    await other.drain(1.0)
    await other_runs
    assert (budget.held, budget.running) == (0, 0)
    again = Work()
    third = EmbeddedConsumer(bus, "a", again, budget=budget)
    third_runs = asyncio.create_task(third.run())
    await until(lambda: sorted(again.done) == [b"%d" % n for n in range(10)])
    await third.drain(1.0)
    await third_runs
