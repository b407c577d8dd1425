"""One bus under test: publisher, admin, consumers, and a way to take a message and die with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from expert_bot.consumers.budget import Budget
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.ports import BusAdmin, Clock, Consumer, Publisher
from expert_bot.schemas.topology import Subscription, Topic, Topology

Process = Callable[[Delivery], Awaitable[Outcome]]
PATIENCE_S = 30.0  # only a broken adapter ever waits this long


class MakeConsumer(Protocol):
    """Makes a consumer that has not started yet."""

    def __call__(
        self, subscription: str, process: Process, *, ordered: bool, max_in_flight: int
    ) -> Consumer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BusKit:
    """`shortest_lease_s`: the shortest ack deadline the bus allows. `abandon`: takes one message, never settles it."""

    name: str
    publisher: Publisher
    admin: BusAdmin
    make_consumer: MakeConsumer
    abandon: Callable[[str], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    shortest_lease_s: int

    async def set_up(self, *subscriptions: Subscription) -> None:
        """Create subscriptions and their topics."""
        names = dict.fromkeys(subscription.topic for subscription in subscriptions)
        topics = tuple(Topic(name=name, purpose="A test.") for name in names)
        await self.admin.apply(Topology(topics=topics, subscriptions=subscriptions))

    @asynccontextmanager
    async def consuming(
        self, subscription: str, process: Process, *, ordered: bool = False, max_in_flight: int = 100
    ) -> AsyncIterator[Consumer]:
        """Run a consumer for as long as the block runs, then drain it."""
        consumer = self.make_consumer(subscription, process, ordered=ordered, max_in_flight=max_in_flight)
        running = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await consumer.drain(1)
                await running


class Recorder:
    """A `process` that keeps what it was given and answers with what `decide` says (Ack by default)."""

    def __init__(self, decide: Process | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self._decide = decide
        self._came = asyncio.Event()

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        self._came.set()
        return Ack() if self._decide is None else await self._decide(delivery)

    @property
    def bodies(self) -> list[bytes]:
        """What came, in order."""
        return [delivery.data for delivery in self.deliveries]

    async def until(self, count: int) -> list[bytes]:
        """Wait until `count` deliveries came; return the bodies of all that did."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.deliveries) < count:
                self._came.clear()
                await self._came.wait()
        return self.bodies


def embedded_kit(path: Path, clock: Clock) -> BusKit:
    """Return the embedded bus in a file."""
    from expert_bot.consumers.embedded import EmbeddedConsumer  # noqa: PLC0415  # only what the row needs
    from expert_bot.publishers.embedded import EmbeddedPublisher  # noqa: PLC0415  # only what the row needs
    from expert_bot.storage.sqlite_bus import SqliteBus  # noqa: PLC0415  # only what the row needs
    from expert_bot.storage.sqlite_file import SqliteFile  # noqa: PLC0415  # only what the row needs

    bus = SqliteBus(SqliteFile(path), clock=clock)
    publisher = EmbeddedPublisher(bus)

    def make_consumer(subscription: str, process: Process, *, ordered: bool, max_in_flight: int) -> Consumer:
        return EmbeddedConsumer(bus, subscription, process, budget=Budget(max_in_flight))

    async def abandon(subscription: str) -> None:
        assert len(await bus.receive(subscription, 1)) == 1

    return BusKit(
        name="embedded",
        publisher=publisher,
        admin=bus,
        make_consumer=make_consumer,
        abandon=abandon,
        close=publisher.close,
        shortest_lease_s=1,
    )


def pubsub_kit(emulator_host: str, project: str) -> BusKit:
    """Return Google Pub/Sub's adapters over the emulator."""
    from google.pubsub_v1.types import pubsub as wire  # noqa: PLC0415  # only what the row needs

    from expert_bot.consumers.pull import EMULATOR, PullConsumer  # noqa: PLC0415  # only what the row needs
    from expert_bot.google_channels import open_channel, unary  # noqa: PLC0415  # only what the row needs
    from expert_bot.publishers.pubsub import PubsubPublisher  # noqa: PLC0415  # only what the row needs
    from expert_bot.publishers.pubsub_admin import PubsubAdmin  # noqa: PLC0415  # only what the row needs

    channel = open_channel(emulator_host=emulator_host)
    publisher = PubsubPublisher(channel=channel, project=project)
    pull = unary(channel, "Subscriber/Pull", wire.PullRequest.pb(), wire.PullResponse.pb())

    def make_consumer(subscription: str, process: Process, *, ordered: bool, max_in_flight: int) -> Consumer:
        return PullConsumer(
            channel=channel,
            project=project,
            subscription=subscription,
            process=process,
            ordered=ordered,
            budget=Budget(max_in_flight),
            polling=EMULATOR,
        )

    async def abandon(subscription: str) -> None:
        path = f"projects/{project}/subscriptions/{subscription}"
        response = await pull(wire.PullRequest.pb()(subscription=path, max_messages=1), timeout=PATIENCE_S)
        assert len(response.received_messages) == 1

    async def close() -> None:
        await publisher.close()
        await channel.close()

    return BusKit(
        name="pubsub",
        publisher=publisher,
        admin=PubsubAdmin(channel=channel, project=project),
        make_consumer=make_consumer,
        abandon=abandon,
        close=close,
        shortest_lease_s=10,
    )
