"""The kill storm: two workers killed again and again, at every protocol step, under duplicated traffic.

As a program: `python -m tests.chaos.kill_storm --events 10000 --kills 200` (starts its own emulators).
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import typer

from expert_bot.app import Adapters, SystemClock, open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.schemas import pubsub
from expert_bot.schemas.events.chat import FAMILY
from expert_bot.schemas.topology import ARCHIVE_SUBSCRIPTION, Topology, topology
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from tests.chaos.broker_front import broker_front
from tests.chaos.judge import Figures, judge, unsent
from tests.chaos.traffic import Plan, Traffic
from tests.chaos.workers import SLOTS, Deaths, Workers, fork_server
from tests.emulators import firestore_emulator, pubsub_emulator

FIGURES = Path(".cache/chaos")
_STORM_LEASE_S = 3.0
_ACK_DEADLINE_S = {Mode.EMBEDDED: 3, Mode.EMULATORS: 10}  # ten seconds are Pub/Sub's shortest
_FIRST_EVENTS = 100
_SAY_EVERY_S = 5.0
_LATE_COPIES_AFTER_S = 2.0

Say = Callable[[str], None]


class Storm:
    """One run: publish, kill, wait, judge."""

    def __init__(self, adapters: Adapters, plan: Plan, traffic: Traffic, workers: Workers, say: Say) -> None:
        self._adapters = adapters
        self._plan = plan
        self._traffic = traffic
        self._workers = workers
        self._say = say
        self._published = 0
        self._started_at = time.monotonic()
        self._said_at = self._started_at

    async def run(self) -> Figures:
        """Let the storm rage, let two healthy workers finish, and judge. Raises TimeoutError."""
        async with asyncio.timeout(self._plan.timeout_s):
            if self._plan.kills:
                await self._rage()
            await self._publish_until(len(self._traffic.queue))
            for _ in range(SLOTS):
                await self._workers.start()
        await self._wait_for_the_rest()
        figures = await judge(self._adapters.documents, self._plan, self._traffic)
        figures.kills = dict(sorted(self._workers.kills.items()))
        figures.exposed = self._workers.exposed()
        figures.seconds = round(time.monotonic() - self._started_at, 1)
        return figures

    async def _rage(self) -> None:
        """Kill by plan while publishing at the pace of the deaths, so that every worker finds work."""
        deaths = Deaths(self._plan.kills, random.Random(self._plan.seed))
        slots = [
            asyncio.create_task(self._workers.run_slot(deaths, random.Random(self._plan.seed + slot)))
            for slot in range(SLOTS)
        ]
        try:
            while not all(slot.done() for slot in slots):
                share = min(1.0, sum(self._workers.kills.values()) / self._plan.kills)
                left = len(self._traffic.queue) - _FIRST_EVENTS
                await self._publish_until(_FIRST_EVENTS + int(left * share))
                self._tell()
                await asyncio.sleep(0.05)
        finally:
            for slot in slots:
                slot.cancel()
        await asyncio.gather(*slots)
        self._say(f"the storm is over: {dict(self._workers.kills)}, {self._traffic.unanswered} unanswered")

    async def _publish_until(self, count: int) -> None:
        chunk = self._traffic.queue[self._published : count]
        self._published += len(chunk)
        messages = [pubsub.encode_binary(event, FAMILY.request_topic) for event in chunk]
        await asyncio.gather(*(self._adapters.publisher.publish(message) for message in messages))

    async def _wait_for_the_rest(self) -> None:
        """Wait until all is answered and marked, or the time is up: the judge counts what is missing."""
        deadline = self._started_at + self._plan.timeout_s
        while self._traffic.unanswered or await unsent(self._adapters.documents):
            if time.monotonic() > deadline:
                return
            self._tell()
            await asyncio.sleep(0.2)
        await asyncio.sleep(_LATE_COPIES_AFTER_S)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._said_at > _SAY_EVERY_S:
            self._said_at = now
            kills = sum(self._workers.kills.values())
            self._say(f"{now - self._started_at:.0f} s: {kills} kills, {self._traffic.unanswered} unanswered")


async def run_storm(settings: Settings, plan: Plan, folder: Path, say: Say) -> Figures:
    """Run a storm over fresh files or a fresh project. `folder`: logs and traces."""
    say(f"seed {plan.seed}")
    traffic = Traffic(plan)
    if settings.mode is Mode.EMBEDDED:
        await _shorten_embedded_deadlines(settings)
    async with (
        _workers_settings(settings, plan) as environment,
        open_adapters(settings) as adapters,
        _collectors(adapters, settings, traffic),
        fork_server() as server,
    ):
        workers = Workers(server, environment, folder, exact=plan.exact)
        figures = await Storm(adapters, plan, traffic, workers, say).run()
        await workers.stop()
    say(json.dumps(asdict(figures)))
    return figures


@asynccontextmanager
async def _workers_settings(settings: Settings, plan: Plan) -> AsyncIterator[dict[str, str]]:
    """Yield the workers' environment; over the emulators they meet a broker that notices their deaths."""
    environment = {
        "EXPERT_BOT_MODE": settings.mode.value,
        "EXPERT_BOT_DATA_DIR": str(settings.data_dir),
        "EXPERT_BOT_LEASE_S": str(_STORM_LEASE_S if plan.kills else settings.lease_s),
        "EXPERT_BOT_RELAY_EVERY_S": "1",
        "EXPERT_BOT_ACK_DEADLINE_S": "10",
        "EXPERT_BOT_MAX_IN_FLIGHT": "40",
        "EXPERT_BOT_LOG_LEVEL": "warning",
        "GOOGLE_CLOUD_PROJECT": settings.project,
    }
    if settings.mode is Mode.EMBEDDED:
        yield environment
        return
    async with broker_front(settings.pubsub_emulator_host or "") as front:
        environment["PUBSUB_EMULATOR_HOST"] = front
        environment["FIRESTORE_EMULATOR_HOST"] = settings.firestore_emulator_host or ""
        yield environment


def _storm_topology(mode: Mode) -> Topology:
    """Return the service's own topology with the shortest deadlines and pauses: a dead worker's deliveries come back soon."""
    needed = topology()
    return replace(
        needed,
        subscriptions=tuple(
            replace(each, ack_deadline_s=_ACK_DEADLINE_S[mode], min_backoff_s=1, max_backoff_s=2)
            for each in needed.subscriptions
        ),
    )


async def _shorten_embedded_deadlines(settings: Settings) -> None:
    """Set the embedded bus up before anyone else does."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    bus = SqliteBus(SqliteFile(settings.data_dir / "bus.sqlite3"), clock=SystemClock())
    await bus.apply(_storm_topology(settings.mode))
    await bus.close()


@asynccontextmanager
async def _collectors(adapters: Adapters, settings: Settings, traffic: Traffic) -> AsyncIterator[None]:
    """Listen to replies and dead letters from before the first request."""
    admin = adapters.require_admin()
    await admin.apply(_storm_topology(settings.mode))
    await admin.create_temporary_subscription("storm-replies", FAMILY.reply_topic)
    consumers = [
        adapters.make_consumer("storm-replies", traffic.take_reply, ordered=False),
        adapters.make_consumer(ARCHIVE_SUBSCRIPTION, traffic.take_letter, ordered=False),
    ]
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        await asyncio.gather(*(consumer.drain(1) for consumer in consumers))
        await asyncio.gather(*tasks)


def emulator_settings(folder: Path, pubsub_host: str, firestore_host: str) -> Settings:
    """Return settings for a storm over emulators, in a project of its own."""
    return Settings(
        mode=Mode.EMULATORS,
        data_dir=folder,
        GOOGLE_CLOUD_PROJECT=f"storm-{uuid.uuid4().hex[:8]}",
        PUBSUB_EMULATOR_HOST=pubsub_host,
        FIRESTORE_EMULATOR_HOST=firestore_host,
    )


def main(
    events: int = 10_000, kills: int = 200, seed: int = 0, *, embedded: bool = False, exact: bool = True
) -> None:
    """Run a storm of any size and print its figures; exit code 1 if anything was lost or done twice."""
    seed = seed or random.randrange(1_000_000)
    plan = Plan(events=events, kills=kills, seed=seed, exact=exact, timeout_s=3600)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if embedded:
            figures = asyncio.run(run_storm(Settings(data_dir=folder / "data"), plan, folder, typer.echo))
        else:
            with pubsub_emulator() as pubsub_host, firestore_emulator() as firestore_host:
                settings = emulator_settings(folder, pubsub_host, firestore_host)
                figures = asyncio.run(run_storm(settings, plan, folder, typer.echo))
    typer.echo(f"wrong: {figures.wrong() or 'nothing'}")
    typer.echo(f"stored in {figures.store(FIGURES, 'embedded-full' if embedded else 'emulators-full')}")
    raise typer.Exit(bool(figures.wrong()))


if __name__ == "__main__":
    typer.run(main)
