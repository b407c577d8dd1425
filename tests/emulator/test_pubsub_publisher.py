"""The publisher and the admin against the real Pub/Sub emulator."""

from __future__ import annotations

import asyncio

import pytest
from google.pubsub_v1.types import PubsubMessage

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError, MessageRefusedError
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.publishers.pubsub_batches import Outgoing
from expert_bot.schemas.topology import topology
from tests.emulator.conftest import PROJECT, Bus, Recorder
from tests.waiting import until

pytestmark = pytest.mark.emulator


async def test_messages_of_a_key_arrive_in_the_order_of_their_publication(
    bus: Bus, recorder: Recorder
) -> None:
    """Small batches in flight at once do not mix up a key, however many keys there are."""
    await bus.set_up(ordered=True)
    publisher = PubsubPublisher(channel=bus.channel, project=PROJECT, max_batch=7, flush_after_s=0.0)
    bus.consume(recorder)
    sent = [(f"k{n % 5}", f"k{n % 5}-{n:03}") for n in range(200)]
    await asyncio.gather(
        *(
            publisher.publish(Message(topic=bus.name, data=text.encode(), ordering_key=key))
            for key, text in sent
        )
    )
    await until(lambda: len(recorder.texts) == len(sent))
    for key in {key for key, _ in sent}:
        arrived = [text for text in recorder.texts if text.startswith(key)]
        assert arrived == sorted(arrived)


async def test_a_refused_batch_loses_only_its_guilty_message(bus: Bus, recorder: Recorder) -> None:
    """What the broker itself refuses is isolated: here an empty message, put past the publisher's own check."""
    await bus.set_up()
    bus.consume(recorder)
    empty = Outgoing(PubsubMessage.pb()(), "", asyncio.get_running_loop().create_future())
    bus.publisher._batches(bus.name).add(empty)
    await bus.publish("a", "b")
    with pytest.raises(MessageRefusedError, match="empty"):
        await empty.confirmed
    await until(lambda: sorted(recorder.texts) == ["a", "b"])


async def test_a_missing_topic_and_a_missing_broker_are_outages(bus: Bus) -> None:
    """Neither is the message's fault."""
    with pytest.raises(BusUnavailableError, match="expert-bot topics apply"):
        await bus.publisher.publish(Message(topic="never-created", data=b"x"))
    nowhere = Bus("127.0.0.1:1")
    with pytest.raises(BusUnavailableError):
        await nowhere.publisher.publish(Message(topic="t", data=b"x"))
    with pytest.raises(BusUnavailableError):
        await nowhere.publisher.ping()
    await nowhere.close()


async def test_the_services_own_topology_can_be_applied_twice(bus: Bus) -> None:
    """Everything the service needs exists afterwards; the second time nothing is created."""
    await bus.publisher.ping()
    names = {each.name for each in (*topology().topics, *topology().subscriptions)}
    first = await bus.admin.apply(topology())
    second = await bus.admin.apply(topology())
    assert {*first.created, *first.existing} == names
    assert set(second.existing) == names
    assert second.created == ()
