"""The embedded bus's rules of time: leases, attempts, backoff, dead letters, retention."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError
from expert_bot.schemas.topology import Subscription, Topic, Topology, replay_filter
from expert_bot.storage.sqlite_bus import Received, SqliteBus, backoff_s
from expert_bot.storage.sqlite_file import SqliteFile

START = datetime(2023, 5, 2, 9, 30, tzinfo=UTC)
LEASE_S = 60
WORK = Subscription(name="work", topic="requests", filter=replay_filter("work"), max_delivery_attempts=5)
DEAD = Subscription(name="dead", topic="expert-bot-dead-letters", ordered=False, dead_letter_topic=None)


class FakeClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Rig:
    """A bus in a file, with its clock."""

    bus: SqliteBus
    file: SqliteFile
    clock: FakeClock

    async def publish(self, *bodies: str, key: str = "") -> None:
        await self.bus.publish(
            [
                Message(topic="requests", data=body.encode(), attributes={"a": "b"}, ordering_key=key)
                for body in bodies
            ]
        )

    async def receive(self, name: str = "work", limit: int = 100) -> list[Received]:
        return await self.bus.receive(name, limit)

    async def bodies(self, name: str = "work", limit: int = 100) -> list[str]:
        return [received.delivery.data.decode() for received in await self.receive(name, limit)]

    async def rows(self) -> tuple[int, int]:
        def count(connection: sqlite3.Connection) -> tuple[int, int]:
            messages, deliveries = connection.execute(
                "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM deliveries)"
            ).fetchone()
            return messages, deliveries

        return await self.file.run(count)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Open a bus with an ordered subscription `work` and its dead letters' `dead`."""
    clock = FakeClock()
    file = SqliteFile(tmp_path / "bus.sqlite3")
    bus = SqliteBus(file, clock=clock)
    topics = (Topic(name="requests", purpose="x"), Topic(name="expert-bot-dead-letters", purpose="x"))
    await bus.apply(Topology(topics=topics, subscriptions=(WORK, DEAD)))
    yield Rig(bus, file, clock)
    await bus.close()


async def test_leased_message_is_hidden_until_its_deadline(rig: Rig) -> None:
    """A message that was handed out comes again when its ack deadline has passed, with the next attempt number."""
    await rig.publish("a")
    [first] = await rig.receive()
    rig.clock.advance(LEASE_S - 0.001)
    hidden = await rig.receive()
    rig.clock.advance(0.001)
    [second] = await rig.receive()
    assert (first.delivery.attempt, hidden, second.delivery.attempt) == (1, [], 2)
    assert (first.lease_s, first.delivery.published_at) == (LEASE_S, START)


async def test_attempts_are_not_told_without_a_dead_letter_policy(rig: Rig) -> None:
    """As in Pub/Sub, the attempt is None on a subscription that has no dead-letter topic."""
    await rig.bus.publish([Message(topic=DEAD.topic, data=b"letter")])
    [letter] = await rig.receive("dead")
    assert letter.delivery.attempt is None


async def test_extended_lease_lasts_from_now(rig: Rig) -> None:
    """Modifying the deadline counts from the moment of the call."""
    await rig.publish("a")
    [received] = await rig.receive()
    rig.clock.advance(30)
    await rig.bus.modify_deadline([received.ack_id], 60)
    rig.clock.advance(59)
    hidden = await rig.bodies()
    rig.clock.advance(1)
    assert (hidden, await rig.bodies()) == ([], ["a"])


async def test_deadline_of_zero_gives_back_at_once(rig: Rig) -> None:
    """A deadline of 0 seconds makes the message available now."""
    await rig.publish("a")
    [received] = await rig.receive()
    await rig.bus.modify_deadline([received.ack_id], 0)
    assert await rig.bodies() == ["a"]


async def test_nack_waits_as_long_as_asked(rig: Rig) -> None:
    """A message that was given back with a delay is not handed out before it is over."""
    await rig.publish("a")
    [received] = await rig.receive()
    await rig.bus.nack(received.ack_id, 2.5)
    rig.clock.advance(2.4)
    early = await rig.bodies()
    rig.clock.advance(0.1)
    assert (early, await rig.bodies()) == ([], ["a"])


async def test_nack_without_a_delay_backs_off(rig: Rig) -> None:
    """Without a delay the subscription's own backoff applies: its minimum after the first attempt."""
    await rig.publish("a")
    [received] = await rig.receive()
    await rig.bus.nack(received.ack_id)
    rig.clock.advance(WORK.min_backoff_s - 1)
    early = await rig.bodies()
    rig.clock.advance(1)
    assert (early, await rig.bodies()) == ([], ["a"])


@pytest.mark.parametrize(
    ("expected_s", "attempt"),
    [
        pytest.param(10, 1, id="first"),
        pytest.param(20, 2, id="second"),
        pytest.param(320, 6, id="sixth"),
        pytest.param(600, 7, id="at-most-the-maximum"),
        pytest.param(600, 1_000_000, id="any-attempt"),
    ],
)
def test_backoff_doubles_up_to_the_maximum(expected_s: float, attempt: int) -> None:
    """The wait is the minimum, doubled with each attempt, never above the maximum."""
    assert backoff_s(WORK, attempt) == expected_s


@pytest.mark.parametrize("how", ["acknowledge", "extend", "nack"])
async def test_stale_ack_id_is_ignored(how: str, rig: Rig) -> None:
    """Once a message was handed out again, the earlier hand-out's id settles nothing."""
    await rig.publish("a")
    [stale] = await rig.receive()
    rig.clock.advance(LEASE_S)
    [current] = await rig.receive()
    if how == "acknowledge":
        await rig.bus.acknowledge([stale.ack_id])
    elif how == "extend":
        await rig.bus.modify_deadline([stale.ack_id], 1000)
    else:
        await rig.bus.nack(stale.ack_id, 0)
    hidden = await rig.bodies()
    rig.clock.advance(LEASE_S)
    assert (hidden, await rig.bodies()) == ([], ["a"])
    assert stale.ack_id != current.ack_id


async def test_late_extension_does_not_undo_a_nack(rig: Rig) -> None:
    """A lease that was given back cannot be extended any more."""
    await rig.publish("a")
    [received] = await rig.receive()
    await rig.bus.nack(received.ack_id, 0)
    await rig.bus.modify_deadline([received.ack_id], 1000)
    assert await rig.bodies() == ["a"]


async def test_late_ack_counts_until_the_message_is_handed_out_again(rig: Rig) -> None:
    """An acknowledgement after the deadline is honoured if nobody else has got the message."""
    await rig.publish("a")
    [received] = await rig.receive()
    rig.clock.advance(LEASE_S + 1)
    await rig.bus.acknowledge([received.ack_id])
    assert (await rig.bodies(), await rig.rows()) == ([], (0, 0))


async def test_receive_takes_at_most_the_limit(rig: Rig) -> None:
    """`limit` bounds a hand-out, longest waiting first; 0 takes nothing."""
    await rig.publish("a", "b", "c")
    assert [await rig.bodies(limit=0), await rig.bodies(limit=2), await rig.bodies(limit=2)] == [
        [],
        ["a", "b"],
        ["c"],
    ]


async def test_one_message_per_key_is_out(rig: Rig) -> None:
    """A key's next message is handed out once its predecessor is acknowledged; other keys do not wait."""
    await rig.publish("k1", "k2", key="k")
    await rig.publish("l1", key="l")
    [k1, l1] = await rig.receive()
    blocked = await rig.bodies()
    await rig.bus.acknowledge([l1.ack_id])
    still_blocked = await rig.bodies()
    await rig.bus.acknowledge([k1.ack_id])
    assert (blocked, still_blocked, await rig.bodies()) == ([], [], ["k2"])


@pytest.mark.parametrize("how", ["nack", "lapse"])
async def test_successors_wait_for_the_redelivery(how: str, rig: Rig) -> None:
    """While a key's first message waits to be delivered again, nothing else of the key is handed out."""
    await rig.publish("k1", "k2", key="k")
    [first] = await rig.receive()
    if how == "nack":
        await rig.bus.nack(first.ack_id, 5)
        waiting = await rig.bodies()
        rig.clock.advance(5)
    else:
        waiting = await rig.bodies()
        rig.clock.advance(LEASE_S)
    [again] = await rig.receive()
    await rig.bus.acknowledge([again.ack_id])
    assert (waiting, again.delivery.data, await rig.bodies()) == ([], b"k1", ["k2"])


async def test_keys_do_not_order_an_unordered_subscription(rig: Rig) -> None:
    """Without ordering on the subscription all messages of a key are handed out together, key included."""
    letters = [Message(topic=DEAD.topic, data=body, ordering_key="k") for body in (b"1", b"2")]
    await rig.bus.publish(letters)
    assert [(r.delivery.data, r.delivery.ordering_key) for r in await rig.receive("dead")] == [
        (b"1", "k"),
        (b"2", "k"),
    ]


async def test_used_up_message_is_forwarded_as_it_was(rig: Rig) -> None:
    """After `max_delivery_attempts` the original bytes and attributes go to the dead-letter topic, with its origin."""
    await rig.publish("poison", "next", key="k")
    attempts = []
    for _ in range(WORK.max_delivery_attempts):
        attempts += [received.delivery.attempt for received in await rig.receive()]
        rig.clock.advance(LEASE_S)
    forwarding = await rig.bodies()
    [letter] = await rig.receive("dead")
    assert (attempts, forwarding, await rig.bodies()) == ([1, 2, 3, 4, 5], [], ["next"])
    assert (letter.delivery.data, dict(letter.delivery.attributes)) == (
        b"poison",
        {
            "a": "b",
            "CloudPubSubDeadLetterSourceSubscription": "work",
            "CloudPubSubDeadLetterSourceSubscriptionProject": "embedded",
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceTopicPublishTime": "2023-05-02T09:30:00Z",
        },
    )


async def test_letter_without_a_topic_is_not_lost(rig: Rig) -> None:
    """If the dead-letter topic does not exist the message goes on being delivered."""
    policy = Subscription(
        name="orphan", topic="requests", dead_letter_topic="no-such-topic", max_delivery_attempts=1
    )
    await rig.bus.apply(Topology(topics=(), subscriptions=(policy,)))
    await rig.publish("a")
    attempts = []
    for _ in range(3):
        attempts += [received.delivery.attempt for received in await rig.receive("orphan")]
        rig.clock.advance(LEASE_S)
    assert attempts == [1, 2, 3]


async def test_retention_ends_in_oblivion(rig: Rig) -> None:
    """A message older than the subscription's retention is deleted; younger ones of its key are then handed out."""
    await rig.publish("old", key="k")
    rig.clock.advance(60)
    await rig.publish("young", key="k")
    rig.clock.advance(WORK.retention_s - 59)
    assert (await rig.bodies(), await rig.rows()) == (["young"], (1, 1))


async def test_message_is_deleted_when_all_have_settled_it(rig: Rig) -> None:
    """A message stays while any subscription needs it and leaves the file with the last acknowledgement."""
    second = Subscription(name="second", topic="requests")
    await rig.bus.apply(Topology(topics=(), subscriptions=(second,)))
    await rig.publish("a")
    [for_work], [for_second] = await rig.receive("work"), await rig.receive("second")
    sizes = [await rig.rows()]
    await rig.bus.acknowledge([for_work.ack_id, for_work.ack_id])
    sizes.append(await rig.rows())
    await rig.bus.acknowledge([for_second.ack_id])
    sizes.append(await rig.rows())
    assert sizes == [(1, 2), (1, 1), (0, 0)]


async def test_message_nobody_subscribed_to_is_not_kept(rig: Rig) -> None:
    """Without a subscription that wants it, a message is accepted and leaves nothing in the file."""
    await rig.bus.delete_subscription("work")
    [message_id] = await rig.bus.publish([Message(topic="requests", data=b"a")])
    assert (message_id, await rig.rows()) == ("1", (0, 0))


async def test_message_ids_are_never_reused(rig: Rig) -> None:
    """An id stands for one message for ever, also after the message was deleted."""
    await rig.publish("a")
    [first] = await rig.receive()
    await rig.bus.acknowledge([first.ack_id])
    await rig.publish("b")
    [second] = await rig.receive()
    assert (first.delivery.message_id, second.delivery.message_id) == ("1", "2")


async def test_batch_with_an_unknown_topic_is_refused_as_a_whole(rig: Rig) -> None:
    """Publishing is all or nothing, and says how to create a missing topic."""
    batch = [Message(topic="requests", data=b"a"), Message(topic="nowhere", data=b"b")]
    with pytest.raises(BusUnavailableError, match=r"nowhere.*expert-bot topics apply"):
        await rig.bus.publish(batch)
    assert await rig.bodies() == []


async def test_unknown_subscription_is_unavailable(rig: Rig) -> None:
    """Receiving from a subscription that does not exist says how to create it."""
    with pytest.raises(BusUnavailableError, match=r"nothing.*expert-bot topics apply"):
        await rig.receive("nothing")


async def test_filter_it_cannot_apply_is_refused(rig: Rig) -> None:
    """A subscription with any filter but the replay filter is refused rather than given everything."""
    policy = Subscription(name="odd", topic="requests", filter='attributes.a = "b"')
    with pytest.raises(ValueError, match="odd"):
        await rig.bus.apply(Topology(topics=(), subscriptions=(policy,)))


async def test_deleting_a_subscription_frees_its_messages(rig: Rig) -> None:
    """What only a deleted subscription still needed leaves the file."""
    await rig.publish("a")
    await rig.bus.delete_subscription("work")
    assert await rig.rows() == (0, 0)


async def test_listener_hears_of_publishes_and_freed_successors(rig: Rig) -> None:
    """Whoever listens is woken by a publish and by an acknowledgement that frees a key's next message, no longer."""
    calls: list[str] = []
    with rig.bus.listening(lambda: calls.append("woken")):
        await rig.publish("k1", "k2", key="k")
        [first] = await rig.receive()
        await rig.bus.acknowledge([first.ack_id])
        [second] = await rig.receive()
        await rig.bus.acknowledge([second.ack_id])
    await rig.publish("later")
    assert calls == ["woken", "woken"]
