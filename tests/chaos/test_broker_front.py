"""The front makes the Pub/Sub emulator forget dead clients; all else passes through unchanged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from google.pubsub_v1.types import pubsub as wire

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError
from tests.chaos.broker_front import broker_front
from tests.emulator.conftest import PROJECT, Bus, Recorder
from tests.waiting import until

pytestmark = pytest.mark.emulator


@contextlib.asynccontextmanager
async def a_bus(host: str) -> AsyncIterator[Bus]:
    """Yield a bus behind a host; close it afterwards."""
    bus = Bus(host)
    try:
        yield bus
    finally:
        await bus.close()


async def read_one_message_and_die(bus: Bus) -> None:
    """Open a stream, read one message, and break off without a word."""
    pull = bus.channel.stream_stream(
        "/google.pubsub.v1.Subscriber/StreamingPull",
        request_serializer=wire.StreamingPullRequest.pb().SerializeToString,
        response_deserializer=wire.StreamingPullResponse.pb().FromString,
    )
    path = f"projects/{PROJECT}/subscriptions/{bus.name}"
    call = pull()
    await call.write(wire.StreamingPullRequest.pb()(subscription=path, stream_ack_deadline_seconds=600))
    await bus.publish("the dead client's")
    await call.read()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call.code()


async def test_a_dead_client_takes_no_share_of_later_messages(pubsub_emulator: str) -> None:
    """What is published after its death reaches the living; leases of 600 s would hide what went to the dead one."""
    recorder = Recorder()
    async with broker_front(pubsub_emulator) as front, a_bus(front) as bus:
        await bus.set_up(ack_deadline_s=600)
        await read_one_message_and_die(bus)
        bus.consume(recorder, ordered=False, ack_deadline_s=600)
        while not recorder.texts:  # the first ones may still go the dead one's way
            await bus.publish("probe")
            await asyncio.sleep(0.1)
        texts = {f"m{number}" for number in range(200)}
        await bus.publish(*texts)
        await until(lambda: texts <= {*recorder.texts})


async def test_the_broker_s_refusals_come_through(pubsub_emulator: str) -> None:
    """An error keeps its code: publishing to a topic that does not exist says so."""
    async with broker_front(pubsub_emulator) as front, a_bus(front) as bus:
        with pytest.raises(BusUnavailableError, match="does not exist"):
            await bus.publisher.publish(Message(topic=bus.name, data=b"x"))
