"""Where every storm with worker processes takes place: fresh files or a fresh project, traffic, collectors, workers."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.schemas import pubsub
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from expert_bot.schemas.events.chat import FAMILY
from expert_bot.schemas.topology import Topology, topology
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from expert_bot.storage.system_clock import SystemClock
from tests.chaos.judge import Figures, judge, unsent
from tests.chaos.traffic import Plan, Traffic
from tests.chaos.workers import Workers, fork_server

LATE_COPIES_AFTER_S = 1.2  # a little more than the relays' pause
_SHORTEST_DEADLINE_S = 10  # Pub/Sub allows none shorter
_SAY_EVERY_S = 5.0

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Stage:
    """One run's surroundings. `rng`: from the plan's seed."""

    settings: Settings
    adapters: Adapters
    plan: Plan
    traffic: Traffic
    workers: Workers
    say: Say
    rng: random.Random
    started_at: float
    published: int = 0
    said_at: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.started_at

    async def publish_until(self, count: int) -> None:
        """Publish the traffic up to its `count`-th message."""
        chunk = self.traffic.queue[self.published : count]
        self.published += len(chunk)
        messages = [pubsub.encode_binary(event, FAMILY.request_topic) for event in chunk]
        await asyncio.gather(*(self.adapters.publisher.publish(message) for message in messages))

    async def publish_more(self, count: int) -> None:
        """Publish the next `count` messages of the traffic."""
        await self.publish_until(self.published + count)

    async def publish_rest(self) -> None:
        """Publish what is left of the traffic."""
        await self.publish_until(len(self.traffic.queue))

    async def answered(self, within_s: float) -> float | None:
        """Wait until everything published is answered; return the seconds it took, None if it took too long."""
        started = time.monotonic()
        while waiting := self.traffic.unanswered_of(self.published):
            if time.monotonic() - started > within_s:
                self.say(f"{self.seconds:.0f} s: {waiting} unanswered after {within_s} s")
                return None
            self.tell()
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def finish(self) -> Figures:
        """Wait until all is answered and marked, or the time is up, and judge."""
        while self.traffic.unanswered or await unsent(self.adapters.documents):
            if self.seconds > self.plan.timeout_s:
                break
            self.tell()
            await asyncio.sleep(0.2)
        await asyncio.sleep(LATE_COPIES_AFTER_S)
        figures = await judge(self.adapters.documents, self.plan, self.traffic)
        figures.kills = dict(sorted(self.workers.kills.items()))
        figures.exposed = self.workers.exposed()
        figures.seconds = round(self.seconds, 1)
        return figures

    def tell(self) -> None:
        """Say now and then how far it has come; fail if a worker has ended by itself."""
        self.workers.expect_alive()
        now = time.monotonic()
        if now - self.said_at > _SAY_EVERY_S:
            self.said_at = now
            kills = self.workers.kills.total()
            self.say(f"{self.seconds:.0f} s: {kills} kills, {self.traffic.unanswered} unanswered")


@asynccontextmanager
async def open_stage(
    settings: Settings,
    plan: Plan,
    folder: Path,
    say: Say,
    *,
    environment: Mapping[str, str] | None = None,
    embedded_deadline_s: int = 3,
) -> AsyncIterator[Stage]:
    """Set the stage over fresh files or a fresh project; stop the workers in the end, which must go well.

    `folder`: logs and traces. `environment`: the workers' settings where they are not the storm's.
    `embedded_deadline_s`: how long the embedded bus leaves a delivery with a dead worker.
    """
    say(f"seed {plan.seed}")
    traffic = Traffic(plan)
    is_embedded = settings.mode is Mode.EMBEDDED
    needed = _storm_topology(embedded_deadline_s if is_embedded else _SHORTEST_DEADLINE_S)
    if is_embedded:
        await _shorten_embedded_deadlines(settings, needed)
    async with (
        open_adapters(settings) as adapters,
        _collectors(adapters, needed, traffic),
        fork_server() as server,
    ):
        workers = Workers(server, {**_environment(settings), **(environment or {})}, folder)
        yield Stage(
            settings=settings,
            adapters=adapters,
            plan=plan,
            traffic=traffic,
            workers=workers,
            say=say,
            rng=random.Random(plan.seed),
            started_at=time.monotonic(),
            said_at=time.monotonic(),
        )
        assert await workers.stop() == []


def emulator_settings(folder: Path, pubsub_host: str, firestore_host: str) -> Settings:
    """Return settings for a storm over emulators, in a project of its own."""
    return Settings(
        mode=Mode.EMULATORS,
        data_dir=folder,
        GOOGLE_CLOUD_PROJECT=f"storm-{uuid.uuid4().hex[:8]}",
        PUBSUB_EMULATOR_HOST=pubsub_host,
        FIRESTORE_EMULATOR_HOST=firestore_host,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Return the workers' settings: short leases and frequent relays, so that recoveries can be waited for."""
    return {
        "EXPERT_BOT_MODE": settings.mode.value,
        "EXPERT_BOT_DATA_DIR": str(settings.data_dir),
        "EXPERT_BOT_LEASE_S": "3",
        "EXPERT_BOT_RELAY_EVERY_S": "1",
        "EXPERT_BOT_ACK_DEADLINE_S": "10",
        "EXPERT_BOT_MAX_IN_FLIGHT": "40",
        "EXPERT_BOT_LOG_LEVEL": "warning",
        "EXPERT_BOT_LOG_FORMAT": "json",
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "PUBSUB_EMULATOR_HOST": settings.pubsub_emulator_host or "",
        "FIRESTORE_EMULATOR_HOST": settings.firestore_emulator_host or "",
    }


def _storm_topology(ack_deadline_s: int) -> Topology:
    """Return the service's own topology with the shortest deadlines and pauses: a dead worker's deliveries come back soon."""
    needed = topology()
    return replace(
        needed,
        subscriptions=tuple(
            replace(each, ack_deadline_s=ack_deadline_s, min_backoff_s=1, max_backoff_s=2)
            for each in needed.subscriptions
        ),
    )


async def _shorten_embedded_deadlines(settings: Settings, needed: Topology) -> None:
    """Set the embedded bus up before anyone else does."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    bus = SqliteBus(SqliteFile(settings.data_dir / "bus.sqlite3"), clock=SystemClock())
    await bus.apply(needed)
    await bus.close()


@asynccontextmanager
async def _collectors(adapters: Adapters, needed: Topology, traffic: Traffic) -> AsyncIterator[None]:
    """Listen to replies and dead letters from before the first request, on subscriptions of their own."""
    admin = adapters.require_admin()
    await admin.apply(needed)
    takers = {FAMILY.reply_topic: traffic.take_reply, DEAD_LETTER_TOPIC: traffic.take_letter}
    for topic in takers:
        await admin.create_temporary_subscription(f"storm-{topic}", topic)
    consumers = [
        adapters.make_consumer(f"storm-{topic}", take, ordered=False) for topic, take in takers.items()
    ]
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        await asyncio.gather(*(consumer.drain(1) for consumer in consumers))
        await asyncio.gather(*tasks)
