"""Workers that go on after their lease: work longer than the lease, and heartbeats that come too late or never."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from expert_bot.config import Mode
from expert_bot.delivery import Ack, Outcome
from expert_bot.errors import PreconditionFailedError
from expert_bot.inbox.entry import State, entry_key
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Decision, InboxSettings
from expert_bot.ports import Create, DocKey, Document, Documents, Fields, Update, Version, Where, Write
from expert_bot.schemas.dead_letter import CauseOfDeath
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.storage.firestore_documents import FirestoreDocuments
from expert_bot.storage.sqlite_documents import SqliteDocuments
from expert_bot.storage.sqlite_file import SqliteFile
from expert_bot.storage.system_clock import SystemClock
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say
from tests.inbox_world import SUBSCRIPTION, RecordingPublisher, make_delivery, make_event, reply_to

Wrap = Callable[[Documents], Documents]

LEASE_S = 0.6
CANCELLED_WITHIN_S = 1.0
_NEVER_S = 60.0
_AT_ONCE = 20


@dataclass(kw_only=True)
class Watch:
    """When each event was taken over, when its zombie was cancelled, and how many late commits were refused."""

    taken_at: dict[str, float] = field(default_factory=dict)
    cancelled_at: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    def cancellations_s(self) -> list[float]:
        """Return for every cancelled zombie how long it had lived without its lease."""
        taken = self.taken_at
        return [max(0.0, at - taken[key]) for key, at in self.cancelled_at.items() if key in taken]


class Hold:
    """Holds writes up for one to two leases: renewals (for ever, if they `hang`) and the commits of what was decided."""

    def __init__(self, rng: random.Random, *, hang: bool) -> None:
        self._rng = rng
        self._hang = hang

    async def up(self, fields: Fields) -> None:
        """Let a write wait if it is to be late."""
        is_renewal = fields.keys() == {"lease_until"}
        if is_renewal or fields.get("state") == State.COMMITTED.value:
            late_s = self._rng.uniform(1.0, 1.6) * LEASE_S
            await asyncio.sleep(_NEVER_S if is_renewal and self._hang else late_s)


class WatchedDocuments:
    """A store as one worker reaches it; with `hold`, its renewals and first commits come late or never."""

    def __init__(self, inner: Documents, watch: Watch, hold: Hold | None) -> None:
        self._inner = inner
        self._watch = watch
        self._hold = hold

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        first = writes[0]
        fields = first.fields if isinstance(first, Update) else {}
        if self._hold is not None:
            await self._hold.up(fields)
        try:
            versions = await self._inner.commit(writes)
        except PreconditionFailedError:
            self._watch.refused += "state" in fields
            raise
        if self._hold is None and "fence" in fields:
            self._watch.taken_at[first.key.id] = time.monotonic()
        return versions

    async def get(self, key: DocKey) -> Document | None:
        return await self._inner.get(key)

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        return await self._inner.find(collection, where, limit=limit)

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        await self._inner.close()


class LongWork:
    """Work of `takes_s` seconds that leaves one effect and one reply, each telling which worker decided it."""

    timeout_s = 60.0
    handler = "long_work"

    def __init__(self, event: CloudEvent, worker: str, takes_s: float, watch: Watch) -> None:
        self._event = event
        self._worker = worker
        self._takes_s = takes_s
        self._watch = watch
        self.begun = asyncio.Event()

    async def decide(self) -> Decision:
        self.begun.set()
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            key = entry_key(SUBSCRIPTION, self._event.source, self._event.id)
            self._watch.cancelled_at[key.id] = time.monotonic()
            raise
        effect = Create(DocKey("effects", f"{self._event.id}-{self._worker}"), {"event": self._event.id})
        return Decision(messages=(reply_to(self._event, self._worker),), writes=(effect,))

    async def explain_death(self, cause: CauseOfDeath, replay: int) -> Decision:  # one life only
        return Decision(messages=(reply_to(self._event, cause.reason),))


async def zombies(
    ground: Ground,
    seed: int,
    say: Say,
    *,
    events: int,
    heartbeats_hang: bool = False,
    wrap: Wrap | None = None,
) -> Report:
    """Give each event to a worker whose heartbeats are late (or hang) and then to a healthy one: two deliveries each.

    `wrap`: puts something between the workers and their store.
    """
    rng = random.Random(seed)
    watch = Watch()
    wire = RecordingPublisher()
    asked = [make_event(f"{seed}-{number}") for number in range(events)]
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        stores = [_open(ground, stack) for _ in range(2)]
        if wrap is not None:
            stores = [wrap(store) for store in stores]
        late = _inbox(WatchedDocuments(stores[0], watch, Hold(rng, hang=heartbeats_hang)), wire)
        healthy = _inbox(WatchedDocuments(stores[1], watch, None), wire)
        places = asyncio.Semaphore(_AT_ONCE)
        outcomes = await asyncio.gather(
            *(_twice(event, late, healthy, watch, rng, places) for event in asked)
        )
        effects = Counter(
            str(document.fields["event"])
            for document in await stores[1].find("effects", [], limit=10 * events)
        )
    report = Report(name=ground.name("zombies-hanging" if heartbeats_hang else "zombies"), seed=seed)
    report.at_least(min(40, events), take_overs=len(watch.taken_at))
    report.zero(
        effects_missing=sum(effects[event.id] == 0 for event in asked),
        effects_twice=sum(count > 1 for count in effects.values()),
        differing_bodies=sum(len(set(bodies)) > 1 for bodies in wire.bodies_by_id().values()),
        wire_duplicates=sum(len(bodies) - 1 for bodies in wire.bodies_by_id().values()),
        not_acknowledged=sum(not isinstance(outcome, Ack) for pair in outcomes for outcome in pair),
    )
    report.at_least(events / 4, cancelled=len(watch.cancellations_s()))
    report.at_most(CANCELLED_WITHIN_S, slowest_cancellation_s=max(watch.cancellations_s(), default=0.0))
    report.at_least(events / 4, commits_refused=watch.refused)
    report.note(lease_s=LEASE_S)
    report.seconds = round(time.monotonic() - started, 1)
    return report


async def _twice(
    event: CloudEvent,
    late: Inbox,
    healthy: Inbox,
    watch: Watch,
    rng: random.Random,
    places: asyncio.Semaphore,
) -> list[Outcome]:
    """Deliver to the late worker, and once it works to the healthy one; half of the zombies commit too late."""
    async with (
        places
    ):  # all at once a store would be slower than their leases, and none would come to its commit
        takes_s = rng.choice((0.2, 4.0)) * LEASE_S
        work = LongWork(event, "late", takes_s, watch)
        first = asyncio.create_task(late.handle(make_delivery(event), event, work))
        await work.begun.wait()
        healthy_work = LongWork(event, "healthy", 1.5 * LEASE_S, Watch())
        second = healthy.handle(make_delivery(event), event, healthy_work)
        return [*await asyncio.gather(first, second)]


def _inbox(documents: Any, wire: RecordingPublisher) -> Inbox:
    return Inbox(
        documents=documents, publisher=wire, clock=SystemClock(), settings=InboxSettings(lease_s=LEASE_S)
    )


def _open(ground: Ground, stack: AsyncExitStack) -> Documents:
    settings = ground.settings
    if settings.mode is Mode.EMBEDDED:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        store: Documents = SqliteDocuments(SqliteFile(settings.data_dir / "documents.sqlite3"))
    else:
        store = FirestoreDocuments(project=settings.project, emulator_host=settings.firestore_emulator_host)
    stack.push_async_callback(store.close)
    return store
