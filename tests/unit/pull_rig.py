"""A pull consumer on a fake server, and work that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from expert_bot.consumers.pull import PullConsumer
from expert_bot.delivery import Ack, Delivery, Outcome
from tests.fake_pubsub import FakePubsub, fake_pubsub
from tests.waiting import until


class Work:
    """A `process`: records deliveries, waits while `gate` is closed, answers with what `answers` says (Ack by default).

    `answers`: per message data, the outcomes (or exceptions) of its deliveries in turn.
    """

    def __init__(self, answers: dict[bytes, list[Any]] | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.done: list[bytes] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._answers = answers or {}

    @property
    def started(self) -> list[bytes]:
        """What was handed to the work, in order."""
        return [delivery.data for delivery in self.deliveries]

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        self.done.append(delivery.data)
        answers = self._answers.get(delivery.data)
        answer = answers.pop(0) if answers else Ack()
        if isinstance(answer, BaseException):
            raise answer
        outcome: Outcome = answer
        return outcome


class Rig:
    """The fake server, and a consumer on it once `start` was called."""

    def __init__(self, fake: FakePubsub, channel: grpc.aio.Channel) -> None:
        self.fake = fake
        self.channel = channel
        self.consumer: PullConsumer
        self.running: asyncio.Task[None] | None = None

    async def start(
        self, process: Callable[[Delivery], Awaitable[Outcome]], *, pulls: int = 1, **options: Any
    ) -> FakePubsub:
        """Run a consumer and return its server, once all pulls are open."""
        self.consumer = PullConsumer(
            channel=self.channel, project="p", subscription="s", process=process, pulls=pulls, **options
        )
        self.running = asyncio.create_task(self.consumer.run())
        await until(lambda: self.fake.open_pulls == pulls)
        return self.fake


@asynccontextmanager
async def pull_rig() -> AsyncIterator[Rig]:
    """Yield a rig; afterwards its consumer is drained and must have ended well."""
    async with fake_pubsub() as (fake, channel):
        rig = Rig(fake, channel)
        yield rig
        if rig.running is not None and not rig.running.done():
            await rig.consumer.drain(0.0)
            await rig.running
