"""The inbox protocol, row by row: claim, hold, take over, heartbeat, commit, publish, mark, give up, sweep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest

from expert_bot.delivery import Ack, DeadLetter, Retry
from expert_bot.errors import BusUnavailableError, MessageRefusedError, PermanentError, StoreUnavailableError
from expert_bot.inbox import protocol
from expert_bot.inbox.entry import MAX_STORED_BYTES, State, entry_key, read_entry
from expert_bot.ports import Create, Delete, DocKey, Document, Put, Update, Write
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from tests.inbox_world import (
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
    make_event,
    settle,
    stepped,
)

EVENT = make_event("event-1")
KEY = entry_key(SUBSCRIPTION, EVENT.source, EVENT.id)


class World:
    """Two workers over one store and one bus, in stepped time."""

    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.documents = FlakyDocuments()
        self.publisher = RecordingPublisher()
        self.a = self.start()
        self.b = self.start()

    def start(self, *, skew_s: float = 0.0, max_attempts: int = 3) -> WorkerProcess:
        clock = SteppedClock(self.loop, skew_s)
        return WorkerProcess(self.documents, self.publisher, clock, max_attempts=max_attempts)

    def work(self, *errors: BaseException) -> EffectWork:
        return EffectWork(EVENT, self.a.clock, errors)

    async def entry(self) -> Document:
        document = await self.documents.get(KEY)
        assert document is not None
        return document

    async def state(self) -> State:
        return read_entry(await self.entry()).state

    async def effects(self) -> int:
        return await effects_of(self.documents, EVENT)

    async def crash(self, worker: WorkerProcess, point: str) -> None:
        worker.failpoints.crash_at = point
        with pytest.raises(Crash):
            await worker.handle(EVENT)


in_world = stepped(World)


@in_world
async def test_a_new_event_has_its_effect_and_its_reply_and_is_marked_sent(world: World) -> None:
    """Three writes on the happy path: claim, commit, mark."""
    assert await world.a.handle(EVENT) == Ack()
    assert (await world.effects(), len(world.publisher.messages), await world.state()) == (1, 1, State.SENT)
    assert world.documents.commits == 3


@in_world
async def test_a_duplicate_of_a_sent_event_does_nothing(world: World) -> None:
    """SENT: acknowledge, count as duplicate."""
    await world.a.handle(EVENT)
    assert await world.b.handle(EVENT) == Ack(duplicate=True)
    assert (await world.effects(), len(world.publisher.messages)) == (1, 1)


@in_world
async def test_duplicates_in_one_process_wait_for_each_other(world: World) -> None:
    """Ten copies at once in one worker: one works, nine are duplicates, none burns an attempt."""
    outcomes = await asyncio.gather(*(world.a.handle(EVENT) for _ in range(10)))
    assert sorted(map(str, outcomes)) == sorted([str(Ack()), *[str(Ack(duplicate=True))] * 9])
    assert (await world.effects(), len(world.publisher.messages)) == (1, 1)


@in_world
async def test_an_event_held_by_another_worker_is_waited_for(world: World) -> None:
    """CLAIMED, lease running, not mine: hold; when the owner is done it is a duplicate."""
    world.a.failpoints.freeze_at = "P2"
    first = asyncio.create_task(world.a.handle(EVENT))
    await settle()
    second = asyncio.create_task(world.b.handle(EVENT))
    await advance(world.loop, 2)
    assert not second.done()
    world.a.failpoints.thaw.set()
    await settle()
    await advance(world.loop, 3)
    assert (await first, await second) == (Ack(), Ack(duplicate=True))
    assert await world.effects() == 1


@in_world
async def test_holding_ends_at_the_deliverys_deadline_without_burning_an_attempt(world: World) -> None:
    """A delivery that cannot wait any longer is retried; the inbox's attempt count stays 0."""
    await world.crash(world.a, "P2")
    outcome = asyncio.create_task(world.b.handle(EVENT, deadline_s=world.loop.time() + 1))
    await advance(world.loop, 2, step_s=0.1)
    assert await outcome == Retry(1.0, "held")
    assert read_entry(await world.entry()).attempts == 0


@pytest.mark.parametrize(
    ("point", "copies_on_the_wire"), [("P0", 1), ("P1", 1), ("P2", 1), ("P3", 1), ("P4", 2), ("P5", 1)]
)
def test_a_crash_at_any_step_is_completed_by_the_next_delivery(point: str, copies_on_the_wire: int) -> None:
    """One effect whatever the step; a second copy on the wire only after "published, not marked", and identical."""

    async def scenario(world: World) -> None:
        await world.crash(world.a, point)
        outcome = asyncio.create_task(world.b.handle(EVENT))
        await settle()
        await advance(world.loop, LEASE_S + 5)
        assert await outcome == Ack(duplicate=point == "P5")
        assert (await world.effects(), await world.state()) == (1, State.SENT)
        bodies = [message.data for message in world.publisher.messages]
        assert (len(bodies), len(set(bodies))) == (copies_on_the_wire, 1)

    in_world(scenario)()


@pytest.mark.parametrize("point", ["P1", "P2", "P3", "P4"])
def test_a_zombie_that_wakes_after_its_lease_changes_nothing(point: str) -> None:
    """The fence: whoever was taken over fails its next write, discards its decision, and finds the event sent."""

    async def scenario(world: World) -> None:
        world.a.failpoints.freeze_at = point
        zombie = asyncio.create_task(world.a.handle(EVENT))
        await settle()
        heir = asyncio.create_task(world.b.handle(EVENT))
        await settle()
        await advance(world.loop, LEASE_S + 5)
        assert await heir == Ack()
        world.a.failpoints.thaw.set()
        await settle()
        await advance(world.loop, 1)
        assert await zombie == Ack(duplicate=True)
        bodies = {message.data for message in world.publisher.messages}
        assert (await world.effects(), len(bodies)) == (1, 1)

    in_world(scenario)()


@in_world
async def test_heartbeats_keep_a_slow_handler_alive(world: World) -> None:
    """A handler may take many leases; nobody takes its event meanwhile."""
    work = world.work()
    work.gate = asyncio.Event()
    slow = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    other = asyncio.create_task(world.b.handle(EVENT))
    await advance(world.loop, 4 * LEASE_S)
    assert (slow.done(), other.done()) == (False, False)
    work.gate.set()
    await settle()
    await advance(world.loop, 2)
    assert (await slow, await other) == (Ack(), Ack(duplicate=True))


@in_world
async def test_a_lost_lease_cancels_the_handler_at_its_next_heartbeat(world: World) -> None:
    """Another owner appears (a skewed clock took over): the handler is cancelled, its decision discarded."""
    work = world.work()
    work.gate = asyncio.Event()
    slow = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    assert await world.start(skew_s=2 * LEASE_S).handle(EVENT) == Ack()
    await advance(world.loop, LEASE_S / 3 + 1)
    assert work.cancelled
    assert await slow == Ack(duplicate=True)
    assert await world.effects() == 1


@in_world
async def test_a_handler_that_cannot_prove_its_lease_is_cancelled(world: World) -> None:
    """The store is down past the lease: ownership can no longer be shown, so the work stops and is retried."""
    work = world.work()
    work.gate = asyncio.Event()
    slow = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    world.documents.script = ["down"] * 1000
    await advance(world.loop, LEASE_S * 2)
    assert work.cancelled
    assert isinstance(await slow, Retry)
    world.documents.script = []
    assert await world.a.handle(EVENT) == Ack()
    assert await world.effects() == 1


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(["answer lost"], id="claim"),
        pytest.param(["ok", "answer lost"], id="commit"),
        pytest.param(["ok", "ok", "answer lost"], id="mark"),
        pytest.param(["ok", "down", "down", "answer lost"], id="commit after an outage"),
        pytest.param(["ok", "ok", "down", "down", "answer lost"], id="mark after an outage"),
    ],
)
def test_a_lost_answer_neither_loses_nor_repeats_anything(script: list[str]) -> None:
    """Whether a write landed is read back by the owner's token, so its effect and its publish happen once."""

    async def scenario(world: World) -> None:
        world.documents.script = script
        outcome = asyncio.create_task(world.a.handle(EVENT))
        await settle()
        await advance(world.loop, 5, step_s=0.05)
        first = await outcome
        if isinstance(
            first, Retry
        ):  # the claim itself was unsure: the redelivery finds our own remains at once
            first = await world.a.handle(EVENT)
        assert first == Ack()
        assert (await world.effects(), len(world.publisher.messages)) == (1, 1)

    in_world(scenario)()


@in_world
async def test_a_published_event_is_not_published_again_when_marking_had_to_be_given_up(world: World) -> None:
    """Published, the store down until the deadline: this process remembers, and only marks at the next delivery."""
    world.documents.script = ["ok", "ok", *["down"] * 1000]
    outcome = asyncio.create_task(world.a.handle(EVENT, deadline_s=world.loop.time() + 10))
    await settle()
    await advance(world.loop, 15, step_s=0.5)
    assert isinstance(await outcome, Retry)
    world.documents.script = []
    assert await world.a.handle(EVENT) == Ack()
    assert len(world.publisher.messages) == 1


@in_world
async def test_a_permanent_error_ends_as_a_failed_reply_and_a_dead_letter(world: World) -> None:
    """CLAIMED, permanent error: committed and published through the same path, once."""
    outcome = await world.a.handle(
        EVENT, world.work(PermanentError("schema-violation", "user_id: missing")), data=b"raw"
    )
    assert outcome == DeadLetter("schema-violation")
    reply, letter = world.publisher.messages
    assert reply.data == b"failed: schema-violation"
    assert (letter.topic, letter.data) == (DEAD_LETTER_TOPIC, b"raw")
    assert letter.attributes["dl-reason"] == "schema-violation"
    assert letter.attributes["ce-id"] == EVENT.id
    assert await world.b.handle(EVENT) == Ack(duplicate=True)
    assert (await world.effects(), len(world.publisher.messages)) == (0, 2)


@in_world
async def test_an_unknown_error_is_retried_with_growing_pauses_and_then_dead_lettered_with_its_class(
    world: World,
) -> None:
    """The attempt limit ends it with a reason of ours, rather than the broker's silence."""
    errors = [ZeroDivisionError("private"), KeyError("private"), ZeroDivisionError("private")]
    outcomes = [await world.a.handle(EVENT, world.work(error)) for error in errors]
    assert outcomes == [
        Retry(1.0, "ZeroDivisionError"),
        Retry(2.0, "KeyError"),
        DeadLetter("attempts-exhausted"),
    ]
    letter = world.publisher.messages[-1]
    assert letter.attributes["dl-class"] == "ZeroDivisionError"
    assert letter.attributes["dl-attempts"] == "3"
    assert "private" not in str(letter.attributes)


@in_world
async def test_a_transient_error_names_its_own_pause_and_frees_the_event(world: World) -> None:
    """The next delivery, on any worker, need not wait for the lease."""
    down = StoreUnavailableError("down", retry_after_s=7.0)
    assert await world.a.handle(EVENT, world.work(down)) == Retry(7.0, "StoreUnavailableError")
    assert await world.b.handle(EVENT) == Ack()


@in_world
async def test_a_handler_over_its_time_is_cancelled_and_retried(world: World) -> None:
    """A timeout is transient."""
    work = world.work()
    work.gate, work.timeout_s = asyncio.Event(), 5.0
    outcome = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    await advance(world.loop, 6)
    assert await outcome == Retry(1.0, "TimeoutError")
    assert work.cancelled


@in_world
async def test_a_cancelled_worker_gives_its_event_up_at_once(world: World) -> None:
    """Drain: the claim is released, so that another worker answers without waiting for the lease."""
    work = world.work()
    work.gate = asyncio.Event()
    task = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.b.handle(EVENT) == Ack()
    assert await world.effects() == 1


@pytest.mark.parametrize(
    "error",
    [BusUnavailableError("down"), MessageRefusedError("too-large", "too large")],
    ids=["down", "refused"],
)
def test_a_reply_that_cannot_be_published_is_retried_from_the_stored_bytes(error: Exception) -> None:
    """COMMITTED: the handler is not run again; whoever comes next publishes what was stored."""

    async def scenario(world: World) -> None:
        world.publisher.failures = [error]
        assert await world.a.handle(EVENT) == Retry(1.0, "BusUnavailableError")
        assert await world.state() is State.COMMITTED
        work = world.work()
        assert await world.b.handle(EVENT, work) == Ack()
        assert (work.calls, await world.effects(), len(world.publisher.messages)) == (0, 1, 1)

    in_world(scenario)()


@in_world
async def test_a_conflict_in_the_handlers_own_writes_runs_it_again_on_fresh_context(world: World) -> None:
    """The inbox document is still ours; only the handler's precondition failed: decide again, once committed."""
    calls = 0

    async def interfere(writes: Sequence[Write]) -> None:
        nonlocal calls
        if any(isinstance(write, Create) and write.key.collection == "effects" for write in writes):
            calls += 1
            if calls == 1:
                blocked = next(write for write in writes if write.key.collection == "effects")
                await world.documents.inner.commit([Put(blocked.key, {"event": "someone else's"})])

    world.documents.before_commit = interfere
    work = world.work()
    assert await world.a.handle(EVENT, work) == Ack()
    assert (work.calls, await world.effects(), len(world.publisher.messages)) == (2, 1, 1)


@in_world
async def test_a_conflict_that_never_ends_is_retried_later(world: World) -> None:
    """No endless loop: a bounded number of conflicts in a row is a transient failure."""

    async def interfere(writes: Sequence[Write]) -> None:
        for write in writes:
            if write.key.collection == "effects":
                await world.documents.inner.commit([Put(write.key, {"event": "someone else's"})])

    world.documents.before_commit = interfere
    assert isinstance(await world.a.handle(EVENT), Retry)
    world.documents.before_commit = None
    assert await world.b.handle(EVENT) == Ack()


@in_world
async def test_an_unstorable_decision_counts_as_a_failed_attempt(world: World) -> None:
    """A handler's mistake that only shows at the commit ends as a dead letter, not as an endless loop."""

    async def refuse(writes: Sequence[Write]) -> None:
        if any(write.key.collection == "effects" for write in writes):
            raise TypeError("a Decimal cannot be stored")

    world.documents.before_commit = refuse
    outcomes = [await world.a.handle(EVENT) for _ in range(3)]
    assert outcomes[-1] == DeadLetter("attempts-exhausted")


@in_world
async def test_a_dead_letter_too_large_to_store_takes_its_bytes_from_the_delivery(world: World) -> None:
    """The stored form stays small; the letter on the wire has every byte, also after a crash before the publish."""
    original = b"x" * 1_000_000
    world.a.failpoints.crash_at = "P3"
    with pytest.raises(Crash):
        await world.a.handle(
            EVENT, world.work(PermanentError("payload-too-large", "too large")), data=original
        )
    stored = read_entry(await world.entry())
    assert stored.needs_delivery
    assert sum(len(message.data) for message in stored.messages) < 1000
    await advance(world.loop, LEASE_S + 1)
    assert await world.b.inbox.sweep() == 0  # the relay has no bytes to publish
    assert await world.b.handle(EVENT, data=original) == DeadLetter("payload-too-large")
    assert world.publisher.messages[-1].data == original


@in_world
async def test_replies_too_large_to_store_are_a_dead_letter(world: World) -> None:
    """An event may answer with no more than can be stored beside its entry."""
    work = world.work()
    decide = work.decide

    async def decide_too_much() -> Any:
        decision = await decide()
        huge = tuple(
            type(message)(topic=message.topic, data=b"x" * (MAX_STORED_BYTES + 1))
            for message in decision.messages
        )
        return type(decision)(messages=huge, writes=decision.writes)

    work.decide = decide_too_much  # type: ignore[method-assign]
    assert await world.a.handle(EVENT, work) == DeadLetter("reply-too-large")
    assert await world.effects() == 0


@in_world
async def test_the_relay_publishes_what_a_dead_worker_committed(world: World) -> None:
    """COMMITTED, lease over: the sweep takes over, publishes the stored bytes, marks sent; the redelivery is a duplicate."""
    await world.crash(world.a, "P3")
    assert await world.b.inbox.sweep() == 0  # its lease is still running
    await advance(world.loop, LEASE_S + 1)
    assert await world.b.inbox.sweep() == 1
    assert (await world.state(), len(world.publisher.messages)) == (State.SENT, 1)
    assert await world.b.handle(EVENT) == Ack(duplicate=True)


@in_world
async def test_two_relays_at_once_publish_once(world: World) -> None:
    """Taking over is a write on the version seen: one of two sweeps wins."""
    await world.crash(world.a, "P3")
    await advance(world.loop, LEASE_S + 1)
    results = await asyncio.gather(world.b.inbox.sweep(), world.start().inbox.sweep())
    assert (sorted(results), len(world.publisher.messages)) == ([0, 1], 1)


@in_world
async def test_a_relay_that_cannot_publish_gives_the_event_up(world: World) -> None:
    """The next delivery or sweep finds it free."""
    await world.crash(world.a, "P3")
    await advance(world.loop, LEASE_S + 1)
    world.publisher.failures = [BusUnavailableError("down")]
    with pytest.raises(BusUnavailableError):
        await world.b.inbox.sweep()
    assert await world.start().handle(EVENT) == Ack()
    assert len(world.publisher.messages) == 1


@in_world
async def test_a_relay_that_is_overtaken_leaves_the_event_to_its_new_owner(world: World) -> None:
    """Losing the lease in a sweep is not an error."""
    await world.crash(world.a, "P3")
    await advance(world.loop, LEASE_S + 1)
    world.b.failpoints.freeze_at = "P3"
    sweeping = asyncio.create_task(world.b.inbox.sweep())
    await settle()
    await advance(world.loop, LEASE_S + 1)
    assert await world.start().handle(EVENT) == Ack()
    world.b.failpoints.thaw.set()
    assert await sweeping == 0


@in_world
async def test_a_finished_event_expires_after_the_retention(world: World) -> None:
    """expire_at is what the store's TTL goes by: 46 days from when it was sent."""
    await world.a.handle(EVENT)
    expire_at = (await world.entry()).fields["expire_at"]
    assert (expire_at - world.a.clock.now()).days == 46  # type: ignore[operator]  # a datetime


@in_world
async def test_an_entry_that_expires_between_two_looks_is_claimed_afresh(world: World) -> None:
    """The document may vanish between the refused create and the read."""
    await world.a.handle(EVENT)
    real_get, vanished = world.documents.get, False

    async def vanishing_get(key: DocKey) -> Document | None:
        nonlocal vanished
        if not vanished:
            vanished = True
            world.documents.inner._documents.clear()  # type: ignore[attr-defined]  # the TTL's deed
            return None
        return await real_get(key)

    world.documents.get = vanishing_get  # type: ignore[method-assign]
    outcome = asyncio.create_task(world.b.handle(EVENT))
    await settle()
    await advance(world.loop, 1)
    assert await outcome == Ack()


def test_the_key_tells_subscriptions_sources_and_ids_apart() -> None:
    """One document per (subscription, source, id), with no personal data in its name."""
    keys = {
        entry_key(*parts).id
        for parts in [("s", "a", "b"), ("s", "ab", "c"), ("s", "a", "bc"), ("t", "a", "b")]
    }
    assert len(keys) == 4
    assert all(len(key) == 40 for key in keys)


@in_world
async def test_the_fence_counts_owners(world: World) -> None:
    """Each take-over raises the fence by one and changes the token."""
    await world.crash(world.a, "P2")
    before = read_entry(await world.entry())
    await advance(world.loop, LEASE_S + 1)
    await world.crash(world.b, "P2")
    after = read_entry(await world.entry())
    assert (before.fence, after.fence) == (1, 2)
    assert before.token != after.token


@in_world
async def test_a_failed_release_is_only_slower(world: World) -> None:
    """If giving up fails too, the lease runs out by itself and nothing is lost."""
    world.documents.script = ["ok", "down"]
    assert isinstance(await world.a.handle(EVENT, world.work(StoreUnavailableError("down"))), Retry)
    assert await world.a.handle(EVENT) == Ack()
    assert await world.effects() == 1


def test_updates_of_the_inbox_always_carry_a_version() -> None:
    """No step but the first claim writes without a precondition."""

    async def scenario(world: World) -> None:
        seen: list[Write] = []

        async def watch(writes: Sequence[Write]) -> None:
            seen.extend(write for write in writes if write.key.collection == "inbox")

        world.documents.before_commit = watch
        await world.crash(world.a, "P3")
        await advance(world.loop, LEASE_S + 1)
        await world.b.handle(EVENT)
        updates = [write for write in seen if isinstance(write, Update)]
        assert len(updates) == 3
        assert all(update.if_version for update in updates)

    in_world(scenario)()


@in_world
async def test_a_local_duplicate_that_cannot_wait_is_retried(world: World) -> None:
    """A delivery's deadline also bounds the wait for a copy in the same process."""
    work = world.work()
    work.gate = asyncio.Event()
    first = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    copy = asyncio.create_task(world.a.handle(EVENT, deadline_s=world.loop.time() + 2))
    await settle()
    await advance(world.loop, 3)
    assert await copy == Retry(1.0, "held")
    work.gate.set()
    assert await first == Ack()


@pytest.mark.parametrize("by", ["delivery", "relay"])
def test_a_take_over_that_comes_second_leaves_the_event_alone(by: str) -> None:
    """Between the look and the write somebody else took it: the write fails, and nothing is done here."""

    async def scenario(world: World) -> None:
        await world.crash(world.a, "P3")
        await advance(world.loop, LEASE_S + 1)

        async def overtake(writes: Sequence[Write]) -> None:
            world.documents.before_commit = None
            later = world.b.clock.now() + timedelta(seconds=LEASE_S)
            await world.documents.inner.commit([Update(KEY, {"token": "somebody", "lease_until": later})])

        world.documents.before_commit = overtake
        if by == "relay":
            assert await world.b.inbox.sweep() == 0
        else:
            world.documents.before_commit = None
            world.documents.before_commit = _second_commit(overtake)
            task = asyncio.create_task(world.b.handle(EVENT, deadline_s=world.loop.time() + 1))
            await settle()
            await advance(world.loop, 2, step_s=0.1)
            assert await task == Retry(1.0, "held")
        assert world.publisher.messages == []

    in_world(scenario)()


def _second_commit(
    hook: Callable[[Sequence[Write]], Coroutine[Any, Any, None]],
) -> Callable[[Sequence[Write]], Coroutine[Any, Any, None]]:
    """Return a hook that lets one commit pass (the refused create) and acts before the next."""
    passed: list[bool] = []

    async def act(writes: Sequence[Write]) -> None:
        if passed:
            await hook(writes)
        passed.append(True)

    return act


@in_world
async def test_a_publish_that_is_never_confirmed_is_given_up_and_retried(world: World) -> None:
    """The bus has a minute; then the stored bytes are published by whoever comes next."""
    world.publisher.gate = asyncio.Event()
    outcome = asyncio.create_task(world.a.handle(EVENT))
    await settle()
    await advance(world.loop, 61)
    assert await outcome == Retry(1.0, "BusUnavailableError")
    world.publisher.gate = None
    assert await world.b.handle(EVENT) == Ack()
    assert (await world.effects(), len(world.publisher.messages)) == (1, 1)


@in_world
async def test_a_worker_cancelled_between_publish_and_mark_still_marks(world: World) -> None:
    """Drain at the last step: no second copy on the wire when nobody died."""
    world.a.failpoints.freeze_at = "P4"
    task = asyncio.create_task(world.a.handle(EVENT))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.b.handle(EVENT) == Ack(duplicate=True)
    assert len(world.publisher.messages) == 1


@in_world
async def test_a_mark_that_fails_during_a_drain_costs_an_identical_copy_at_most(world: World) -> None:
    """The store is down while the worker stops: the next owner publishes the same bytes again."""
    world.a.failpoints.freeze_at = "P4"
    task = asyncio.create_task(world.a.handle(EVENT))
    await settle()
    world.documents.script = ["down"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = asyncio.create_task(world.b.handle(EVENT))
    await settle()
    await advance(world.loop, LEASE_S + 2)
    assert await outcome == Ack()
    assert len({message.data for message in world.publisher.messages}) == 1


@in_world
async def test_a_handler_that_ignores_its_cancellation_is_discarded_all_the_same(world: World) -> None:
    """Even a decision that arrives after the lease was lost has no effect."""
    work = world.work()
    decide = work.decide
    work.gate = asyncio.Event()

    async def stubborn() -> Any:
        with contextlib.suppress(asyncio.CancelledError):
            return await decide()
        work.gate = None
        return await decide()

    work.decide = stubborn  # type: ignore[method-assign]
    slow = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    assert await world.start(skew_s=2 * LEASE_S).handle(EVENT) == Ack()
    await advance(world.loop, LEASE_S / 3 + 1)
    assert await slow == Ack(duplicate=True)
    assert await world.effects() == 1


@in_world
async def test_a_heartbeat_whose_answer_was_lost_does_not_cost_the_lease(world: World) -> None:
    """The version moved, but the token is ours: the commit takes the new version and goes through."""
    work = world.work()
    work.gate = asyncio.Event()
    task = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    world.documents.script = ["answer lost"]
    await advance(world.loop, LEASE_S / 3 + 1)
    work.gate.set()
    await settle()
    assert await task == Ack()
    assert (work.calls, await world.effects()) == (1, 1)


@in_world
async def test_work_that_ends_during_a_heartbeat_waits_for_it(world: World) -> None:
    """The heartbeat in flight decides the version that the commit must carry."""
    work = world.work()
    work.gate = asyncio.Event()
    task = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    beat_may_land = asyncio.Event()

    async def hold(_writes: Sequence[Write]) -> None:
        world.documents.before_commit = None
        await beat_may_land.wait()

    world.documents.before_commit = hold
    await advance(world.loop, LEASE_S / 3 + 1)
    work.gate.set()
    await settle()
    assert not task.done()
    beat_may_land.set()
    await settle()
    assert await task == Ack()


@in_world
async def test_an_entry_that_vanished_is_lost_and_claimed_afresh(world: World) -> None:
    """Deleted under its owner: the decision is discarded, the event is worked on as new."""
    world.a.failpoints.freeze_at = "P2"
    work = world.work()
    task = asyncio.create_task(world.a.handle(EVENT, work))
    await settle()
    await world.documents.inner.commit([Delete(KEY)])
    world.a.failpoints.thaw.set()
    assert await task == Ack()
    assert (work.calls, await world.effects()) == (2, 1)


def test_the_memory_of_unmarked_publishes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store does, a worker remembers so many events and no more."""
    monkeypatch.setattr(protocol, "_REMEMBERED", 2)

    async def scenario(world: World) -> None:
        for number in range(4):
            world.documents.script = ["ok", "ok", "down"]
            event = make_event(f"event-{number}")
            await world.a.handle(event, deadline_s=world.loop.time())
        assert len(world.a.inbox._published) == 2

    in_world(scenario)()


@in_world
async def test_a_commit_later_than_the_lease_renews_it_before_publishing(world: World) -> None:
    """Nobody took the event meanwhile, so it is still ours; but publishing only happens under a running lease."""
    world.a.failpoints.freeze_at = "P2"
    task = asyncio.create_task(world.a.handle(EVENT))
    await settle()
    await advance(world.loop, LEASE_S + 1)
    world.a.failpoints.freeze_at = "P3"
    world.a.failpoints.thaw.set()
    await settle()
    assert read_entry(await world.entry()).lease_until > world.a.clock.now()
    assert await task == Ack()
    assert world.documents.commits == 3, "the commit itself renews the lease"
