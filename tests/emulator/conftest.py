"""A Pub/Sub emulator's topics and subscriptions for one test, and consumers that record what they were given."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
import pytest

from expert_bot.consumers.pull import EMULATOR, PullConsumer
from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.google_channels import open_channel
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.publishers.pubsub_admin import PubsubAdmin
from expert_bot.schemas.topology import Subscription, Topic, Topology

PROJECT = "emulator-tests"


class Bus:
    """One topic and subscription of their own on an emulator, and everything a test does with them."""

    def __init__(self, host: str, *, name: str | None = None) -> None:
        self.name = name or f"t-{uuid.uuid4().hex}"
        self.channel: grpc.aio.Channel = open_channel(emulator_host=host)
        self.admin = PubsubAdmin(channel=self.channel, project=PROJECT)
        self.publisher = PubsubPublisher(channel=self.channel, project=PROJECT)
        self._running: list[tuple[PullConsumer, asyncio.Task[None]]] = []

    async def set_up(self, *, ordered: bool = False, ack_deadline_s: int = 10) -> None:
        """Create the topic and the subscription."""
        subscription = Subscription(
            name=self.name,
            topic=self.name,
            ordered=ordered,
            ack_deadline_s=ack_deadline_s,
            dead_letter_topic=None,
        )
        topic = Topic(name=self.name, purpose="a test's own")
        await self.admin.apply(Topology(topics=(topic,), subscriptions=(subscription,)))

    async def publish(self, *texts: str, key: str = "") -> None:
        """Publish short messages at once, in order if they have a key."""
        await asyncio.gather(
            *(
                self.publisher.publish(Message(topic=self.name, data=text.encode(), ordering_key=key))
                for text in texts
            )
        )

    def consume(self, process: Callable[[Delivery], Awaitable[Outcome]], **options: Any) -> PullConsumer:
        """Start a consumer of the subscription; it is drained when the test ends."""
        options.setdefault("polling", EMULATOR)
        consumer = PullConsumer(
            channel=self.channel, project=PROJECT, subscription=self.name, process=process, **options
        )
        self._running.append((consumer, asyncio.create_task(consumer.run())))
        return consumer

    async def close(self) -> None:
        """Drain every consumer, see them end well, and close the connection."""
        for consumer, task in self._running:
            await consumer.drain(0.0)
            await task
        await self.publisher.close()
        await self.channel.close()


class Recorder:
    """A `process` that acknowledges everything and remembers the texts in the order they came."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.texts.append(delivery.data.decode())
        return Ack()


@pytest.fixture
def recorder() -> Recorder:
    """Return a fresh recorder."""
    return Recorder()


@pytest.fixture
async def bus(pubsub_emulator: str) -> AsyncIterator[Bus]:
    """Yield a bus without topics yet: `set_up` creates them."""
    bus = Bus(pubsub_emulator)
    yield bus
    await bus.close()
