"""A world for the inbox protocol: stepped time, two workers over one store, crashes and freezes at protocol steps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from expert_bot.delivery import Delivery, Message, Outcome
from expert_bot.errors import StoreUnavailableError
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Decision, InboxSettings
from expert_bot.ports import Create, DocKey, Document, Documents, Fields, Version, Where, Write
from expert_bot.schemas.dead_letter import CauseOfDeath
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.storage.memory_documents import MemoryDocuments

SUBSCRIPTION = "expert-bot-chat-requests"
LEASE_S = 30.0
W = TypeVar("W")
Scenario = Callable[[W], Coroutine[Any, Any, None]]
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time only moves when a test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s


class SteppedClock:
    """A clock that follows the loop's time, off by `skew_s`."""

    def __init__(self, loop: SteppedLoop, skew_s: float = 0.0) -> None:
        self._loop = loop
        self.skew_s = skew_s

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.now_s + self.skew_s)


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even clean-up that writes."""


class ScriptedFailpoints:
    """Crashes or freezes at the named steps, once each."""

    def __init__(self) -> None:
        self.crash_at: str | None = None
        self.freeze_at: str | None = None
        self.thaw = asyncio.Event()
        self.frozen = False

    async def reach(self, point: str) -> None:
        if point == self.crash_at:
            self.crash_at = None
            raise Crash(point)
        if point == self.freeze_at:
            self.freeze_at = None
            self.frozen = True
            await self.thaw.wait()
            self.frozen = False


class RecordingPublisher:
    """Keeps what is published; `fail_next` publishes raise instead."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures: list[Exception] = []
        self.gate: asyncio.Event | None = None

    async def publish(self, message: Message) -> str:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)
        return str(len(self.messages))

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def bodies_by_id(self) -> dict[str, list[bytes]]:
        bodies: dict[str, list[bytes]] = {}
        for message in self.messages:
            bodies.setdefault(message.attributes.get("ce-id", "dead-letter"), []).append(message.data)
        return bodies


class FlakyDocuments:
    """MemoryDocuments whose next commits can fail before they land, or lose their answer after they did."""

    def __init__(self, inner: Documents | None = None) -> None:
        self.inner = inner or MemoryDocuments()
        self.script: list[str] = []
        self.commits = 0
        self.before_commit: Callable[[Sequence[Write]], Coroutine[Any, Any, None]] | None = None

    async def get(self, key: DocKey) -> Document | None:
        return await self.inner.get(key)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self.commits += 1
        if self.before_commit is not None:
            await self.before_commit(writes)
        step = self.script.pop(0) if self.script else "ok"
        if step == "down":
            raise StoreUnavailableError("the store is down")
        versions = await self.inner.commit(writes)
        if step == "answer lost":
            raise StoreUnavailableError("the answer was lost")
        return versions

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        return await self.inner.find(collection, where, limit=limit)

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass


class EffectWork:
    """Work whose every landed decision leaves one effect document, so that a second effect shows."""

    timeout_s = 3600.0
    handler = "test_handler"
    _runs = itertools.count()

    def __init__(self, event: CloudEvent, clock: SteppedClock, errors: Sequence[BaseException] = ()) -> None:
        self._event = event
        self._clock = clock
        self.errors = list(errors)
        self.gate: asyncio.Event | None = None
        self.calls = 0
        self.cancelled = False

    async def decide(self) -> Decision:
        self.calls += 1
        run = next(EffectWork._runs)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        if self.errors:
            raise self.errors.pop(0)
        fields: Fields = {"event": self._event.id}
        return Decision(
            messages=(reply_to(self._event, f"run {run}"),),
            writes=(Create(DocKey("effects", f"{self._event.id}-{run}"), fields),),
        )

    async def explain_death(self, cause: CauseOfDeath, replay: int) -> Decision:
        return Decision(messages=(reply_to(self._event, f"failed: {cause.reason}", f"-failed-{replay}"),))


def reply_to(event: CloudEvent, text: str, suffix: str = "") -> Message:
    """Return a reply whose id depends only on its event and kind, and whose body on the run that decided it."""
    return Message(
        topic="chat-replies", data=text.encode(), attributes={"ce-id": f"reply-{event.id}{suffix}"}
    )


def make_event(event_id: str) -> CloudEvent:
    """Return an event of no particular type."""
    return CloudEvent(id=event_id, source="urn:test", type="test", data=b"{}")


def make_delivery(
    event: CloudEvent, *, deadline_s: float | None = None, data: bytes = b"{}", replay: int = 0
) -> Delivery:
    """Return one delivery of an event, or of its n-th replay."""
    replayed = {"replayfor": SUBSCRIPTION, "dl-replays": str(replay)} if replay else {}
    return Delivery(
        subscription=SUBSCRIPTION,
        data=data,
        attributes={"ce-id": event.id, "ce-source": event.source} | replayed,
        deadline_s=deadline_s,
    )


class WorkerProcess:
    """One worker process: its own inbox and memory, over the shared store and bus."""

    inbox_class: type[Inbox] = Inbox

    def __init__(
        self,
        documents: Documents,
        publisher: RecordingPublisher,
        clock: SteppedClock,
        *,
        lease_s: float = LEASE_S,
        max_attempts: int = 3,
    ) -> None:
        self.failpoints = ScriptedFailpoints()
        self.clock = clock
        self.inbox = self.inbox_class(
            documents=documents,
            publisher=publisher,
            clock=clock,
            settings=InboxSettings(lease_s=lease_s, max_attempts=max_attempts),
            failpoints=self.failpoints,
        )

    async def handle(self, event: CloudEvent, work: EffectWork | None = None, **delivery: Any) -> Outcome:
        work = work or EffectWork(event, self.clock)
        return await self.inbox.handle(make_delivery(event, **delivery), event, work)


async def settle(rounds: int = 60) -> None:
    """Let every task run until it waits for something."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def advance(loop: SteppedLoop, seconds: float, step_s: float = LEASE_S / 6) -> None:
    """Move time on in small steps, letting due timers run."""
    remaining = seconds
    while remaining > 0:
        loop.now_s += min(step_s, remaining)
        remaining -= step_s
        await settle(10)


async def effects_of(documents: Documents, event: CloudEvent) -> int:
    """Count the effects an event has had."""
    return len(await documents.find("effects", [Where("event", "==", event.id)], limit=100))


def stepped(make_world: Callable[[SteppedLoop], W]) -> Callable[[Scenario[W]], Callable[[], None]]:
    """Return a decorator that runs an async test in stepped time, in a world made for it."""

    def decorate(scenario: Scenario[W]) -> Callable[[], None]:
        def run() -> None:
            with asyncio.Runner(loop_factory=SteppedLoop) as runner:
                loop = runner.get_loop()
                assert isinstance(loop, SteppedLoop)
                runner.run(scenario(make_world(loop)))

        run.__doc__ = scenario.__doc__
        run.__name__ = scenario.__name__
        return run

    return decorate
