"""What `ports.Publisher`, `ports.BusAdmin` and `ports.Consumer` promise, over every bus."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from expert_bot.delivery import Ack, DeadLetter, Delivery, Message, Outcome, Retry
from expert_bot.errors import BusUnavailableError, MessageRefusedError
from expert_bot.ports import ApplyReport
from expert_bot.schemas.topology import Subscription, Topic, Topology, replay_filter
from tests.contract.bus_kit import PATIENCE_S, BusKit, Recorder

EARLY_S = 0.05  # clocks of bus and test differ by less


def subscription(
    name: str, *, topic: str | None = None, ordered: bool = False, lease_s: int = 10
) -> Subscription:
    """Return a subscription that retries at once and has no dead-letter topic."""
    return Subscription(
        name=name,
        topic=topic or f"{name}-topic",
        ordered=ordered,
        ack_deadline_s=lease_s,
        min_backoff_s=0,
        max_backoff_s=1,
        dead_letter_topic=None,
    )


def message(name: str, body: bytes, *, key: str = "") -> Message:
    """Return a message to the topic of `subscription(name)`."""
    return Message(topic=f"{name}-topic", data=body, ordering_key=key)


async def test_message_arrives_as_it_was_published(bus: BusKit, unique: str) -> None:
    """Bytes, attributes, ordering key and id reach the subscriber unchanged, with the time of publication."""
    await bus.set_up(subscription(unique, ordered=True))
    attributes = {"ce-id": "1", "empty": "", "ñ": "€" * 341}
    sent = Message(topic=f"{unique}-topic", data=b"\x00\xff{}", attributes=attributes, ordering_key="clave")
    before = datetime.now(UTC)
    message_id = await bus.publisher.publish(sent)
    recorder = Recorder()
    async with bus.consuming(unique, recorder, ordered=True):
        await recorder.until(1)
    [got] = recorder.deliveries
    assert (got.subscription, got.data, dict(got.attributes), got.ordering_key, got.message_id) == (
        unique,
        sent.data,
        attributes,
        "clave",
        message_id,
    )
    assert got.published_at is not None
    assert abs(got.published_at - before) < timedelta(seconds=PATIENCE_S)


async def test_deadline_lies_ahead(bus: BusKit, unique: str) -> None:
    """A delivery says by which event-loop time its outcome must be known."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"a"))
    ahead: list[bool] = []

    async def look(delivery: Delivery) -> Outcome:
        assert delivery.deadline_s is not None
        ahead.append(delivery.deadline_s > asyncio.get_running_loop().time())
        return Ack()

    recorder = Recorder(look)
    async with bus.consuming(unique, recorder):
        await recorder.until(1)
    assert ahead == [True]


async def test_every_subscription_gets_every_message(bus: BusKit, unique: str) -> None:
    """A topic's subscriptions each get their own copy."""
    names = [f"{unique}-a", f"{unique}-b"]
    await bus.set_up(*(subscription(name, topic=f"{unique}-topic") for name in names))
    await bus.publisher.publish(message(unique, b"a"))
    for name in names:
        recorder = Recorder()
        async with bus.consuming(name, recorder):
            assert await recorder.until(1) == [b"a"]


async def test_many_concurrent_publishes_all_arrive(bus: BusKit, unique: str) -> None:
    """Every publish that was confirmed is delivered, and each has its own id."""
    await bus.set_up(subscription(unique))
    bodies = {str(number).encode() for number in range(300)}
    ids = await asyncio.gather(*(bus.publisher.publish(message(unique, body)) for body in bodies))
    recorder = Recorder()
    async with bus.consuming(unique, recorder):
        await recorder.until(300)
    assert (len(set(ids)), set(recorder.bodies)) == (300, bodies)


async def test_what_is_published_while_consuming_arrives(bus: BusKit, unique: str) -> None:
    """A running consumer gets messages that were published after it started."""
    await bus.set_up(subscription(unique))
    recorder = Recorder()
    async with bus.consuming(unique, recorder):
        for number in range(3):
            await bus.publisher.publish(message(unique, b"%d" % number))
            await recorder.until(number + 1)
    assert recorder.bodies == [b"0", b"1", b"2"]


async def test_close_sends_what_is_buffered(bus: BusKit, unique: str) -> None:
    """Publishes that were waiting when the publisher was closed are confirmed; closing twice is safe."""
    await bus.set_up(subscription(unique))
    await bus.publisher.ping()
    waiting = [asyncio.create_task(bus.publisher.publish(message(unique, b"%d" % n))) for n in range(20)]
    await asyncio.sleep(0)
    await bus.publisher.close()
    assert len(set(await asyncio.gather(*waiting))) == 20
    await bus.publisher.close()


async def test_publish_to_missing_topic_is_unavailable(bus: BusKit, unique: str) -> None:
    """A topic that does not exist raises BusUnavailableError naming it, and fails no other topic's messages."""
    await bus.set_up(subscription(unique))
    missing = bus.publisher.publish(Message(topic=f"{unique}-missing", data=b"a"))
    present = bus.publisher.publish(message(unique, b"b"))
    failed, message_id = await asyncio.gather(missing, present, return_exceptions=True)
    assert isinstance(failed, BusUnavailableError)
    assert f"{unique}-missing" in str(failed)
    assert isinstance(message_id, str)


@pytest.mark.parametrize(
    ("limit", "refused"),
    [
        pytest.param("10000000", Message(topic="x", data=b"x" * 10_000_001), id="data"),
        pytest.param(
            "100", Message(topic="x", data=b"", attributes={str(n): "" for n in range(101)}), id="attributes"
        ),
        pytest.param("256", Message(topic="x", data=b"", attributes={"ñ" * 129: ""}), id="attribute-key"),
        pytest.param("256", Message(topic="x", data=b"", attributes={"": "a"}), id="empty-attribute-key"),
        pytest.param("1024", Message(topic="x", data=b"", attributes={"a": "€" * 342}), id="attribute-value"),
        pytest.param("goog", Message(topic="x", data=b"", attributes={"googa": ""}), id="reserved-key"),
        pytest.param("1024", Message(topic="x", data=b"a", ordering_key="k" * 1025), id="ordering-key"),
        pytest.param("data or at least one attribute", Message(topic="x", data=b""), id="empty"),
    ],
)
async def test_message_beyond_a_limit_is_refused(limit: str, refused: Message, bus: BusKit) -> None:
    """What the bus can never accept raises MessageRefusedError that says what is allowed."""
    with pytest.raises(MessageRefusedError, match=limit):
        await bus.publisher.publish(refused)


async def test_apply_creates_what_is_missing_and_keeps_the_rest(bus: BusKit, unique: str) -> None:
    """Applying a topology again creates nothing and loses no message; only what is new is created."""
    old = subscription(unique)
    topics = (Topic(name=old.topic, purpose="A test."),)
    first = await bus.admin.apply(Topology(topics=topics, subscriptions=(old,)))
    await bus.publisher.publish(message(unique, b"kept"))
    new = subscription(f"{unique}-new", topic=old.topic)
    second = await bus.admin.apply(Topology(topics=topics, subscriptions=(old, new)))
    assert (first, second) == (
        ApplyReport(created=(old.topic, old.name), existing=()),
        ApplyReport(created=(new.name,), existing=(old.topic, old.name)),
    )
    recorder = Recorder()
    async with bus.consuming(unique, recorder):
        assert await recorder.until(1) == [b"kept"]


async def test_temporary_subscription_starts_now(bus: BusKit, unique: str) -> None:
    """It gets what is published after its creation, nothing earlier."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"before"))
    await bus.admin.create_temporary_subscription(f"{unique}-tmp", f"{unique}-topic")
    await bus.publisher.publish(message(unique, b"after"))
    recorder = Recorder()
    async with bus.consuming(f"{unique}-tmp", recorder):
        assert await recorder.until(1) == [b"after"]
    await bus.admin.delete_subscription(f"{unique}-tmp")


async def test_temporary_subscription_needs_its_topic(bus: BusKit, unique: str) -> None:
    """Creating one on a topic that does not exist raises BusUnavailableError."""
    with pytest.raises(BusUnavailableError):
        await bus.admin.create_temporary_subscription(f"{unique}-tmp", f"{unique}-topic")


async def test_deleted_subscription_forgets(bus: BusKit, unique: str) -> None:
    """A deleted subscription's messages are gone for it; deleting it again is fine."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"gone"))
    await bus.admin.delete_subscription(unique)
    await bus.admin.delete_subscription(unique)
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"new"))
    recorder = Recorder()
    async with bus.consuming(unique, recorder):
        assert await recorder.until(1) == [b"new"]


@pytest.mark.parametrize("outcome", [Ack(), Ack(duplicate=True), DeadLetter("poison")], ids=repr)
async def test_settled_message_is_not_delivered_again(outcome: Outcome, bus: BusKit, unique: str) -> None:
    """After Ack or DeadLetter another consumer gets only what came later."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"first"))

    async def settle(delivery: Delivery) -> Outcome:
        return outcome

    first, second = Recorder(settle), Recorder()
    async with bus.consuming(unique, first):
        await first.until(1)
    await bus.publisher.publish(message(unique, b"second"))
    async with bus.consuming(unique, second):
        assert await second.until(1) == [b"second"]


async def test_retry_is_delivered_again_but_not_early(bus: BusKit, unique: str) -> None:
    """Retry(after_s) brings the same message back, not before `after_s` seconds."""
    await bus.set_up(subscription(unique))
    message_id = await bus.publisher.publish(message(unique, b"again"))
    times: list[float] = []

    async def retry_once(delivery: Delivery) -> Outcome:
        times.append(asyncio.get_running_loop().time())
        return Retry(1.0, "busy") if len(times) == 1 else Ack()

    recorder = Recorder(retry_once)
    async with bus.consuming(unique, recorder):
        await recorder.until(2)
    assert [delivery.message_id for delivery in recorder.deliveries] == [message_id] * 2
    assert times[1] - times[0] >= 1.0 - EARLY_S


@pytest.mark.parametrize(
    "failure", [RuntimeError("bug"), asyncio.CancelledError()], ids=["raises", "cancelled"]
)
async def test_poison_does_not_stop_the_others(failure: BaseException, bus: BusKit, unique: str) -> None:
    """A message whose work raises or is cancelled comes again; every other message is processed."""
    await bus.set_up(subscription(unique))
    bodies = [b"poison", *(b"%d" % number for number in range(10))]
    for body in bodies:
        await bus.publisher.publish(message(unique, body))
    seen: set[bytes] = set()

    async def fail_once(delivery: Delivery) -> Outcome:
        is_first = delivery.data not in seen
        seen.add(delivery.data)
        if delivery.data == b"poison" and is_first:
            raise failure
        return Ack()

    recorder = Recorder(fail_once)
    async with bus.consuming(unique, recorder):
        await recorder.until(12)
    assert sorted(recorder.bodies) == sorted([*bodies, b"poison"])


async def test_abandoned_message_is_delivered_again(bus: BusKit, unique: str) -> None:
    """A message whose receiver died is delivered to another one once its lease has ended."""
    await bus.set_up(subscription(unique, lease_s=bus.shortest_lease_s))
    await bus.publisher.publish(message(unique, b"orphan"))
    await bus.abandon(unique)
    recorder = Recorder()
    async with bus.consuming(unique, recorder):
        assert await recorder.until(1) == [b"orphan"]


async def test_work_longer_than_the_lease_is_done_once(bus: BusKit, unique: str) -> None:
    """While work runs its lease is extended: nobody else gets the message."""
    await bus.set_up(subscription(unique, lease_s=bus.shortest_lease_s))
    await bus.publisher.publish(message(unique, b"slow"))

    async def work_long(delivery: Delivery) -> Outcome:
        if delivery.data == b"slow":
            await asyncio.sleep(bus.shortest_lease_s * 1.5)
        return Ack()

    slow, other = Recorder(work_long), Recorder()
    async with bus.consuming(unique, slow):
        await slow.until(1)
        async with bus.consuming(unique, other) as consumer:
            await asyncio.sleep(bus.shortest_lease_s * 1.25)
            await consumer.drain(0)
        await bus.publisher.publish(message(unique, b"last"))
        await slow.until(2)
    assert (slow.bodies, other.bodies) == ([b"slow", b"last"], [])


async def test_messages_of_one_key_run_in_order(bus: BusKit, unique: str) -> None:
    """Of one ordering key a message is handed out only after its predecessor is settled."""
    await bus.set_up(subscription(unique, ordered=True))
    bodies = [b"%d" % number for number in range(8)]
    for body in bodies:
        await bus.publisher.publish(message(unique, body, key="k"))
    at_once: list[int] = []
    running = 0

    async def overlap(delivery: Delivery) -> Outcome:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.01)
        running -= 1
        return Ack()

    recorder = Recorder(overlap)
    async with bus.consuming(unique, recorder, ordered=True):
        await recorder.until(8)
    assert (recorder.bodies, at_once[:8]) == (bodies, [1] * 8)


async def test_order_holds_across_retries(bus: BusKit, unique: str) -> None:
    """While a message of a key waits for its retry, or its work failed, its successors wait too."""
    await bus.set_up(subscription(unique, ordered=True))
    for number in range(4):
        await bus.publisher.publish(message(unique, b"%d" % number, key="k"))
    tries: dict[bytes, int] = {}

    async def stumble(delivery: Delivery) -> Outcome:
        tries[delivery.data] = tries.get(delivery.data, 0) + 1
        return Retry(0.3, "busy") if delivery.data == b"1" and tries[b"1"] < 3 else Ack()

    recorder = Recorder(stumble)
    async with bus.consuming(unique, recorder, ordered=True):
        await recorder.until(6)
    assert recorder.bodies == [b"0", b"1", b"1", b"1", b"2", b"3"]


async def test_other_keys_do_not_wait(bus: BusKit, unique: str) -> None:
    """Messages of different keys, and those without one, are worked on at the same time."""
    await bus.set_up(subscription(unique, ordered=True))
    for number, key in enumerate(["a", "b", "", ""]):
        await bus.publisher.publish(message(unique, b"%d" % number, key=key))
    together, met = asyncio.Barrier(4), asyncio.Event()

    async def meet(delivery: Delivery) -> Outcome:
        await together.wait()
        met.set()
        return Ack()

    recorder = Recorder(meet)
    async with bus.consuming(unique, recorder, ordered=True), asyncio.timeout(PATIENCE_S):
        await met.wait()
    assert sorted(recorder.bodies) == [b"0", b"1", b"2", b"3"]


async def test_work_in_flight_is_bounded(bus: BusKit, unique: str) -> None:
    """Never more than `max_in_flight` messages are worked on at once, and all are in the end."""
    await bus.set_up(subscription(unique))
    for number in range(12):
        await bus.publisher.publish(message(unique, b"%d" % number))
    running: set[bytes] = set()
    at_once: list[int] = []

    async def overlap(delivery: Delivery) -> Outcome:
        running.add(delivery.data)
        at_once.append(len(running))
        await asyncio.sleep(0.02)
        running.discard(delivery.data)
        return Ack()

    recorder = Recorder(overlap)
    async with bus.consuming(unique, recorder, max_in_flight=3):
        await recorder.until(12)
    assert max(at_once) == 3


async def test_drain_lets_running_work_finish(bus: BusKit, unique: str) -> None:
    """Work that ends within the grace is settled, nothing new is taken, and `run` returns."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"running"))
    finish = asyncio.Event()

    async def wait_for_finish(delivery: Delivery) -> Outcome:
        await finish.wait()
        return Ack()

    first, second = Recorder(wait_for_finish), Recorder()
    consumer = bus.make_consumer(unique, first, ordered=False, max_in_flight=10)
    running = asyncio.create_task(consumer.run())
    await first.until(1)
    draining = asyncio.create_task(consumer.drain(PATIENCE_S))
    await asyncio.sleep(0.05)
    await bus.publisher.publish(message(unique, b"later"))
    finish.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(draining, running)
    async with bus.consuming(unique, second):
        assert await second.until(1) == [b"later"]
    assert first.bodies == [b"running"]


async def test_drain_hands_back_what_outlives_the_grace(bus: BusKit, unique: str) -> None:
    """Work that is still running after the grace is cancelled and its message delivered again; draining is idempotent."""
    await bus.set_up(subscription(unique, lease_s=600))
    await bus.publisher.publish(message(unique, b"stuck"))
    cancelled: list[bytes] = []

    async def hang(delivery: Delivery) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(delivery.data)
            raise
        return Ack()

    first, second = Recorder(hang), Recorder()
    consumer = bus.make_consumer(unique, first, ordered=False, max_in_flight=10)
    running = asyncio.create_task(consumer.run())
    await first.until(1)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(consumer.drain(0.05), consumer.drain(0.05), running)
        await consumer.drain(0)
    assert cancelled == [b"stuck"]
    async with bus.consuming(unique, second):
        assert await second.until(1) == [b"stuck"]


async def test_drain_before_run_means_no_run(bus: BusKit, unique: str) -> None:
    """A consumer that was drained before it ran takes nothing and returns at once."""
    await bus.set_up(subscription(unique))
    await bus.publisher.publish(message(unique, b"untouched"))
    first, second = Recorder(), Recorder()
    consumer = bus.make_consumer(unique, first, ordered=False, max_in_flight=10)
    async with asyncio.timeout(PATIENCE_S):
        await consumer.drain(1)
        await consumer.run()
    async with bus.consuming(unique, second):
        await second.until(1)
    assert first.bodies == []


async def test_consumer_survives_an_outage(bus: BusKit, unique: str) -> None:
    """While its subscription cannot be read a consumer keeps trying, says for how long, and then goes on."""
    recorder = Recorder()
    async with bus.consuming(unique, recorder) as consumer:
        before = consumer.stalled_for_s()
        await asyncio.sleep(0.3)
        during = consumer.stalled_for_s()
        await bus.set_up(subscription(unique))
        await bus.publisher.publish(message(unique, b"finally"))
        assert await recorder.until(1) == [b"finally"]
        after = consumer.stalled_for_s()
    assert during >= before + 0.3 - EARLY_S
    assert after < during


async def test_replay_for_another_subscription_is_filtered(bus: BusKit, unique: str) -> None:
    """With the replay filter a subscription gets ordinary messages and those replayed for itself only."""
    if bus.name == "pubsub":
        pytest.skip("the Pub/Sub emulator ignores subscription filters")
    name = f"{unique}-filtered"
    policy = Subscription(
        name=name, topic=f"{unique}-topic", ordered=False, dead_letter_topic=None, filter=replay_filter(name)
    )
    await bus.set_up(policy)
    for body, attributes in [(b"1", {}), (b"2", {"replayfor": "other"}), (b"3", {"replayfor": name})]:
        await bus.publisher.publish(Message(topic=policy.topic, data=body, attributes=attributes))
    recorder = Recorder()
    async with bus.consuming(name, recorder):
        await recorder.until(2)
    assert sorted(recorder.bodies) == [b"1", b"3"]
