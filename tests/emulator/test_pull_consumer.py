"""The pull consumer against the real Pub/Sub emulator."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull import EMULATOR
from expert_bot.delivery import Ack, Delivery, Message, Outcome, Retry
from tests.emulator.conftest import Bus, Recorder
from tests.emulators import PUBSUB, free_port, running
from tests.waiting import until

pytestmark = pytest.mark.emulator


async def test_every_message_is_processed_once_and_acknowledged(bus: Bus, recorder: Recorder) -> None:
    """With nothing going wrong, nothing is missing and nothing comes twice, also not to a later consumer."""
    await bus.set_up()
    texts = [f"m{n}" for n in range(1500)]
    first = bus.consume(recorder, pulls=3, polling=EMULATOR)
    await bus.publish(*texts)
    await until(lambda: len(recorder.texts) >= len(texts))
    await first.drain(1.0)
    bus.consume(recorder)
    await bus.publish("last")
    await until(lambda: "last" in recorder.texts)
    assert Counter([*texts, "last"]) == Counter(recorder.texts)


async def test_a_message_of_nine_megabytes_comes_through_unchanged(bus: Bus) -> None:
    """The default limit of 4 MiB of gRPC does not apply."""
    await bus.set_up()
    data = random.Random(9).randbytes(9_000_000)
    seen: list[Delivery] = []

    async def process(delivery: Delivery) -> Outcome:
        seen.append(delivery)
        return Ack()

    bus.consume(process, ordered=False)
    message_id = await bus.publisher.publish(Message(topic=bus.name, data=data, attributes={"a": "é"}))
    await until(lambda: seen)
    assert (data, {"a": "é"}, message_id) == (seen[0].data, seen[0].attributes, seen[0].message_id)
    assert seen[0].published_at is not None
    assert seen[0].published_at.tzinfo is not None


async def test_a_handler_longer_than_the_ack_deadline_keeps_its_message(bus: Bus) -> None:
    """While a handler works 15 s under a deadline of 10 s, its lease is extended: no second delivery."""
    await bus.set_up(ack_deadline_s=10)
    starts: list[str] = []
    ended = asyncio.Event()

    async def process(delivery: Delivery) -> Outcome:
        starts.append(delivery.message_id)
        await asyncio.sleep(15)
        ended.set()
        return Ack()

    bus.consume(process, ack_deadline_s=10)
    await bus.publish("slow")
    await asyncio.wait_for(ended.wait(), 30)
    await asyncio.sleep(0.3)  # a lapsed lease would have been delivered again by now
    assert len(starts) == 1


async def test_never_more_than_the_budget_runs_at_once(bus: Bus) -> None:
    """The emulator sends more than it was asked for; the consumer holds what exceeds the budget."""
    await bus.set_up()
    running_now = 0
    most = 0
    done: list[str] = []

    async def process(delivery: Delivery) -> Outcome:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.02)
        running_now -= 1
        done.append(delivery.data.decode())
        return Ack()

    bus.consume(process, budget=Budget(7), pulls=2)
    texts = [f"m{n}" for n in range(300)]
    await bus.publish(*texts)
    await until(lambda: len(done) >= len(texts))
    assert most == 7
    assert sorted(texts) == sorted(done)


async def test_messages_of_a_key_keep_their_order_across_retries(bus: Bus) -> None:
    """While the first waits for its retry its successors wait too; another key passes by."""
    await bus.set_up(ordered=True)
    done: dict[str, list[str]] = {"a": [], "b": []}
    tries: Counter[str] = Counter()
    seeded = random.Random(4)

    async def process(delivery: Delivery) -> Outcome:
        text = delivery.data.decode()
        tries[text] += 1
        await asyncio.sleep(seeded.random() * 0.01)
        if text in ("a0", "a7") and tries[text] < 3:
            return Retry(0.3, "not yet")
        done[delivery.ordering_key].append(text)
        return Ack()

    bus.consume(process)
    of_a, of_b = [f"a{n}" for n in range(20)], [f"b{n}" for n in range(20)]
    await asyncio.gather(bus.publish(*of_a, key="a"), bus.publish(*of_b, key="b"))
    await until(lambda: len(done["b"]) == len(of_b))
    assert done["a"] == [], "b was not to wait for a"
    await until(lambda: len(done["a"]) == len(of_a))
    assert {"a": of_a, "b": of_b} == done
    assert {text: count for text, count in tries.items() if count > 1} == {"a0": 3, "a7": 3}


async def test_a_thousand_ordered_messages_survive_failures_and_crashes(bus: Bus) -> None:
    """Of twenty keys a tenth of the runs fail and a fiftieth raise: nothing is lost, each key is done in order."""
    await bus.set_up(ordered=True)
    seeded = random.Random(8)
    done: dict[str, list[str]] = {}

    async def process(delivery: Delivery) -> Outcome:
        fate = seeded.random()
        if fate < 0.02:
            raise RuntimeError("as the test says")
        if fate < 0.12:
            return Retry(seeded.random() * 0.05, "not yet")
        of_key = done.setdefault(delivery.ordering_key, [])
        if (text := delivery.data.decode()) not in of_key:
            of_key.append(text)
        return Ack()

    bus.consume(process, crash_retry_s=0.1, polling=EMULATOR)
    keys = {f"key-{n}": [f"{n}-{m}" for m in range(50)] for n in range(20)}
    await asyncio.gather(*(bus.publish(*texts, key=key) for key, texts in keys.items()))
    await until(lambda: sum(map(len, done.values())) == 1000, within_s=60)
    assert done == keys


async def test_drain_hands_keys_back_at_once(bus: Bus) -> None:
    """Another worker has the messages of every key before any lease ends.

    Not in order: the emulator puts what was handed back behind what it had not delivered yet.
    """
    await bus.set_up(ordered=True, ack_deadline_s=600)
    began = asyncio.Event()
    done: dict[str, list[str]] = {}

    async def never_ends(delivery: Delivery) -> Outcome:
        began.set()
        await asyncio.Event().wait()
        return Ack()

    async def process(delivery: Delivery) -> Outcome:
        done.setdefault(delivery.ordering_key, []).append(delivery.data.decode())
        return Ack()

    keys = {f"key-{n}": [f"{n}-{m}" for m in range(10)] for n in range(5)}
    await asyncio.gather(*(bus.publish(*texts, key=key) for key, texts in keys.items()))
    consumer = bus.consume(never_ends, polling=EMULATOR)
    await began.wait()
    await consumer.drain(0.0)
    bus.consume(process, polling=EMULATOR)
    await until(lambda: sum(map(len, done.values())) >= 50)
    assert {key: sorted(texts) for key, texts in done.items()} == keys


async def test_what_is_published_after_a_drain_goes_to_the_living(bus: Bus, recorder: Recorder) -> None:
    """No pull that the drained consumer left behind swallows messages."""
    await bus.set_up(ack_deadline_s=600)
    consumer = bus.consume(recorder, pulls=8, polling=EMULATOR)
    await bus.publish("before")
    await until(lambda: recorder.texts)
    await consumer.drain(1.0)
    bus.consume(recorder, polling=EMULATOR)
    texts = [f"m{n}" for n in range(20)]
    for text in texts:
        await bus.publish(text)
    await until(lambda: len(recorder.texts) == 21)
    assert sorted(recorder.texts) == sorted(["before", *texts])


async def test_drain_hands_everything_back_at_once(bus: Bus, recorder: Recorder) -> None:
    """What was running, waiting or still unread when draining began reaches another consumer before any lease ends."""
    await bus.set_up(ack_deadline_s=600)
    began: list[str] = []

    async def never_ends(delivery: Delivery) -> Outcome:
        began.append(delivery.data.decode())
        await asyncio.Event().wait()
        return Ack()

    consumer = bus.consume(
        never_ends,
        ordered=False,
        budget=Budget(20),
        pulls=1,
        ack_deadline_s=600,
        polling=EMULATOR,
    )
    texts = [f"m{n}" for n in range(350)]
    await bus.publish(*texts)
    await until(lambda: len(began) == 20)
    await asyncio.sleep(0.5)  # let the emulator fill the stream that nobody reads
    await consumer.drain(0.1)
    bus.consume(recorder, ordered=False)
    await until(lambda: len(recorder.texts) >= len(texts))
    assert sorted(texts) == sorted(recorder.texts)


async def test_work_that_ends_within_the_grace_is_acknowledged(bus: Bus, recorder: Recorder) -> None:
    """Draining waits for running work, and what it answers still counts."""
    await bus.set_up()
    began = asyncio.Event()

    async def process(delivery: Delivery) -> Outcome:
        began.set()
        await asyncio.sleep(0.3)
        return Ack()

    consumer = bus.consume(process, polling=EMULATOR)
    await bus.publish("x")
    await began.wait()
    await consumer.drain(5.0)
    bus.consume(recorder)
    await bus.publish("y")
    await until(lambda: recorder.texts)
    assert recorder.texts == ["y"]


@pytest.mark.usefixtures("pubsub_emulator")  # skips, or fails in CI, where the emulator is missing
async def test_a_killed_and_restarted_broker_is_found_again(recorder: Recorder) -> None:
    """A consumer started before its broker and its subscription reads on when they (re)appear, and knows it stalls."""
    port = free_port()
    bus = Bus(f"127.0.0.1:{port}")
    consumer = bus.consume(recorder)
    with running(PUBSUB, port=port):
        await bus.set_up()
        await bus.publish("before")
        await until(lambda: recorder.texts == ["before"])
        await until(lambda: consumer.stalled_for_s() < 0.5)
    await until(lambda: consumer.stalled_for_s() > 0.5)
    with running(PUBSUB, port=port):
        await bus.set_up()
        await bus.publish("after")
        await until(lambda: recorder.texts == ["before", "after"])
        await bus.close()
