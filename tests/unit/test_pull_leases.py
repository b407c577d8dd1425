"""The pull consumer against a server that fails as the emulator cannot: leases, settlements, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from expert_bot.consumers.backoff import jittered_delays
from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull import PullConsumer
from expert_bot.consumers.pull_settlements import Extension, Settlements
from expert_bot.delivery import Ack, Delivery, Outcome, Retry
from tests.fake_pubsub import RefusalError, received
from tests.unit.pull_rig import Rig, Work, pull_rig
from tests.waiting import until

Code = grpc.StatusCode


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Yield a rig without a consumer yet."""
    async with pull_rig() as rig:
        yield rig


def failing_first(times: int, code: Code) -> Callable[[Any], Any]:
    """Refuse the first requests with a status, then accept."""
    left = times

    async def hook(_request: Any) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise RefusalError(code)

    return hook


def settlements_on(rig: Rig, **options: Any) -> Settlements:
    """Make the settlements under test, without a consumer."""
    return Settlements(
        channel=rig.channel, path="projects/p/subscriptions/s", on_answer=lambda: None, **options
    )


@pytest.mark.parametrize(
    "code",
    [
        Code.UNAVAILABLE,
        Code.ABORTED,
        Code.RESOURCE_EXHAUSTED,
        Code.INTERNAL,
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
    ],
    ids=lambda code: code.name.lower(),
)
async def test_settlements_are_repeated_while_the_broker_is_away(code: Code, rig: Rig) -> None:
    """An acknowledgement or return that failed for a moment still arrives."""
    rig.fake.on_ack = failing_first(2, code)
    rig.fake.on_modify = failing_first(1, code)
    settlements = settlements_on(rig)
    settlements.ack("a")
    settlements.hand_back("b", 30)
    await until(lambda: rig.fake.acked == ["a"] and rig.fake.deadlines == [(["b"], 30)])


@pytest.mark.parametrize(
    ("code", "patience_s"),
    [
        pytest.param(Code.PERMISSION_DENIED, 60.0, id="permanent"),
        pytest.param(Code.NOT_FOUND, 60.0, id="subscription-deleted"),
        pytest.param(Code.UNAVAILABLE, 0.01, id="away-for-too-long"),
    ],
)
async def test_hopeless_settlements_are_given_up_and_logged(code: Code, patience_s: float, rig: Rig) -> None:
    """The message comes again by itself; repeating for ever would only hold memory."""
    rig.fake.on_ack = failing_first(1, code)
    settlements = settlements_on(rig, give_up_after_s=patience_s)
    with capture_logs() as logs:
        settlements.ack("lost")
        await until(lambda: logs)
    assert (logs[0]["event"], logs[0]["status"]) == ("settlements_given_up", code.name)
    settlements.ack("next")
    await until(lambda: rig.fake.acked == ["next"])


async def test_an_extension_never_overtakes_a_return(rig: Rig) -> None:
    """A return waits for the extension on its way, and an extension leaves out what was returned before it left."""
    arrived: list[tuple[list[str], int]] = []
    answer = asyncio.Event()

    async def hook(request: Any) -> None:
        arrived.append((list(request.ack_ids), request.ack_deadline_seconds))
        await answer.wait()

    rig.fake.on_modify = hook
    settlements = settlements_on(rig)
    held = ["a", "b"]
    confirmed = Extension(confirmed=True)
    extensions = [asyncio.create_task(settlements.extend(lambda: list(held), 60)) for _ in range(2)]
    await until(lambda: arrived)
    held.remove("a")
    settlements.hand_back("a", 0)
    for ack_id in ("flushed with the return", "and after it"):
        settlements.ack(ack_id)
        await until(lambda ack_id=ack_id: ack_id in rig.fake.acked)
    assert arrived == [(["a", "b"], 60)]
    answer.set()
    assert await asyncio.gather(*extensions) == [confirmed, confirmed]
    await settlements.close(5.0)
    assert arrived == [(["a", "b"], 60), (["b"], 60), (["a"], 0)]


async def test_leases_of_everything_held_are_extended_together(rig: Rig) -> None:
    """One request before expiry extends what runs and what waits behind it; a failed one is repeated in time."""
    rig.fake.on_modify = failing_first(1, Code.UNAVAILABLE)
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ack_deadline_s=2, budget=Budget(2))
    server.send(*(received(f"k{n}", key="k") for n in range(3)), received("free"), received("ready"))
    await until(lambda: len(rig.fake.deadlines) == 3)
    assert rig.fake.deadlines == [(["k0", "k1", "k2", "free", "ready"], 2)] * 3
    work.gate.set()
    await until(lambda: len(rig.fake.acked) == 5)


@pytest.mark.parametrize("ack_deadline_s", [10, 300])
async def test_what_outlives_a_moment_gets_our_deadline_whatever_the_subscription_gives(
    ack_deadline_s: int, rig: Rig
) -> None:
    """That is what a killed worker leaves behind; what is settled at once costs no request."""
    gate = asyncio.Event()

    async def process(delivery: Delivery) -> Outcome:
        if delivery.data == b"slow":
            await gate.wait()
        return Ack()

    server = await rig.start(process, ordered=False, ack_deadline_s=ack_deadline_s)
    server.send(received("quick"), received("slow", data=b"slow"))
    await until(lambda: rig.fake.deadlines == [(["slow"], ack_deadline_s)], within_s=2.0)
    gate.set()
    await until(lambda: sorted(rig.fake.acked) == ["quick", "slow"])


async def test_work_beyond_the_longest_extension_is_cancelled(rig: Rig) -> None:
    """A handler that hangs loses its message, which comes again; the others are not touched."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ordered=False, ack_deadline_s=1, max_extension_s=0.2)
    server.send(received("hangs"))
    await until(lambda: rig.fake.returned(10) == ["hangs"])
    assert work.running == 0
    work.gate.set()
    server.send(received("good"))
    await until(lambda: rig.fake.acked == ["good"])


async def test_drain_waits_for_work_and_hands_back_what_waits(rig: Rig) -> None:
    """Waiting messages go back at once; the successors of a running one as soon as this ends, in order."""
    gates = {b"keyed": asyncio.Event(), b"free": asyncio.Event()}
    running: list[bytes] = []

    async def process(delivery: Delivery) -> Outcome:
        running.append(delivery.data)
        if delivery.data == b"retry":
            return Retry(20.0, "down")
        await gates[delivery.data].wait()
        return Ack()

    server = await rig.start(process, budget=Budget(2))
    server.send(received("retry", data=b"retry"))
    await until(lambda: rig.consumer._budget.waiting_out)
    server.send(
        *(received(f"k{n}", key="k", data=b"keyed") for n in range(1, 4)),
        received("free", data=b"free"),
        received("ready", data=b"free"),
    )
    await until(lambda: len(running) == 3)
    draining = asyncio.create_task(rig.consumer.drain(30.0))
    await until(lambda: rig.fake.returned() == ["retry", "ready"])
    gates[b"keyed"].set()
    await until(lambda: rig.fake.returned() == ["retry", "ready", "k2", "k3"])
    gates[b"free"].set()
    await draining
    assert sorted(rig.fake.acked) == ["free", "k1"]
    assert len(running) == 3


async def test_drain_cancels_what_outlasts_its_grace(rig: Rig) -> None:
    """Running work is cancelled and handed back with everything behind it, in order, by the time drain returns."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work)
    server.send(*(received(f"k{n}", key="k") for n in range(3)), received("free"))
    await until(lambda: work.running == 2)
    await asyncio.gather(rig.consumer.drain(0.05), rig.consumer.drain(99.0))
    assert work.running == 0
    assert sorted(rig.fake.returned()) == ["free", "k0", "k1", "k2"]
    assert [ack_id for ack_id in rig.fake.returned() if ack_id.startswith("k")] == ["k0", "k1", "k2"]
    assert rig.fake.acked == []
    await rig.consumer.drain(0.0)


async def test_drain_is_not_held_up_by_work_that_ignores_its_cancellation(rig: Rig) -> None:
    """Such work is left behind: its message goes back, and what it answers later is not sent."""
    let_go = asyncio.Event()
    ended: list[str] = []

    async def stubborn(delivery: Delivery) -> Outcome:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        ended.append(delivery.message_id)
        return Ack()

    server = await rig.start(stubborn)
    server.send(received("1"))
    await until(lambda: rig.consumer._budget.running)
    await rig.consumer.drain(0.0)
    assert rig.fake.returned() == ["1"]
    let_go.set()
    await until(lambda: ended)
    await asyncio.sleep(0.05)
    assert rig.fake.acked == []


async def test_what_a_pull_is_being_given_while_draining_is_handed_back(rig: Rig) -> None:
    """A pull may end: its messages would be leased to nobody."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work, pulls=2)
    server.send(received("0"))
    await until(lambda: work.running == 1 and rig.fake.open_pulls == 2)
    draining = asyncio.create_task(rig.consumer.drain(0.0))
    await until(lambda: work.running == 0)
    assert rig.fake.deadlines == [], "our own pulls would be given them again"
    server.send(received("1"), received("2", key="k"))
    server.send(received("3"))
    await draining
    assert rig.fake.deadlines == [(["0", "1", "2", "3"], 0)]
    assert work.running == 0


async def test_draining_cancels_pulls_that_do_not_end(rig: Rig) -> None:
    """A pull that nothing comes for is not waited for much longer, and no other is opened."""
    await rig.start(Work(), pulls=3)
    started_at = asyncio.get_running_loop().time()
    await rig.consumer.drain(5.0)
    assert asyncio.get_running_loop().time() - started_at < 2.0
    await until(lambda: rig.fake.open_pulls == 0)
    assert len(rig.fake.pulls) == 3


async def test_a_cancelled_run_hands_back_too(rig: Rig) -> None:
    """Whoever cancels `run` instead of draining loses no message either."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work)
    server.send(received("1"))
    await until(lambda: work.running == 1)
    assert rig.running is not None
    rig.running.cancel()
    await asyncio.wait({rig.running})
    assert rig.running.cancelled()
    assert rig.fake.returned() == ["1"]


async def test_a_consumer_drained_before_it_ran_does_nothing(rig: Rig) -> None:
    """A SIGTERM during start is safe."""
    consumer = PullConsumer(channel=rig.channel, project="p", subscription="s", process=Work())
    await consumer.drain(1.0)
    await consumer.run()
    assert rig.fake.pulls == []


def test_delays_double_up_to_the_longest_and_scatter() -> None:
    """Each delay lies between half and all of its step."""
    delays = jittered_delays(1.0, 5.0)
    steps = [1.0, 2.0, 4.0, 5.0, 5.0]
    assert all(step / 2 <= delay <= step for step, delay in zip(steps, delays, strict=False))
