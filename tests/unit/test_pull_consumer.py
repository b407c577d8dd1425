"""The pull consumer against a server that fails as the emulator cannot: streams, budget, order, outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull import Polling, PullConsumer
from expert_bot.delivery import Ack, DeadLetter, Retry
from tests.fake_pubsub import received
from tests.unit.pull_rig import Rig, Work, pull_rig
from tests.waiting import until

Code = grpc.StatusCode


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Yield a rig without a consumer yet."""
    async with pull_rig() as rig:
        yield rig


@pytest.mark.parametrize("code", [pytest.param(code, id=code.name.lower()) for code in Code])
async def test_a_pull_is_opened_again_whatever_ended_it(code: Code, rig: Rig) -> None:
    """No status ends consuming, not even on the only pull."""
    work = Work()
    server = await rig.start(work)
    server.send(received("1", data=b"before"))
    server.fail(code)
    server.send(received("2", data=b"after"))
    await until(lambda: work.done == [b"before", b"after"])


async def test_a_pull_asks_for_what_there_is_room_for(rig: Rig) -> None:
    """An idle pull asks for few, because a dead worker's would keep them; a busy one for what the budget has left."""
    work = Work()
    server = await rig.start(work, budget=Budget(60))
    server.send(*(received(f"a{n}") for n in range(10)))
    await until(lambda: len(server.pulls) == 2)
    server.send(*(received(f"b{n}") for n in range(40)))
    await until(lambda: len(server.pulls) == 3 and len(rig.fake.acked) == 50)
    work.gate.clear()
    server.send(*(received(f"c{n}") for n in range(50)))
    await until(lambda: len(server.pulls) == 4)
    assert [request.max_messages for request in server.pulls] == [10, 20, 20, 10]
    assert {request.subscription for request in server.pulls} == {"projects/p/subscriptions/s"}
    work.gate.set()


async def test_repeated_trouble_is_logged_once_and_so_is_its_end(rig: Rig) -> None:
    """An outage is two lines in the log, not one per attempt."""
    with capture_logs() as logs:
        work = Work()
        server = await rig.start(work)
        for _ in range(3):
            server.fail(Code.UNAVAILABLE)
        server.send(received("1"))
        await until(lambda: work.done)
    assert [entry["event"] for entry in logs] == ["pull_interrupted", "pull_resumed"]
    assert len(server.pulls) >= 4


async def test_a_delivery_carries_what_the_broker_told(rig: Rig) -> None:
    """Attempts are passed on where the broker counts them, and are None where it does not."""
    work = Work()
    server = await rig.start(work, ordered=False)
    server.send(received("1", data=b"a", key="k", attempt=5), received("2", data=b"b"))
    await until(lambda: len(work.done) == 2)
    first, second = work.deliveries
    assert (first.subscription, first.message_id, first.ordering_key) == ("s", "id-1", "k")
    assert (first.attempt, second.attempt) == (5, None)
    assert first.published_at is not None
    assert first.deadline_s is not None


@pytest.mark.parametrize(
    ("acked", "returned_after_s", "answer"),
    [
        pytest.param(True, None, Ack(), id="ack"),
        pytest.param(True, None, DeadLetter("unknown-type"), id="dead-letter"),
        pytest.param(False, 42, Retry(41.2, "busy"), id="retry-after-a-while"),
        pytest.param(False, 600, Retry(99_999.0, "down"), id="retry-beyond-what-pubsub-can"),
        pytest.param(False, 10, KeyError("bug"), id="exception"),
        pytest.param(False, 10, None, id="no-outcome"),
    ],
)
async def test_an_outcome_settles_its_message(
    *, acked: bool, returned_after_s: int | None, answer: Any, rig: Rig
) -> None:
    """Only Ack and DeadLetter acknowledge; everything else makes the broker deliver again, never too late."""
    server = await rig.start(Work({b"m": [answer]}), ordered=False)
    server.send(received("1", data=b"m"), received("2", data=b"other"))
    await until(lambda: "2" in rig.fake.acked and (acked or rig.fake.deadlines))
    assert ("1" in rig.fake.acked) is acked
    assert rig.fake.deadlines == ([] if returned_after_s is None else [(["1"], returned_after_s)])


async def test_a_short_retry_is_waited_out_here(rig: Rig) -> None:
    """It costs none of the broker's delivery attempts, and others pass it by."""
    work = Work({b"m": [Retry(0.05, "busy"), Retry(-1.0, "busy")]})
    server = await rig.start(work, ordered=False)
    server.send(received("1", data=b"m"), received("2", data=b"other"))
    await until(lambda: "1" in rig.fake.acked)
    assert work.done == [b"m", b"other", b"m", b"m"]
    assert rig.fake.deadlines == []


async def test_waiting_retries_never_take_the_whole_budget(rig: Rig) -> None:
    """When half of the budget waits for retries, further ones go back to the broker and the rest keeps flowing."""
    retries = [b"r1", b"r2", b"r3"]
    server = await rig.start(
        Work({data: [Retry(20.0, "down")] for data in retries}), ordered=False, budget=Budget(4)
    )
    server.send(*(received(data.decode(), data=data) for data in retries))
    await until(lambda: rig.fake.deadlines == [(["r3"], 20)])
    server.send(received("good"))
    await until(lambda: rig.fake.acked == ["good"])


async def test_the_budget_bounds_what_runs_and_what_is_read(rig: Rig) -> None:
    """More than the budget in one response waits here; the next response is not even read."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work, budget=Budget(5))
    for response in range(3):
        server.send(*(received(f"{response}-{n}") for n in range(20)))
    await until(lambda: work.running == 5)
    assert len(rig.consumer._in_flight.held) == 20
    work.gate.set()
    await until(lambda: len(rig.fake.acked) == 60)
    assert work.most_running == 5


async def test_the_budget_counts_bytes_too(rig: Rig) -> None:
    """Few large messages stop the reading like many small ones, and one larger than the budget still comes through."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work, budget=Budget(500, 1000))
    for n in range(3):
        server.send(received(str(n), data=b"x" * 1001))
    await until(lambda: work.running == 1)
    assert len(rig.consumer._in_flight.held) == 1
    work.gate.set()
    await until(lambda: rig.fake.acked == ["0", "1", "2"])


async def test_two_subscriptions_share_one_budget(rig: Rig) -> None:
    """Never more handlers at once than it says, over both, and a slot of one serves the other."""
    work, budget = Work(), Budget(4)
    work.gate.clear()
    other = PullConsumer(
        channel=rig.channel, project="p", subscription="other", process=work, budget=budget, pulls=1
    )
    await rig.start(work, budget=budget)
    running = asyncio.create_task(other.run())
    await until(lambda: rig.fake.open_pulls == 2)
    for response in range(2):
        rig.fake.send(*(received(f"{response}-{n}") for n in range(10)))
    await until(lambda: work.running == 4 and budget.held == 20)
    work.gate.set()
    await until(lambda: len(rig.fake.acked) == 20)
    assert work.most_running == 4
    assert {delivery.subscription for delivery in work.deliveries} == {"s", "other"}
    await other.drain(0.0)
    await running
    assert (budget.held, budget.running) == (0, 0)


async def test_a_drained_consumer_leaves_its_slots_to_the_others(rig: Rig) -> None:
    """Also those of work that had not begun, or was cancelled."""
    work, budget = Work(), Budget(2)
    work.gate.clear()
    other = PullConsumer(
        channel=rig.channel, project="p", subscription="other", process=work, budget=budget, pulls=1
    )
    running = asyncio.create_task(other.run())
    await until(lambda: rig.fake.open_pulls == 1)
    rig.fake.send(*(received(f"other-{n}") for n in range(5)))
    await until(lambda: work.running == 2)
    await rig.start(work, budget=budget, pulls=0)
    rig.consumer._in_flight.accept([received("mine", data=b"mine")], 1e9)
    await other.drain(0.0)
    await running
    await until(lambda: work.running == 1 and work.started[-1] == b"mine")
    work.gate.set()
    await until(lambda: rig.fake.acked == ["mine"])
    assert sorted(rig.fake.returned()) == [f"other-{n}" for n in range(5)]


async def test_a_key_runs_one_by_one_in_order_across_retries_and_failures(rig: Rig) -> None:
    """The head is tried again in place; its successors, also from later responses, wait behind it."""
    work = Work({b"a1": [Retry(0.05, "busy")], b"a2": [Retry(0.01, "busy")]})
    server = await rig.start(work)
    server.send(received("1", key="a", data=b"a1"), received("2", key="b", data=b"b1"))
    server.send(received("3", key="a", data=b"a2"), received("4", key="a", data=b"a3"))
    await until(lambda: len(rig.fake.acked) == 4)
    assert [data for data in work.done if data.startswith(b"a")] == [b"a1", b"a1", b"a2", b"a2", b"a3"]
    assert work.done.index(b"b1") < 2
    assert rig.consumer._in_flight._keys == {}


async def test_an_unordered_subscription_runs_messages_of_a_key_together(rig: Rig) -> None:
    """Without ordering on the subscription a key means nothing to the consumer."""
    work = Work()
    work.gate.clear()
    server = await rig.start(work, ordered=False)
    server.send(received("1", key="a"), received("2", key="a"))
    await until(lambda: work.running == 2)
    work.gate.set()


async def test_acknowledgements_travel_together(rig: Rig) -> None:
    """Many messages are settled by few requests, each within Pub/Sub's size."""
    server = await rig.start(Work(), budget=Budget(5000))
    server.send(*(received(str(n)) for n in range(2500)))
    await until(lambda: len(rig.fake.acked) == 2500)
    assert max(map(len, rig.fake.acks)) <= 1000
    assert len(rig.fake.acks) < 50
    assert len(set(rig.fake.acked)) == 2500


async def test_a_channel_closed_under_a_consumer_ends_its_run(rig: Rig) -> None:
    """Nobody can consume over a closed channel: `run` fails loudly instead of waiting for ever."""
    await rig.start(Work())
    await rig.channel.close()
    with pytest.raises(BaseExceptionGroup, match="TaskGroup"):
        await rig.running  # type: ignore[misc] # started above


async def test_answers_end_a_stall(rig: Rig) -> None:
    """Whatever the broker answers counts; while it only refuses, the stall grows."""
    work = Work()
    rig.fake.on_ack = lambda _request: asyncio.Event().wait()  # type: ignore[assignment, return-value] # never returns
    server = await rig.start(work)
    await until(lambda: rig.consumer.stalled_for_s() > 0.2)
    server.send(received("1"))
    await until(lambda: rig.consumer.stalled_for_s() < 0.2)
    server.fail(Code.PERMISSION_DENIED)
    await until(lambda: rig.consumer.stalled_for_s() > 0.5)


async def test_an_open_pull_on_a_live_connection_is_no_stall(rig: Rig) -> None:
    """An idle broker says nothing for a minute and more, and that is well."""
    await rig.start(Work())
    await until(lambda: rig.consumer.stalled_for_s() > 0.5)
    await until(lambda: rig.consumer.stalled_for_s() == 0.0)


async def test_a_broker_that_lets_pulls_run_into_their_deadline_has_stalled_since_they_were_opened(
    rig: Rig,
) -> None:
    """Open pulls no longer count then, however live the connection; the next answer ends it."""
    with capture_logs() as logs:
        server = await rig.start(Work(), polling=Polling(busy_s=3.0, idle_s=3.0, end_within_s=0.6))
        await until(lambda: logs)
        assert (logs[0]["event"], logs[0]["status"]) == ("pull_interrupted", "DEADLINE_EXCEEDED")
        assert rig.consumer.stalled_for_s() >= 3.0
        await until(lambda: rig.consumer.stalled_for_s() > 5.5)
        server.fail(Code.OK)
        await until(lambda: rig.consumer.stalled_for_s() < 1.0)


async def test_a_broker_that_ends_an_idle_pull_as_exceeded_has_answered(rig: Rig) -> None:
    """DEADLINE_EXCEEDED before our own deadline is a way to say that nothing came."""
    with capture_logs() as logs:
        server = await rig.start(Work())
        await until(lambda: rig.consumer.stalled_for_s() > 0.2)
        server.fail(Code.DEADLINE_EXCEEDED)
        await until(lambda: len(server.pulls) == 2)
        assert rig.consumer.stalled_for_s() < 0.2
    assert logs == []
