"""The kill storm: two workers killed again and again, at every protocol step, under duplicated traffic.

As a program: `python -m tests.chaos.kill_storm --events 10000 --kills 200` (starts its own emulators).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from expert_bot.app import Adapters, SystemClock, open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.inbox.entry import State
from expert_bot.ports import Where
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY
from expert_bot.schemas.topology import ARCHIVE_SUBSCRIPTION, Topology, topology
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from tests.emulators import firestore_emulator, pubsub_emulator

STEPS = ("P0", "P1", "P2", "P3", "P4", "P5")
DUPLICATE_SHARE = 0.3
TURNS_PER_CONVERSATION = 10
LEASE_S = 1.5
POISON_DATA = b'{"message": 5, "user_id": "u", "source": "storm"}'

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of what. `poison_share`: part of the events whose data violate their schema.

    `ordered_share`: whether half of the conversations have an ordering key. Off over the emulators: keys whose consumer was
    killed were not answered within minutes there, for a reason not found yet.
    """

    events: int
    kills: int
    seed: int
    ordered_share: bool = True
    poison_share: float = 0.0
    timeout_s: float = 300.0


@dataclass(kw_only=True)
class Figures:
    """What was seen from outside; every count but the first five, `exposed` and `seconds` should be 0 without P4 kills."""

    seed: int
    events: int
    duplicates_published: int
    kills: dict[str, int] = field(default_factory=dict)
    poison: int = 0
    lost: int = 0
    two_reply_ids: int = 0
    differing_bodies: int = 0
    turns_missing: int = 0
    turns_twice: int = 0
    stuck: int = 0
    wrong_dead_letters: int = 0
    wire_duplicates: int = 0
    exposed: int = 0
    seconds: float = 0.0


class Traffic:
    """The requests, their duplicates, and what came back."""

    def __init__(self, plan: Plan) -> None:
        self._random = random.Random(plan.seed)
        self.events = [self._event(number, plan) for number in range(plan.events)]
        self.poison = {event.id for event in self.events if event.data == POISON_DATA}
        duplicates = self._random.sample(self.events, int(plan.events * DUPLICATE_SHARE))
        self.duplicates = len(duplicates)
        self.queue = self.events + duplicates
        self._random.shuffle(self.queue)
        self.bodies: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self.letters: Counter[str] = Counter()

    def _event(self, number: int, plan: Plan) -> CloudEvent:
        group = number // TURNS_PER_CONVERSATION
        conversation = f"conversation-{plan.seed}-{group}"
        data = {
            "message": "¿Cuánto consumí en abril de 2023?",
            "user_id": f"storm-{plan.seed}-{group}",
            "source": "storm",
            "conversation_id": conversation,
        }
        is_poison = self._random.random() < plan.poison_share
        return CloudEvent(
            id=f"{plan.seed}-{number}-{uuid.UUID(int=self._random.getrandbits(128))}",
            source="urn:storm",
            type=FAMILY.requested.name,
            data=POISON_DATA if is_poison else json.dumps(data).encode(),
            extensions={"partitionkey": conversation} if plan.ordered_share and group % 2 else {},
        )

    async def take_reply(self, delivery: Delivery) -> Outcome:
        reply = pubsub.decode(delivery.attributes, delivery.data)
        self.bodies[reply.correlation_id][reply.id].append(delivery.data + reply.type.encode())
        return Ack()

    async def take_letter(self, delivery: Delivery) -> Outcome:
        self.letters[delivery.attributes.get("ce-id", "?") + " " + delivery.attributes["dl-reason"]] += 1
        return Ack()

    @property
    def unanswered(self) -> int:
        return sum(event.id not in self.bodies for event in self.events)


class Workers:
    """Two worker slots over a fork server; the next worker of the plan starts when one is dead."""

    def __init__(self, server: asyncio.subprocess.Process, env: dict[str, str], folder: Path) -> None:
        self._server = server
        self._env = env
        self._folder = folder
        self._started = 0
        self._asking = asyncio.Lock()
        self.alive: set[int] = set()
        self.kills: Counter[str] = Counter()

    async def start(self, kill_at: str | None = None, nth: int = 1) -> int:
        self._started += 1
        command = {
            "env": self._env,
            "log": str(self._folder / "workers.log"),
            "trace": str(self._folder / f"trace-{self._started}"),
            "kill_at": kill_at,
            "nth": nth,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        async with self._asking:
            self._server.stdin.write(json.dumps(command).encode() + b"\n")
            answer = await asyncio.wait_for(self._server.stdout.readline(), 30)
        pid = int(json.loads(answer)["pid"])
        self.alive.add(pid)
        return pid

    async def until_dead(self, pid: int, timeout_s: float) -> bool:
        """Wait for a worker's death; False if it is still alive after the time."""
        deadline = time.monotonic() + timeout_s
        while _is_alive(pid):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.005)
        self.alive.discard(pid)
        return True

    async def kill(self, pid: int) -> None:
        assert _is_alive(pid), "a worker ended by itself; see workers.log"
        os.kill(pid, signal.SIGKILL)
        assert await self.until_dead(pid, 5)

    async def run_slot(self, deaths: Iterator[str], rng: random.Random) -> None:
        """Live and die through the shared plan of deaths."""
        for point in deaths:
            at_step = None if point == "random" else point
            pid = await self.start(at_step, rng.randint(1, 8))
            if at_step is None:
                await asyncio.sleep(rng.uniform(0.1, 0.6))
            elif not await self.until_dead(pid, 6):
                point = "random"  # noqa: PLW2901  # nothing came its way: it dies anyway
            if pid in self.alive:
                await self.kill(pid)
            self.kills[point] += 1

    def exposed(self) -> int:
        """Count the events that stood between publish and settlement when their worker died."""
        total = 0
        for trace in self._folder.glob("trace-*"):
            steps = trace.read_bytes()
            total += steps.count(b"3") - steps.count(b"5")
        return total


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def run_storm(settings: Settings, plan: Plan, folder: Path, say: Say) -> Figures:
    """Publish, kill, wait, judge."""
    started = time.monotonic()
    rng = random.Random(plan.seed)
    traffic = Traffic(plan)
    if settings.mode is Mode.EMBEDDED:
        await _shorten_embedded_deadlines(settings)
    async with open_adapters(settings) as adapters, _collectors(adapters, traffic), _fork_server() as server:
        workers = Workers(
            server, _environment(settings, lease_s=LEASE_S if plan.kills else settings.lease_s), folder
        )
        deaths = [STEPS[number % len(STEPS)] for number in range(plan.kills - plan.kills // 5)]
        deaths += ["random"] * (plan.kills - len(deaths))
        rng.shuffle(deaths)
        published = 0

        async def publish_until(count: int) -> None:
            nonlocal published
            chunk = traffic.queue[published:count]
            published += len(chunk)
            await asyncio.gather(
                *(
                    adapters.publisher.publish(pubsub.encode_binary(event, FAMILY.request_topic))
                    for event in chunk
                )
            )

        await publish_until(len(traffic.queue) if not plan.kills else 100)
        if plan.kills:
            plan_of_deaths = iter(deaths)
            slots = [
                asyncio.create_task(workers.run_slot(plan_of_deaths, random.Random(plan.seed + slot)))
                for slot in range(2)
            ]
            while not all(slot.done() for slot in slots):
                done = sum(workers.kills.values())
                await publish_until(100 + (len(traffic.queue) - 100) * done // plan.kills)
                await asyncio.sleep(0.05)
                if time.monotonic() - started > plan.timeout_s:
                    raise TimeoutError(f"the storm did not end in time: {done} kills")
            await asyncio.gather(*slots)
            await publish_until(len(traffic.queue))
            say(
                f"storm over after {time.monotonic() - started:.0f} s: {dict(workers.kills)}, {traffic.unanswered} unanswered"
            )
        healthy = [await workers.start() for _ in range(2)]
        await _wait_until_answered(traffic, started + plan.timeout_s, say)
        await _wait_until_settled(adapters, started + plan.timeout_s)
        await asyncio.sleep(2)  # late copies would come now
        figures = await _judge(adapters, plan, traffic, workers)
        for pid in healthy:
            os.kill(pid, signal.SIGTERM)
        for pid in healthy:
            assert await workers.until_dead(pid, 9), "a worker did not stop within 9 s"
    figures.seconds = round(time.monotonic() - started, 1)
    return figures


async def _wait_until_answered(traffic: Traffic, deadline: float, say: Say) -> None:
    said = time.monotonic()
    while traffic.unanswered and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        if time.monotonic() - said > 5:
            said = time.monotonic()
            say(f"{traffic.unanswered} unanswered")


async def _wait_until_settled(adapters: Adapters, deadline: float) -> None:
    while await _unsent(adapters):
        if time.monotonic() > deadline:
            return  # the judge counts what is stuck
        await asyncio.sleep(0.2)


async def _unsent(adapters: Adapters) -> int:
    counts = [
        len(await adapters.documents.find("inbox", [Where("state", "==", state.value)], limit=100_000))
        for state in (State.CLAIMED, State.COMMITTED)
    ]
    return sum(counts)


async def _judge(adapters: Adapters, plan: Plan, traffic: Traffic, workers: Workers) -> Figures:
    figures = Figures(
        seed=plan.seed,
        events=plan.events,
        duplicates_published=traffic.duplicates,
        kills=dict(workers.kills),
        poison=len(traffic.poison),
        lost=traffic.unanswered,
        stuck=await _unsent(adapters),
        exposed=workers.exposed(),
    )
    for replies in traffic.bodies.values():
        figures.two_reply_ids += len(replies) > 1
        for bodies in replies.values():
            figures.differing_bodies += len(set(bodies)) > 1
            figures.wire_duplicates += len(bodies) - 1
    turns: Counter[str] = Counter()
    for conversation in await adapters.documents.find("conversations", [], limit=100_000):
        kept: Any = conversation.fields["turns"]
        turns.update(turn["event_id"] for turn in kept)
        figures.turns_twice += conversation.fields["turn_count"] != len({turn["event_id"] for turn in kept})
    good = [event for event in traffic.events if event.id not in traffic.poison]
    figures.turns_missing = sum(event.id not in turns for event in good)
    figures.turns_twice += sum(turns[event.id] > 1 for event in good)
    expected = Counter({f"{event_id} schema-violation": 1 for event_id in traffic.poison})
    figures.wrong_dead_letters = sum(((traffic.letters - expected) + (expected - traffic.letters)).values())
    return figures


async def _shorten_embedded_deadlines(settings: Settings) -> None:
    """Set the embedded bus up before anyone else does: a dead worker's deliveries come back after seconds."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    bus = SqliteBus(SqliteFile(settings.data_dir / "bus.sqlite3"), clock=SystemClock())
    await bus.apply(_short_topology(3))
    await bus.close()


def _short_topology(ack_deadline_s: int) -> Topology:
    needed = topology()
    return replace(
        needed,
        subscriptions=tuple(replace(each, ack_deadline_s=ack_deadline_s) for each in needed.subscriptions),
    )


@asynccontextmanager
async def _collectors(adapters: Adapters, traffic: Traffic) -> Any:
    """Listen to replies and dead letters from before the first request."""
    admin = adapters.require_admin()
    await admin.apply(replace(topology(), subscriptions=()))
    if not isinstance(admin, SqliteBus):
        # Tried against the emulator's slow redelivery after kills: no retry policy. It made no clear difference.
        await admin.create_temporary_subscription(FAMILY.subscription, FAMILY.request_topic)
    await admin.apply(_short_topology(10))
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


@asynccontextmanager
async def _fork_server() -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.forkserver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
    )
    try:
        yield process
    finally:
        process.kill()  # its workers die with it
        await process.wait()


def _environment(settings: Settings, *, lease_s: float) -> dict[str, str]:
    env = {
        "EXPERT_BOT_MODE": settings.mode.value,
        "EXPERT_BOT_DATA_DIR": str(settings.data_dir),
        "EXPERT_BOT_LEASE_S": str(lease_s),
        "EXPERT_BOT_RELAY_EVERY_S": "0.5",
        "EXPERT_BOT_ACK_DEADLINE_S": "10",
        "EXPERT_BOT_MAX_IN_FLIGHT": "40" if settings.mode is Mode.EMBEDDED else "500",
        "EXPERT_BOT_LOG_LEVEL": "warning",
        "GOOGLE_CLOUD_PROJECT": settings.project,
    }
    if settings.mode is Mode.EMULATORS:
        env["PUBSUB_EMULATOR_HOST"] = settings.pubsub_emulator_host or ""
        env["FIRESTORE_EMULATOR_HOST"] = settings.firestore_emulator_host or ""
    return env


@contextmanager
def emulator_settings(folder: Path, pubsub_host: str, firestore_host: str) -> Iterator[Settings]:
    """Make settings for a storm over emulators, in a project of its own."""
    yield Settings(
        mode=Mode.EMULATORS,
        data_dir=folder,
        GOOGLE_CLOUD_PROJECT=f"storm-{uuid.uuid4().hex[:8]}",
        PUBSUB_EMULATOR_HOST=pubsub_host,
        FIRESTORE_EMULATOR_HOST=firestore_host,
    )


def store(figures: Figures, name: str) -> Path:
    """Write the figures as JSON; return where."""
    path = Path(".cache/chaos") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n", "utf-8")
    return path


def main(events: int = 10_000, kills: int = 200, seed: int = 0, *, embedded: bool = False) -> None:
    """Run a storm of any size and print its figures."""
    import tempfile  # noqa: PLC0415  # only as a program

    plan = Plan(
        events=events,
        kills=kills,
        seed=seed or random.randrange(1_000_000),
        ordered_share=embedded,
        timeout_s=3600,
    )
    typer.echo(f"seed {plan.seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if embedded:
            figures = asyncio.run(run_storm(Settings(data_dir=folder / "data"), plan, folder, typer.echo))
        else:
            with (
                pubsub_emulator() as pubsub_host,
                firestore_emulator() as firestore_host,
                emulator_settings(folder, pubsub_host, firestore_host) as settings,
            ):
                figures = asyncio.run(run_storm(settings, plan, folder, typer.echo))
    typer.echo(json.dumps(asdict(figures), indent=2))
    typer.echo(f"stored in {store(figures, 'embedded-full' if embedded else 'emulators-full')}")


if __name__ == "__main__":
    typer.run(main)
