"""The inbox protocol as a model: any mix of deliveries, crashes, freezes, lost answers, skewed clocks and sweeps.

Two workers and their relays act on eight events in stepped time. After every step nothing may have happened twice; at
the end everything must have happened. Seeded bugs show that the model would notice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.inbox.entry import State, entry_key, read_entry
from expert_bot.inbox.lease import Lease
from expert_bot.inbox.protocol import Inbox
from expert_bot.ports import DocKey, Document, Update, Version, Where, Write
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.storage.memory_documents import MemoryDocuments
from tests.inbox_world import (
    EPOCH,
    LEASE_S,
    SUBSCRIPTION,
    Crash,
    EffectWork,
    FlakyDocuments,
    RecordingPublisher,
    SteppedClock,
    SteppedLoop,
    WorkerProcess,
    advance,
    effects_of,
    make_delivery,
    make_event,
    settle,
)

EVENTS = [make_event(f"event-{number}") for number in range(8)]
T = TypeVar("T")


class ProcessDocuments(FlakyDocuments):
    """The shared store as one process reaches it: a dead process reaches nothing."""

    def __init__(self, shared: MemoryDocuments) -> None:
        super().__init__(shared)
        self.dead = False

    async def get(self, key: DocKey) -> Document | None:
        self._check()
        return await super().get(key)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self._check()
        return await super().commit(writes)

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        self._check()
        return await super().find(collection, where, limit=limit)

    def _check(self) -> None:
        if self.dead:
            raise Crash("dead")


class ProcessPublisher(RecordingPublisher):
    """The shared bus as one process reaches it."""

    def __init__(self, wire: RecordingPublisher, documents: ProcessDocuments) -> None:
        super().__init__()
        self._wire = wire
        self._documents = documents

    async def publish(self, message: Message) -> str:
        if self._documents.dead:
            raise Crash("dead")
        return await self._wire.publish(message)


class InboxModel(RuleBasedStateMachine):
    """The protocol under every schedule Hypothesis can think of; clocks agree, so wire copies can be counted exactly."""

    skews: ClassVar[tuple[float, ...]] = (0.0,)
    inbox_class: ClassVar[type[Inbox]] = Inbox
    documents_class: ClassVar[type[ProcessDocuments]] = ProcessDocuments
    counts_copies: ClassVar[bool] = True
    checks_acks: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        self.loop.set_exception_handler(lambda *_: None)  # what dies in a crash is meant to
        self.store = MemoryDocuments()
        self.wire = RecordingPublisher()
        self.workers: list[WorkerProcess] = [self.run(self.start(0.0)) for _ in range(2)]
        self.tasks: dict[int, list[asyncio.Task[Outcome]]] = {0: [], 1: []}
        self.frozen_since: dict[int, float] = {}
        self.allowed_copies: Counter[str] = Counter()
        self.deliveries = 0
        self.delivered: set[str] = set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def start(self, skew_s: float) -> WorkerProcess:
        documents = self.documents_class(self.store)
        publisher = ProcessPublisher(self.wire, documents)
        worker = WorkerProcess.__new__(WorkerProcess)
        worker.inbox_class = self.inbox_class
        worker.__init__(documents, publisher, SteppedClock(self.loop, skew_s))  # type: ignore[misc]  # class set first
        return worker

    @rule(
        number=st.integers(0, 7),
        index=st.integers(0, 1),
        crash_at=st.sampled_from([None, None, "P0", "P1", "P2", "P3", "P4", "P5"]),
        freeze_at=st.sampled_from([None, None, None, "P1", "P2", "P3", "P4"]),
        store=st.sampled_from([(), (), (), ("answer lost",), ("ok", "answer lost"), ("ok", "ok", "answer lost"), ("ok", "down")]),
        skew=st.integers(0, 9),
    )  # fmt: skip
    def deliver(
        self,
        number: int,
        index: int,
        crash_at: str | None,
        freeze_at: str | None,
        store: tuple[str, ...],
        skew: int,
    ) -> None:
        """Let a delivery reach a worker; it may crash or freeze at a step, or the store may stumble."""
        self.run(self._deliver(EVENTS[number], index, crash_at, freeze_at, store, skew))

    async def _deliver(
        self,
        event: CloudEvent,
        index: int,
        crash_at: str | None,
        freeze_at: str | None,
        store: Sequence[str],
        skew: int,
    ) -> None:
        worker = self.workers[index]
        worker.failpoints.crash_at = crash_at
        worker.failpoints.freeze_at = None if index in self.frozen_since else freeze_at
        self._documents_of(worker).script = list(store)
        self.delivered.add(event.id)
        self.deliveries += 1
        delivery = replace(
            make_delivery(event, deadline_s=self.loop.time() + 600), message_id=str(self.deliveries)
        )
        self.tasks[index].append(asyncio.create_task(self._handle(worker, delivery, event)))
        await settle()
        if worker.failpoints.frozen and index not in self.frozen_since:
            self.frozen_since[index] = self.loop.time()
        await self._bury_the_dead(index, crash_at, event, skew)
        worker.failpoints.crash_at = worker.failpoints.freeze_at = None

    async def _handle(self, worker: WorkerProcess, delivery: Delivery, event: CloudEvent) -> Outcome:
        outcome = await worker.inbox.handle(delivery, event, EffectWork(event, worker.clock))
        if isinstance(outcome, Ack) and self.checks_acks:
            document = await self.store.get(entry_key(SUBSCRIPTION, event.source, event.id))
            assert document is not None
            assert read_entry(document).state is State.SENT, "acknowledged before it was sent"
        return outcome

    async def _bury_the_dead(self, index: int, crash_at: str | None, event: CloudEvent, skew: int) -> None:
        """If a crash happened, the whole process is gone: everything it was doing stops at once, and a new one starts."""
        crashed = False
        for task in [task for task in self.tasks[index] if task.done()]:
            self.tasks[index].remove(task)
            error = task.exception()
            if isinstance(error, Crash):
                crashed = True
            elif error is not None:
                raise error
        if not crashed:
            return
        if crash_at == "P4":
            self.allowed_copies[event.id] += 1
        self._documents_of(self.workers[index]).dead = True
        for task in self.tasks[index]:
            task.cancel()
        await asyncio.gather(*self.tasks[index], return_exceptions=True)
        self.tasks[index].clear()
        if self.frozen_since.pop(index, None) is not None:
            self._allow_copy_of_everything()
        self.workers[index] = await self.start(self.skews[skew % len(self.skews)])

    @rule(index=st.integers(0, 1))
    def thaw(self, index: int) -> None:
        """Let a frozen step go on."""
        since = self.frozen_since.pop(index, None)
        if since is not None and self.loop.time() - since >= LEASE_S:
            self._allow_copy_of_everything()  # frozen past its lease between the check and the mark
        self.run(self._thaw(index))

    async def _thaw(self, index: int) -> None:
        failpoints = self.workers[index].failpoints
        failpoints.thaw.set()
        await settle()
        failpoints.thaw.clear()
        await self._bury_the_dead(index, None, EVENTS[0], 0)

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE_S + 1, 4 * LEASE_S]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.run(advance(self.loop, seconds))
        for index in (0, 1):
            self.run(self._bury_the_dead(index, None, EVENTS[0], 0))

    @rule(index=st.integers(0, 1))
    def sweep(self, index: int) -> None:
        """Let a relay look for what dead workers committed."""
        self.run(self._sweep(index))

    async def _sweep(self, index: int) -> None:
        self._documents_of(self.workers[index]).script = []
        task = asyncio.create_task(self.workers[index].inbox.sweep())
        await settle()
        assert task.done(), "a sweep of a working store and bus needs no waiting"
        await task

    @invariant()
    def nothing_happened_twice(self) -> None:
        """At most one effect per event, and all copies of a reply have the same bytes."""
        for event in EVENTS:
            assert self.run(effects_of(self.store, event)) <= 1, "an effect happened twice"
        for reply_id, bodies in self.wire.bodies_by_id().items():
            assert len(set(bodies)) == 1, "two different bodies under one reply id"
            if self.counts_copies:
                overdue = sum(self.loop.time() - since >= LEASE_S for since in self.frozen_since.values())
                allowed = 1 + overdue + self.allowed_copies[reply_id.removeprefix("reply-")]
                assert len(bodies) <= allowed, "a reply was published again though nobody died or froze"

    def teardown(self) -> None:
        """Everything delivered is answered in the end, exactly once."""
        try:
            self.run(self._finish())
        finally:
            for index in (0, 1):
                self._documents_of(self.workers[index]).dead = True
            self.run(self._stop())
            self.loop.close()

    async def _finish(self) -> None:
        for index in (0, 1):
            self._documents_of(self.workers[index]).script = []
            if index in self.frozen_since:
                self._allow_copy_of_everything()
            self.workers[index].failpoints.thaw.set()
        await advance(self.loop, 10 * LEASE_S)
        heir = await self.start(0.0)
        for event in EVENTS:
            if event.id in self.delivered:
                task = asyncio.create_task(
                    self._handle(heir, make_delivery(event, deadline_s=self.loop.time() + 600), event)
                )
                await settle()
                await advance(self.loop, 10 * LEASE_S)
                assert task.done(), "an event is stuck"
                assert isinstance(await task, Ack), "an event was lost"
                assert await effects_of(self.store, event) == 1, "an effect happened twice, or never"
        self._documents_of(heir).dead = True

    async def _stop(self) -> None:
        for tasks in self.tasks.values():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _allow_copy_of_everything(self) -> None:
        for event in EVENTS:
            self.allowed_copies[event.id] += 1

    @staticmethod
    def _documents_of(worker: WorkerProcess) -> ProcessDocuments:
        documents = worker.inbox._documents
        assert isinstance(documents, ProcessDocuments)
        return documents


class SkewedInboxModel(InboxModel):
    """The same with clocks up to two minutes off: they may cost time and identical copies, never correctness."""

    skews = (0.0, 120.0, -120.0)
    counts_copies = False


class MarkFirstInbox(Inbox):
    """Seeded bug: marked sent before it is published."""

    async def _send(self, lease: Lease, messages: Sequence[Message], replay: int, until_s: float) -> None:
        await lease.commit({"state": State.SENT.value}, until_s=until_s)
        await self._failpoints.reach("P4")
        for message in messages:
            await self._publisher.publish(message)


class AckFirstInbox(Inbox):
    """Seeded bug: acknowledged when committed, sent afterwards."""

    async def _send(self, lease: Lease, messages: Sequence[Message], replay: int, until_s: float) -> None:
        asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(super(AckFirstInbox, self)._send(lease, messages, replay, until_s)))  # fmt: skip


class MessageIdInbox(Inbox):
    """Seeded bug: deduplicated by message id instead of source and id."""

    async def handle(self, delivery: Delivery, event: CloudEvent, work: Any) -> Outcome:
        return await super().handle(delivery, replace(event, id=f"message-{delivery.message_id}"), work)


class UnconditionalDocuments(ProcessDocuments):
    """Seeded bug: no preconditions on versions."""

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        return await super().commit(
            [replace(write, if_version=None) if isinstance(write, Update) else write for write in writes]
        )


class LeaseDroppingDocuments(ProcessDocuments):
    """Seeded bug: the lease ends at the commit instead of covering the publish."""

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        return await super().commit(
            [
                replace(write, fields={**write.fields, "lease_until": EPOCH})
                if isinstance(write, Update) and write.fields.get("state") == State.COMMITTED.value
                else write
                for write in writes
            ]
        )


class MarkFirstModel(InboxModel):
    """The model over the first seeded bug."""

    inbox_class = MarkFirstInbox

    async def _finish(self) -> None:
        await super()._finish()
        answered = {reply_id.removeprefix("reply-") for reply_id in self.wire.bodies_by_id()}
        assert self.delivered <= answered, "marked as sent, never published"


class AckFirstModel(InboxModel):
    """The model over the second seeded bug."""

    inbox_class = AckFirstInbox


class MessageIdModel(InboxModel):
    """The model over the third seeded bug."""

    inbox_class = MessageIdInbox
    checks_acks = False  # its entries are not where the check looks


class UnconditionalModel(InboxModel):
    """The model over the fourth seeded bug."""

    documents_class = UnconditionalDocuments


class LeaseDroppingModel(InboxModel):
    """The model over the fifth seeded bug."""

    documents_class = LeaseDroppingDocuments


def _settings(examples: int, phases: Sequence[Phase] = (Phase.generate, Phase.shrink)) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        phases=phases,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        derandomize=True,
    )


@pytest.mark.parametrize("model", [InboxModel, SkewedInboxModel], ids=["exact clocks", "skewed clocks"])
def test_no_schedule_loses_or_repeats_anything(model: type[InboxModel]) -> None:
    """At least 10,000 steps in all: 2 x 150 runs of up to 50 steps."""
    run_state_machine_as_test(model, settings=_settings(150))


@pytest.mark.parametrize(
    ("mutant", "symptom"),
    [
        (MarkFirstModel, "marked as sent, never published"),
        (AckFirstModel, "acknowledged before it was sent"),
        (MessageIdModel, "an effect happened twice"),
        (
            UnconditionalModel,
            "an effect happened twice|two different bodies|published again though nobody died",
        ),
        (LeaseDroppingModel, "published again though nobody died"),
    ],
)
def test_a_seeded_protocol_bug_is_found(mutant: type[InboxModel], symptom: str) -> None:
    """The model turns red, for the right reason, on each known way to get the protocol wrong."""
    with pytest.raises(AssertionError, match=symptom):
        run_state_machine_as_test(mutant, settings=_settings(400, (Phase.generate,)))
