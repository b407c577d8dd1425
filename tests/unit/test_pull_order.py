"""The pull consumer on a subscription with a backlog: order within a key, and turns among users."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from expert_bot.consumers.budget import Budget
from expert_bot.delivery import Ack, Delivery, Outcome, Retry
from tests.unit.backlog import Backlog
from tests.unit.pull_rig import Rig, pull_rig
from tests.waiting import until


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Yield a rig without a consumer yet."""
    async with pull_rig() as rig:
        yield rig


class Stumbling:
    """A `process` of which `retry` of the runs end in a short Retry, and `crash` raise; notes the rest."""

    def __init__(
        self, *, retry: float = 0.0, crash: float = 0.0, takes_s: float = 0.0, seed: int = 5
    ) -> None:
        self.done: list[tuple[str, bytes]] = []
        self.takes_s = takes_s
        self._retry, self._crash = retry, crash
        self._seeded = random.Random(seed)

    async def __call__(self, delivery: Delivery) -> Outcome:
        await asyncio.sleep(self.takes_s)
        fate = self._seeded.random()
        if fate < self._crash:
            raise RuntimeError("as the test says")
        if fate < self._crash + self._retry:
            return Retry(self._seeded.random() * 0.02, "busy")
        self.done.append((delivery.ordering_key, delivery.data))
        return Ack()

    def first_of(self, key: str) -> list[bytes]:
        """Return what was done of a key, in the order of first success."""
        return [*dict.fromkeys(data for other, data in self.done if other == key)]


@pytest.mark.parametrize("mixed", [None, random.Random(11)], ids=["ordered-broker", "mixing-broker"])
async def test_a_thousand_messages_on_twenty_keys_keep_their_order_through_failures(
    mixed: random.Random | None, rig: Rig
) -> None:
    """A tenth of the runs fail and a fiftieth crash: per key everything is done once, in order."""
    messages = [(b"%d" % n, f"key-{n % 20}") for n in range(1000)]
    backlog = Backlog(rig.fake, messages, mixed=mixed)
    work = Stumbling(retry=0.1, crash=0.02)
    await rig.start(work, pulls=4, crash_retry_s=0.05)
    await until(lambda: len(backlog.acked) == 1000)
    for key in {key for _, key in messages}:
        assert work.first_of(key) == [data for data, other in messages if other == key]
    assert len(work.done) == 1000


@pytest.mark.parametrize("ordered", [False, True], ids=["unordered", "ordered"])
async def test_one_users_thousand_messages_do_not_keep_twenty_others_waiting(
    *, ordered: bool, rig: Rig
) -> None:
    """Behind 1,000 messages of one user, 20 users with 5 each are done before a quarter of the thousand is."""
    big = [(b'{"user_id": "big", "n": %d}' % n, f"big-{n % 50}" if ordered else "") for n in range(1000)]
    small = [
        (b'{"user_id": "u%d", "n": %d}' % (n % 20, n), f"u{n % 20}" if ordered else "") for n in range(100)
    ]
    backlog = Backlog(rig.fake, big + small)
    work = Stumbling(takes_s=0.02)
    await rig.start(work, pulls=4, ordered=ordered, budget=Budget(10, slow_s=0.002))
    await until(lambda: {data for data, _ in small} <= {data for _, data in work.done}, within_s=60)
    big_before = sum(b'"big"' in data for _, data in work.done)
    assert big_before < 250
    work.takes_s = 0.0
    await until(lambda: len(backlog.acked) == 1100, within_s=60)
    assert Counter(data for _, data in work.done) == Counter(data for data, _ in big + small)
    assert max(backlog.attempts.values()) <= 11
    for key in {key for _, key in big} if ordered else ():
        assert work.first_of(key) == [data for data, other in big if other == key]


async def test_surplus_of_an_ordered_user_comes_back_in_order_from_a_mixing_broker(rig: Rig) -> None:
    """What was handed back is awaited message by message; successors that come early are refused."""
    messages = [(b'{"user_id": "big", "n": %d}' % n, f"k{n % 3}") for n in range(30)]
    backlog = Backlog(rig.fake, messages, mixed=random.Random(3))
    work = Stumbling(takes_s=0.05)
    await rig.start(work, pulls=2, budget=Budget(2, slow_s=0.0))
    await until(lambda: len(backlog.acked) == 30, within_s=60)
    for key in {key for _, key in messages}:
        assert work.first_of(key) == [data for data, other in messages if other == key]
    assert len(work.done) == 30
