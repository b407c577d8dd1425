"""`begin` and `fail`: what a handler writes around its work, and that neither costs an event."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from expert_bot.delivery import Ack, DeadLetter
from expert_bot.errors import PermanentError, StoreUnavailableError
from expert_bot.handlers import Context, Handler, Result
from expert_bot.ports import Create, DocKey, Put, Update, Write
from expert_bot.schemas.problem import Problem
from tests.unit.dispatch_world import CE, ECHO, EchoRequested, World

KEY = DocKey("records", "r-1")
ECHO_CE = {**CE, "ce-type": ECHO.requested.name}


class Recorded:
    """A handler that keeps a record of its work, and can be made to fail."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hook_error: Exception | None = None
        self.stale = False
        self.calls: list[str] = []

    async def begin(self, _request: EchoRequested, context: Context) -> tuple[Write, ...]:
        self.calls.append("begin")
        document = await context.documents.get(KEY)
        if document is None:
            return (Create(KEY, {"status": "running"}),)
        if self.stale:
            return (Create(KEY, {"status": "running"}),)
        return (Update(KEY, {"status": "running"}, if_version=document.version),)

    async def handle(self, _request: EchoRequested, _context: Context) -> Result:
        self.calls.append("handle")
        if self.error is not None:
            raise self.error
        return Result(writes=(Put(KEY, {"status": "completed"}),))

    async def fail(self, request: EchoRequested, _context: Context, problem: Problem) -> tuple[Write, ...]:
        self.calls.append("fail")
        if self.hook_error is not None:
            raise self.hook_error
        return (Put(KEY, {"status": "failed", "reason": problem.reason, "text": request.text}),)


@pytest.fixture
def recorded() -> Recorded:
    """Return a handler with hooks."""
    return Recorded()


@pytest.fixture
def world(recorded: Recorded) -> World:
    """Return a dispatcher with that handler for the echo family."""
    handler = Handler("echo_requested", ECHO.requested, recorded.handle, recorded.begin, recorded.fail)
    return World(handlers={ECHO.requested.name: handler})


async def deliver(
    world: World, data: bytes = b'{"text":"a"}', attributes: Mapping[str, str] = ECHO_CE
) -> object:
    """Bring one echo request to its outcome."""
    return await world.process(attributes, data, subscription=ECHO.subscription)


async def status(world: World) -> object:
    """Return the record's status, None without a record."""
    document = await world.documents.get(KEY)
    return document.fields.get("status") if document else None


async def test_begin_is_written_before_the_work(world: World, recorded: Recorded) -> None:
    """A record says that work runs while it runs, and what came of it afterwards."""
    recorded.error = StoreUnavailableError("down")
    await deliver(world)
    assert (await status(world), recorded.calls) == ("running", ["begin", "handle"])
    recorded.error = None
    assert await deliver(world) == Ack()
    assert await status(world) == "completed"


async def test_a_refused_beginning_does_not_stop_the_work(world: World, recorded: Recorded) -> None:
    """Whoever wrote the record meanwhile is right; the request is answered all the same."""
    await world.documents.commit([Create(KEY, {"status": "submitted"})])
    recorded.stale = True
    assert await deliver(world) == Ack()
    assert await status(world) == "completed"


async def test_a_death_is_committed_with_what_the_handler_says_of_it(
    world: World, recorded: Recorded
) -> None:
    """The record tells the reason together with the letter, all or none."""
    recorded.error = PermanentError("cannot-be", "never")
    assert await deliver(world) == DeadLetter("cannot-be")
    document = await world.documents.get(KEY)
    assert document is not None
    assert document.fields == {"status": "failed", "reason": "cannot-be", "text": "a"}


async def test_a_request_nobody_can_read_has_no_record_to_fail(world: World, recorded: Recorded) -> None:
    """Without its data nobody knows which record it is about."""
    assert await deliver(world, b'{"text":1}') == DeadLetter("schema-violation")
    assert recorded.calls == []


async def test_whoever_may_not_ask_ends_nobodys_record(recorded: Recorded) -> None:
    """An event from another source is dead-lettered, and what it names stays as it is."""
    handler = Handler("echo_requested", ECHO.requested, recorded.handle, recorded.begin, recorded.fail)
    world = World(sources=("//somebody-else",), handlers={ECHO.requested.name: handler})
    assert await deliver(world) == DeadLetter("unauthorized-source")
    assert recorded.calls == []


async def test_an_outage_while_a_death_is_told_delays_the_death(world: World, recorded: Recorded) -> None:
    """The event comes again, and dies again, once the store answers."""
    recorded.error = PermanentError("cannot-be", "never")
    recorded.hook_error = StoreUnavailableError("down")
    outcome = await deliver(world)
    assert type(outcome).__name__ == "Retry"
    assert not world.publisher.published
    recorded.hook_error = None
    assert await deliver(world) == DeadLetter("cannot-be")
    assert await status(world) == "failed"
