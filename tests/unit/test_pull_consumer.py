"""The pull consumer against a server that fails as the emulator cannot: streams, budget, order, outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

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
async def test_a_stream_is_opened_again_whatever_ended_it(code: Code, rig: Rig) -> None:
    """No status ends consuming, and the same client id tells the broker who is back."""
    work = Work()
    stream = await rig.start(work)
    stream.send(received("1", data=b"before"))
    stream.end(code)
    await until(lambda: len(rig.fake.streams) == 2 and rig.fake.streams[1].requests)
    rig.fake.streams[1].send(received("2", data=b"after"))
    await until(lambda: work.done == [b"before", b"after"])
    first, second = (stream.requests[0] for stream in rig.fake.streams)
    assert first.client_id == second.client_id
    assert first.client_id


async def test_the_broker_is_asked_for_no_more_than_the_budget(rig: Rig) -> None:
    """The streams together may have the budget outstanding, and a stream can always take the largest message."""
    await rig.start(Work(), streams=4, max_in_flight=10, max_in_flight_bytes=1, ack_deadline_s=77)
    await until(lambda: len(rig.fake.streams) == 4 and all(each.requests for each in rig.fake.streams))
    first = [stream.requests[0] for stream in rig.fake.streams]
    assert {request.max_outstanding_messages for request in first} == {3}
    assert min(request.max_outstanding_bytes for request in first) > 10_000_000
    assert {request.stream_ack_deadline_seconds for request in first} == {77}
    assert {request.subscription for request in first} == {"projects/p/subscriptions/s"}
    assert len({request.client_id for request in first}) == 4


async def test_repeated_trouble_is_logged_once_and_so_is_its_end(rig: Rig) -> None:
    """An outage is two lines in the log, not one per attempt."""
    with capture_logs() as logs:
        work = Work()
        await rig.start(work)
        for attempt in range(3):
            await until(lambda attempt=attempt: len(rig.fake.streams) == attempt + 1)
            rig.fake.streams[attempt].end(Code.UNAVAILABLE)
        await until(lambda: len(rig.fake.streams) == 4)
        rig.fake.streams[3].send(received("1"))
        await until(lambda: work.done)
    assert [entry["event"] for entry in logs] == ["pull_interrupted", "pull_resumed"]


async def test_idle_streams_show_that_they_are_alive(rig: Rig) -> None:
    """An empty request goes out now and then, also after a reconnect."""
    stream = await rig.start(Work(), heartbeat_s=0.02)
    await until(lambda: len(stream.requests) > 2)
    stream.end(Code.UNAVAILABLE)
    await until(lambda: len(rig.fake.streams) == 2 and len(rig.fake.streams[1].requests) > 1)
    assert not rig.fake.streams[1].requests[1].subscription


async def test_a_delivery_carries_what_the_broker_told(rig: Rig) -> None:
    """Attempts are passed on where the broker counts them, and are None where it does not."""
    work = Work()
    stream = await rig.start(work, ordered=False)
    stream.send(received("1", data=b"a", key="k", attempt=5), received("2", data=b"b"))
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
    stream = await rig.start(Work({b"m": [answer]}), ordered=False)
    stream.send(received("1", data=b"m"), received("2", data=b"other"))
    await until(lambda: "2" in rig.fake.acked and (acked or rig.fake.deadlines))
    assert ("1" in rig.fake.acked) is acked
    assert rig.fake.deadlines == ([] if returned_after_s is None else [(["1"], returned_after_s)])


async def test_a_short_retry_is_waited_out_here(rig: Rig) -> None:
    """It costs none of the broker's delivery attempts, and others pass it by."""
    work = Work({b"m": [Retry(0.05, "busy"), Retry(-1.0, "busy")]})
    stream = await rig.start(work, ordered=False)
    stream.send(received("1", data=b"m"), received("2", data=b"other"))
    await until(lambda: "1" in rig.fake.acked)
    assert work.done == [b"m", b"other", b"m", b"m"]
    assert rig.fake.deadlines == []


async def test_waiting_retries_never_take_the_whole_budget(rig: Rig) -> None:
    """When half of the budget waits for retries, further ones go back to the broker and the rest keeps flowing."""
    retries = [b"r1", b"r2", b"r3"]
    stream = await rig.start(
        Work({data: [Retry(20.0, "down")] for data in retries}), ordered=False, max_in_flight=4
    )
    stream.send(*(received(data.decode(), data=data) for data in retries))
    await until(lambda: rig.fake.deadlines == [(["r3"], 20)])
    stream.send(received("good"))
    await until(lambda: rig.fake.acked == ["good"])


async def test_the_budget_bounds_what_runs_and_what_is_read(rig: Rig) -> None:
    """More than the budget in one response waits here; the next response is not even read."""
    work = Work()
    work.gate.clear()
    stream = await rig.start(work, max_in_flight=5)
    for response in range(3):
        stream.send(*(received(f"{response}-{n}") for n in range(20)))
    await until(lambda: work.running == 5)
    assert len(rig.consumer._in_flight._held) == 20
    work.gate.set()
    await until(lambda: len(rig.fake.acked) == 60)
    assert work.most_running == 5


async def test_the_budget_counts_bytes_too(rig: Rig) -> None:
    """Few large messages stop the reading like many small ones, and one larger than the budget still comes through."""
    work = Work()
    work.gate.clear()
    stream = await rig.start(work, max_in_flight_bytes=1000)
    for n in range(3):
        stream.send(received(str(n), data=b"x" * 1001))
    await until(lambda: work.running == 1)
    assert len(rig.consumer._in_flight._held) == 1
    work.gate.set()
    await until(lambda: rig.fake.acked == ["0", "1", "2"])


async def test_a_key_runs_one_by_one_in_order_across_retries_and_failures(rig: Rig) -> None:
    """The head is tried again in place; its successors, also from later responses, wait behind it."""
    work = Work({b"a1": [Retry(0.05, "busy")], b"a2": [Retry(0.01, "busy")]})
    stream = await rig.start(work)
    stream.send(received("1", key="a", data=b"a1"), received("2", key="b", data=b"b1"))
    stream.send(received("3", key="a", data=b"a2"), received("4", key="a", data=b"a3"))
    await until(lambda: len(rig.fake.acked) == 4)
    assert [data for data in work.done if data.startswith(b"a")] == [b"a1", b"a1", b"a2", b"a2", b"a3"]
    assert work.done.index(b"b1") < 2
    assert rig.consumer._in_flight._keys == {}


async def test_an_unordered_subscription_runs_messages_of_a_key_together(rig: Rig) -> None:
    """Without ordering on the subscription a key means nothing to the consumer."""
    work = Work()
    work.gate.clear()
    stream = await rig.start(work, ordered=False)
    stream.send(received("1", key="a"), received("2", key="a"))
    await until(lambda: work.running == 2)
    work.gate.set()


async def test_acknowledgements_travel_together(rig: Rig) -> None:
    """Many messages are settled by few requests, each within Pub/Sub's size."""
    stream = await rig.start(Work(), max_in_flight=5000)
    stream.send(*(received(str(n)) for n in range(2500)))
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
    stream = await rig.start(work)
    await until(lambda: rig.consumer.stalled_for_s() > 0.2)
    stream.send(received("1"))
    await until(lambda: rig.consumer.stalled_for_s() < 0.2)
    stream.end(Code.PERMISSION_DENIED)
    await until(lambda: rig.consumer.stalled_for_s() > 0.5)
