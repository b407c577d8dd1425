"""Messages that wait for their retry: never more than half of the budget, their keys in order, their clean-up undisturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from expert_bot.consumers.budget import Budget
from expert_bot.delivery import Ack, Delivery, Outcome, Retry
from tests.fake_pubsub import received
from tests.unit.pull_rig import Rig, Work, pull_rig
from tests.waiting import until


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Yield a consumer's surroundings."""
    async with pull_rig() as made:
        yield made


async def test_keys_that_wait_leave_half_of_the_budget_to_others(rig: Rig) -> None:
    """A model outage must not stop what does not need the model: the surplus goes back to the broker."""
    messages = 10
    work = Work({f"bad{number}".encode(): [Retry(60.0, "model down")] for number in range(messages)})
    fake = await rig.start(work, pulls=2, budget=Budget(messages))
    fake.send(
        *(
            received(f"bad{number}", key=f"conversation-{number}", data=f"bad{number}".encode())
            for number in range(messages)
        )
    )
    await until(lambda: len(work.done) == messages)
    await until(lambda: len(fake.returned(60)) == messages / 2)
    fake.send(received("good", key="other", data=b"good"))
    await until(lambda: b"good" in work.done)


async def test_overdue_work_is_cancelled_once_and_may_clean_up(rig: Rig) -> None:
    """Whatever it does on its way out, marking or giving up a claim, is not cut off by the next look at the clock."""
    ended: list[str] = []

    async def process(_delivery: Delivery) -> Outcome:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(0.8)
                ended.append("cleaned up")
            except asyncio.CancelledError:
                ended.append("cut off")
            raise
        return Ack()

    fake = await rig.start(process, max_extension_s=0.5)
    fake.send(received("m"))
    await until(lambda: ended)
    assert ended == ["cleaned up"]


async def test_keyed_work_that_raises_goes_back_to_the_broker_after_ten_tries(rig: Rig) -> None:
    """Repeated here it would block its key for ever: the broker's attempts are what ends it."""
    work = Work({b"poison": [RuntimeError("a mistake of ours")] * 100})
    fake = await rig.start(work, crash_retry_s=0.02)
    fake.send(received("poison", key="k", data=b"poison"), received("behind", key="k", data=b"behind"))
    await until(lambda: len(fake.returned(1)) == 2)
    assert (fake.returned(1), len(work.done), work.started.count(b"behind")) == (["poison", "behind"], 10, 0)
