"""Replays through the inbox: what was answered is answered again, what died gets another chance, each replay once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from expert_bot.delivery import Ack, DeadLetter, Delivery, Outcome, Retry
from expert_bot.errors import BusUnavailableError, PermanentError
from expert_bot.inbox.entry import State, entry_key, read_entry
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
REFUSAL = PermanentError("schema-violation", "user_id: Field required")


class World:
    """Two workers over one store and one bus."""

    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.documents = FlakyDocuments()
        self.publisher = RecordingPublisher()
        self.clock = SteppedClock(loop)
        self.a, self.b = (WorkerProcess(self.documents, self.publisher, self.clock) for _ in range(2))

    def refusing(self) -> EffectWork:
        return EffectWork(EVENT, self.clock, [REFUSAL])

    async def die(self) -> None:
        assert await self.a.handle(EVENT, self.refusing()) == DeadLetter("schema-violation")

    async def state(self) -> State:
        document = await self.documents.get(entry_key(SUBSCRIPTION, EVENT.source, EVENT.id))
        assert document is not None
        return read_entry(document).state

    @property
    def replies(self) -> list[tuple[str, bytes]]:
        return [
            (message.attributes["ce-id"], message.data)
            for message in self.publisher.messages
            if message.topic != DEAD_LETTER_TOPIC
        ]

    @property
    def letters(self) -> list[str]:
        return [
            message.attributes["dl-replays"]
            for message in self.publisher.messages
            if message.topic == DEAD_LETTER_TOPIC
        ]


in_world = stepped(World)


@in_world
async def test_a_replay_of_an_answered_event_answers_again_and_does_nothing_again(world: World) -> None:
    """Promise 4: the stored bytes once more, no second effect."""
    await world.a.handle(EVENT)
    work = EffectWork(EVENT, world.clock)
    assert await world.b.handle(EVENT, work, replay=1) == Ack()
    first, second = world.replies
    assert first == second
    assert (work.calls, await effects_of(world.documents, EVENT), await world.state()) == (0, 1, State.SENT)


@in_world
async def test_a_replay_of_a_dead_event_gives_it_another_chance(world: World) -> None:
    """After the mistake was mended, the same event succeeds: one effect, one answer, no second letter."""
    await world.die()
    assert await world.b.handle(EVENT, replay=1) == Ack()
    assert await effects_of(world.documents, EVENT) == 1
    assert (len(world.replies), world.letters, await world.state()) == (2, ["0"], State.SENT)


@in_world
async def test_a_second_death_is_another_letter_and_another_reply(world: World) -> None:
    """No reply id may ever carry two bodies: the second failure has an id of its own."""
    await world.die()
    assert await world.b.handle(EVENT, world.refusing(), replay=1) == DeadLetter("schema-violation")
    ids = [reply_id for reply_id, _ in world.replies]
    assert len(set(ids)) == len(ids) == 2
    assert world.letters == ["0", "1"]


@in_world
async def test_each_replay_is_let_in_once(world: World) -> None:
    """The replay's own message may be delivered twice too; the original may come late."""
    await world.die()
    await world.a.handle(EVENT, world.refusing(), replay=1)
    for late in (1, 0):
        assert await world.b.handle(EVENT, replay=late) == Ack(duplicate=True)
    assert (len(world.publisher.messages), await effects_of(world.documents, EVENT)) == (4, 0)
    assert await world.b.handle(EVENT, replay=2) == Ack()
    assert await effects_of(world.documents, EVENT) == 1


@in_world
async def test_attempts_start_anew(world: World) -> None:
    """An event that used its attempts up gets all of them again."""
    unstable = EffectWork(EVENT, world.clock, [RuntimeError("boom")] * 4)
    outcomes = [await world.a.handle(EVENT, unstable) for _ in range(3)]
    assert outcomes[-1] == DeadLetter("attempts-exhausted")
    assert isinstance(await world.a.handle(EVENT, unstable, replay=1), Retry)
    assert await world.a.handle(EVENT, unstable, replay=1) == Ack()


@pytest.mark.parametrize("point", ["P1", "P2", "P3", "P4", "P5"])
def test_a_crash_in_a_replay_is_completed_by_its_redelivery(point: str) -> None:
    """Wherever the worker dies, the replay's next delivery ends it with one effect and one more answer."""

    async def scenario(world: World) -> None:
        await world.die()
        world.a.failpoints.crash_at = point
        with pytest.raises(Crash):
            await world.a.handle(EVENT, replay=1)
        outcome = asyncio.create_task(world.b.handle(EVENT, replay=1))
        await settle()
        await advance(world.loop, 2 * LEASE_S)
        assert isinstance(await outcome, Ack)
        assert await effects_of(world.documents, EVENT) == 1
        bodies = world.publisher.bodies_by_id()
        assert all(len(set(copies)) == 1 for name, copies in bodies.items() if name != "dead-letter")
        assert await world.state() is State.SENT

    in_world(scenario)()


@in_world
async def test_a_replay_is_published_even_if_the_first_publish_was_never_seen_to_be_marked(
    world: World,
) -> None:
    """The memory of confirmed publishes is about one life of the event, not about its replays."""
    world.documents.script = ["ok", "ok", "answer lost", *["down"] * 100]
    first = asyncio.create_task(world.a.handle(EVENT, deadline_s=world.loop.now_s + 5))
    await settle()
    await advance(world.loop, LEASE_S)
    assert isinstance(await first, Retry)
    world.documents.script = []
    assert await world.state() is State.SENT
    assert await world.a.handle(EVENT, replay=1) == Ack()
    assert len(world.replies) == 2


@in_world
async def test_two_workers_with_the_same_replay_answer_once(world: World) -> None:
    """The second waits for the first and then finds it done."""
    await world.a.handle(EVENT)
    world.publisher.gate = asyncio.Event()
    outcomes = [asyncio.create_task(worker.handle(EVENT, replay=1)) for worker in (world.a, world.b)]
    await settle()
    world.publisher.gate.set()
    await settle()
    await advance(world.loop, LEASE_S)
    assert {await outcome for outcome in outcomes} == {Ack(), Ack(duplicate=True)}
    assert len(world.replies) == 2


@in_world
async def test_a_replay_that_cannot_be_published_is_retried(world: World) -> None:
    """Reopened and committed: the bytes wait, the replay's next delivery sends them."""
    await world.a.handle(EVENT)
    world.publisher.failures = [BusUnavailableError("the bus is down")]
    assert isinstance(await world.b.handle(EVENT, replay=1), Retry)
    assert await world.b.handle(EVENT, replay=1) == Ack()
    assert len(world.replies) == 2


async def publish_but_fail_to_mark(world: World, work: EffectWork) -> None:
    """Let A publish and give the mark up, and B take over, publish again and mark: A does not know that it is marked."""
    first = asyncio.create_task(world.a.handle(EVENT, work, deadline_s=world.loop.now_s + 1))
    world.a.failpoints.freeze_at = "P4"
    await settle()
    await advance(world.loop, 2)
    world.documents.script = ["down"]
    world.a.failpoints.thaw.set()
    assert isinstance(await first, Retry)
    await finish(world, world.b.handle(EVENT))
    assert await world.state() is State.SENT


async def finish(world: World, handling: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Let a delivery wait for a dead worker's lease and end."""
    outcome = asyncio.create_task(handling)
    await settle()
    await advance(world.loop, 2 * LEASE_S)
    return await outcome


@in_world
async def test_an_answer_that_a_dead_worker_reopened_is_published_by_one_that_had_published_before(
    world: World,
) -> None:
    """What A published in the event's first life says nothing about the replay that B reopened and did not live to answer."""
    await publish_but_fail_to_mark(world, EffectWork(EVENT, world.clock))
    before = len(world.replies)
    world.b.failpoints.crash_at = "P3"
    with pytest.raises(Crash):
        await world.b.handle(EVENT, replay=1)
    assert await finish(world, world.a.handle(EVENT, replay=1)) == Ack()
    assert len(world.replies) == before + 1


@in_world
async def test_a_second_death_is_published_by_a_worker_that_had_published_the_first(world: World) -> None:
    """The same for a letter and its failed reply: nothing may be lost."""
    await publish_but_fail_to_mark(world, world.refusing())
    before = len(world.publisher.messages)
    world.b.failpoints.crash_at = "P3"
    with pytest.raises(Crash):
        await world.b.handle(EVENT, world.refusing(), replay=1)
    await finish(world, world.a.handle(EVENT, world.refusing(), replay=1))
    assert len(world.publisher.messages) == before + 2


@in_world
async def test_a_replay_of_an_event_that_the_inbox_does_not_know_is_let_in_once(world: World) -> None:
    """Forwarded by the broker before any claim, or forgotten since: its copy is a duplicate all the same."""
    assert await world.a.handle(EVENT, world.refusing(), replay=1) == DeadLetter("schema-violation")
    assert await world.b.handle(EVENT, replay=1) == Ack(duplicate=True)
    assert world.letters == ["1"]


@in_world
async def test_a_replay_that_finds_the_first_life_unfinished_is_its_next_attempt(world: World) -> None:
    """It takes over from the dead worker; its own copy is a duplicate then."""
    world.a.failpoints.crash_at = "P1"
    with pytest.raises(Crash):
        await world.a.handle(EVENT)
    assert await finish(world, world.b.handle(EVENT, replay=1)) == Ack()
    assert await world.b.handle(EVENT, replay=1) == Ack(duplicate=True)
    assert len(world.replies) == 1


@in_world
async def test_a_replay_that_finds_a_death_unmarked_completes_it_and_then_has_its_chance(
    world: World,
) -> None:
    """The first death was published, its worker died before the mark: the replay is not used up by that."""
    world.a.failpoints.crash_at = "P4"
    with pytest.raises(Crash):
        await world.a.handle(EVENT, world.refusing())
    assert await finish(world, world.b.handle(EVENT, replay=1)) == Ack()
    assert await effects_of(world.documents, EVENT) == 1


@in_world
async def test_a_late_original_that_takes_a_replay_over_dies_as_that_replay(world: World) -> None:
    """Its letter says which life it was, so that the archive does not take it for a copy of the first."""
    await world.die()
    world.b.failpoints.crash_at = "P1"
    with pytest.raises(Crash):
        await world.b.handle(EVENT, replay=1)
    await finish(world, world.a.handle(EVENT, world.refusing()))
    assert world.letters == ["0", "1"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, 0),
        ({"dl-replays": "3"}, 0),
        ({"replayfor": SUBSCRIPTION}, 1),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "3"}, 3),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "0"}, 1),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "-3"}, 1),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "many"}, 1),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "\u0663"}, 1),
        ({"replayfor": SUBSCRIPTION, "dl-replays": "9" * 1000}, 1),
    ],
)
def test_the_number_of_a_replay_is_read_from_its_attributes(
    attributes: dict[str, str], expected: int
) -> None:
    """Only a message marked as a replay is one, whatever else its sender wrote."""
    assert Delivery(subscription=SUBSCRIPTION, data=b"", attributes=attributes).replay == expected
