"""Exactly-once subscriptions: the broker answers for each ack id, and a lease can be lost for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull_settlements import Settlements
from tests.fake_pubsub import RefusalError, received
from tests.unit.pull_rig import Rig, Work, pull_rig
from tests.waiting import until

TRANSIENT = "TRANSIENT_FAILURE_UNORDERED_ACK_ID"
PERMANENT = "PERMANENT_FAILURE_INVALID_ACK_ID"
Code = grpc.StatusCode


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Yield a rig without a consumer yet."""
    async with pull_rig() as rig:
        yield rig


def refusing_first(
    failures: dict[str, str], asked: list[list[str]], *, code: Code = Code.FAILED_PRECONDITION
) -> Callable[[Any], Any]:
    """Refuse single ack ids of the first request, accept the rest and everything later; note what was asked."""

    async def hook(request: Any) -> None:
        asked.append(list(request.ack_ids))
        if len(asked) == 1:
            raise RefusalError(code, failures=failures)

    return hook


def refusing(failures: dict[str, str]) -> Callable[[Any], Any]:
    """Refuse ack ids whenever a request has one of them."""

    async def hook(request: Any) -> None:
        if refused := {ack_id: failures[ack_id] for ack_id in request.ack_ids if ack_id in failures}:
            raise RefusalError(Code.FAILED_PRECONDITION, failures=refused)

    return hook


def settlements_on(rig: Rig) -> Settlements:
    """Make the settlements under test, without a consumer."""
    return Settlements(channel=rig.channel, path="projects/p/subscriptions/s", on_answer=lambda: None)


@pytest.mark.parametrize(
    "code", [Code.FAILED_PRECONDITION, Code.UNAVAILABLE], ids=lambda code: code.name.lower()
)
async def test_of_a_refused_request_only_transient_failures_are_repeated(code: Code, rig: Rig) -> None:
    """What the error does not name has succeeded, and what failed for good is logged and dropped."""
    asked: list[list[str]] = []
    rig.fake.on_ack = refusing_first({"again": TRANSIENT, "never": PERMANENT}, asked, code=code)
    settlements = settlements_on(rig)
    with capture_logs() as logs:
        for ack_id in ("good", "again", "never"):
            settlements.ack(ack_id)
        await until(lambda: rig.fake.acked)
    assert asked == [["good", "again", "never"], ["again"]]
    assert [(entry["event"], entry["request"], entry["messages"]) for entry in logs] == [
        ("ack_rejected", "ack", 1)
    ]


async def test_returns_are_answered_one_by_one_too(rig: Rig) -> None:
    """A message whose lease was lost need not be handed back."""
    asked: list[list[str]] = []
    rig.fake.on_modify = refusing_first({"again": TRANSIENT, "never": PERMANENT}, asked)
    settlements = settlements_on(rig)
    for ack_id in ("never", "again"):
        settlements.hand_back(ack_id, 0)
    await until(lambda: rig.fake.returned() == ["again"])
    assert asked == [["never", "again"], ["again"]]


async def test_details_that_contradict_the_status_are_not_believed(rig: Rig) -> None:
    """Then the failure is the whole request's, which is repeated."""

    class ContradictionError(RefusalError):
        def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
            return RefusalError(Code.ABORTED, failures={"a": PERMANENT}).trailing_metadata()

    asked: list[list[str]] = []

    async def hook(request: Any) -> None:
        asked.append(list(request.ack_ids))
        if len(asked) == 1:
            raise ContradictionError(Code.UNAVAILABLE)

    rig.fake.on_ack = hook
    settlements_on(rig).ack("a")
    await until(lambda: rig.fake.acked == ["a"])


async def test_work_whose_lease_is_lost_is_cancelled_and_not_settled(rig: Rig) -> None:
    """Another worker has the message by then; the others' leases and work go on."""
    rig.fake.on_modify = refusing({"lost": PERMANENT})
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ordered=False, ack_deadline_s=1, budget=Budget(2))
    with capture_logs() as logs:
        server.send(received("lost"), received("kept"))
        await until(lambda: work.running == 1)
    assert {entry["event"] for entry in logs} == {"leases_lost", "work_cancelled"}
    assert rig.consumer._budget.held == 1
    work.gate.set()
    await until(lambda: rig.fake.acked == ["kept"])
    assert rig.fake.returned() == []
    await until(lambda: rig.consumer._budget.running == 0)


async def test_successors_of_a_lost_message_wait_for_it_to_come_again(rig: Rig) -> None:
    """They go back to the broker, and are refused until the lost one was there."""
    rig.fake.on_modify = refusing({"1": PERMANENT})
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ack_deadline_s=1, pulls=2)
    server.send(*(received(str(n), key="k", data=b"%d" % n) for n in (1, 2, 3)))
    await until(lambda: rig.fake.returned() == ["2", "3"])
    work.gate.set()
    server.send(received("2b", key="k", data=b"2", message_id="id-2"))
    await until(lambda: "2b" in [ack_id for ack_ids, _ in rig.fake.deadlines for ack_id in ack_ids])
    server.send(received("1b", key="k", data=b"1", message_id="id-1"))
    server.send(received("2c", key="k", data=b"2", message_id="id-2"))
    await until(lambda: rig.fake.acked == ["1b", "2c"])
    assert work.done == [b"1", b"2"]


async def test_a_lost_message_that_waits_for_its_retry_or_its_slot_is_forgotten(rig: Rig) -> None:
    """No timer and no slot brings it back."""
    rig.fake.on_modify = refusing({"queued": PERMANENT})
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ordered=False, ack_deadline_s=1, budget=Budget(1))
    server.send(received("runs", data=b"runs"), received("queued", data=b"queued"))
    await until(lambda: rig.consumer._budget.held == 1)
    work.gate.set()
    await until(lambda: rig.fake.acked == ["runs"])
    await asyncio.sleep(0.05)
    assert work.done == [b"runs"]


async def test_work_that_is_cancelled_before_it_began_gives_its_slot_back(rig: Rig) -> None:
    """Its task never runs, so nobody else would."""
    work = Work()
    await rig.start(work, budget=Budget(1))
    in_flight = rig.consumer._in_flight
    in_flight.accept([received("lost")], 1e9)
    in_flight.lose([*in_flight.held])
    assert (rig.consumer._budget.held, rig.consumer._budget.running) == (0, 0)
    rig.fake.send(received("next", data=b"next"))
    await until(lambda: rig.fake.acked == ["next"])
    assert work.started == [b"next"]
