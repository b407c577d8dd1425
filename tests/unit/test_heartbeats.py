"""One timer for all leases: renewals in time, work ended when its lease or its time is gone, nobody else's cancellation taken."""

from __future__ import annotations

import asyncio

import pytest

from expert_bot.errors import StoreUnavailableError
from expert_bot.inbox.heartbeats import Heartbeats, LeaseLostError
from tests.inbox_world import LEASE_S, SteppedLoop, advance, settle, stepped


class ScriptedLease:
    """Counts its renewals; each can be made to fail, or to wait for a gate."""

    def __init__(self, loop: SteppedLoop) -> None:
        self._loop = loop
        self.deadline = loop.now_s + LEASE_S
        self.renewals = 0
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.takes_s = 0.0

    async def extend(self) -> None:
        self.renewals += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        self.deadline = self._loop.now_s + LEASE_S


class World:
    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.heartbeats = Heartbeats(LEASE_S)
        self.lease = ScriptedLease(loop)
        self.done = asyncio.Event()

    async def work(self) -> str:
        await self.done.wait()
        return "done"

    def start(self, timeout_s: float = 3600.0) -> asyncio.Task[str]:
        return asyncio.create_task(self.heartbeats.run(self.lease, self.work(), timeout_s))


in_world = stepped(World)


@in_world
async def test_a_lease_is_renewed_at_every_third_of_it(world: World) -> None:
    """Ten leases long work: thirty renewals, give or take the ticks' coarseness, and never a lapse."""
    running = world.start()
    for _ in range(10 * 6):
        await advance(world.loop, LEASE_S / 6, step_s=0.5)
        assert world.lease.deadline > world.loop.now_s
    assert 25 <= world.lease.renewals <= 30
    world.done.set()
    assert await running == "done"


@in_world
async def test_work_is_cancelled_within_a_tick_of_a_lost_lease(world: World) -> None:
    """A renewal that is refused ends the work at once."""
    world.lease.failure = LeaseLostError("taken over")
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S / 3 + 0.5, step_s=0.5)
    with pytest.raises(LeaseLostError):
        await running
    assert world.lease.renewals == 1


@in_world
async def test_an_outage_is_survived_until_the_lease_is_over(world: World) -> None:
    """Unconfirmed renewals are repeated; once ownership cannot be shown any more, the work ends."""
    world.lease.failure, world.lease.takes_s = StoreUnavailableError("down"), 2.0
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S * 0.9, step_s=0.5)
    assert not running.done()
    await advance(world.loop, LEASE_S * 0.1 + 3, step_s=0.5)
    assert running.done(), "a renewal that failed must be tried again when the lease ends, not later"
    with pytest.raises(LeaseLostError):
        await running


@in_world
async def test_work_is_cancelled_when_its_renewal_hangs_until_the_lease_is_over(world: World) -> None:
    """A store that neither answers nor fails: the work must not outlive the lease."""
    world.lease.gate = asyncio.Event()
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S + 0.5, step_s=0.5)
    with pytest.raises(LeaseLostError):
        await running
    assert world.lease.renewals == 1


@in_world
async def test_work_over_its_time_is_cancelled(world: World) -> None:
    """TimeoutError within a tick, and the next piece of work is watched again."""
    running = world.start(timeout_s=3.0)
    await settle()
    await advance(world.loop, 2.9, step_s=0.1)
    assert not running.done()
    await advance(world.loop, 0.7, step_s=0.1)
    with pytest.raises(TimeoutError):
        await running
    await advance(world.loop, 5)
    again = world.start(timeout_s=3.0)
    await settle()
    await advance(world.loop, 4)
    with pytest.raises(TimeoutError):
        await again


@in_world
async def test_somebody_elses_cancellation_stays_a_cancellation(world: World) -> None:
    """A drain that cancels a task whose time is up as well must see it cancelled, not timed out."""
    running = world.start(timeout_s=1.0)
    await settle()
    world.loop.now_s += 2.0
    running.cancel()
    await settle()
    assert running.cancelled()


@in_world
async def test_a_caught_timeout_leaves_the_task_uncancelled(world: World) -> None:
    """Whoever handles the timeout goes on: the cancellation that ended the work is taken back."""

    async def go_on() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            await world.heartbeats.run(world.lease, world.work(), 1.0)
        await asyncio.sleep(0)
        return task.cancelling()

    running = asyncio.create_task(go_on())
    await settle()
    await advance(world.loop, 2)
    assert await running == 0


@in_world
async def test_work_that_ends_during_a_renewal_waits_for_it(world: World) -> None:
    """The document's version is in flight: it must be known before anything else is written."""
    world.lease.gate = asyncio.Event()
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S / 2, step_s=0.5)
    world.done.set()
    await settle()
    assert not running.done()
    world.lease.gate.set()
    assert await running == "done"


@in_world
async def test_work_that_ends_does_not_wait_for_a_hanging_renewal_past_its_lease(world: World) -> None:
    """Then ownership can no longer be shown, and the result counts for nothing."""
    world.lease.gate = asyncio.Event()
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S / 2, step_s=0.5)
    world.done.set()
    await advance(world.loop, LEASE_S, step_s=0.5)
    with pytest.raises(LeaseLostError):
        await running


@in_world
async def test_a_lease_is_renewed_in_time_by_work_that_begins_late_in_it(world: World) -> None:
    """The beat counts from the last renewal, not from the beginning of this piece of work."""
    world.loop.now_s += LEASE_S - 3
    running = world.start()
    await settle()
    await advance(world.loop, 1, step_s=0.5)
    assert world.lease.renewals == 1
    world.done.set()
    await running


@in_world
async def test_work_that_ends_during_a_renewal_that_fails_is_discarded(world: World) -> None:
    """The result of a worker that was taken over counts for nothing."""
    world.lease.gate, world.lease.failure = asyncio.Event(), LeaseLostError("taken over")
    running = world.start()
    await settle()
    await advance(world.loop, LEASE_S / 2, step_s=0.5)
    world.done.set()
    await settle()
    world.lease.gate.set()
    with pytest.raises(LeaseLostError):
        await running


@in_world
async def test_an_idle_process_has_no_timer(world: World) -> None:
    """The timer runs out with the last work, and starts with the next."""
    running = world.start()
    await settle()
    world.done.set()
    await running
    await advance(world.loop, LEASE_S)
    assert world.lease.renewals == 0
    assert not [handle for handle in world.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]  # asyncio's own list
