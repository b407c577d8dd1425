"""The Pub/Sub publisher against a server that fails as the emulator cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError, MessageRefusedError
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.publishers.pubsub_limits import check_limits
from tests.fake_pubsub import FakePubsub, RefusalError, fake_pubsub
from tests.waiting import until

Code = grpc.StatusCode
Setup = tuple[FakePubsub, grpc.aio.Channel]


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Yield a fake server and a channel to it."""
    async with fake_pubsub() as pair:
        yield pair


def publisher_on(channel: grpc.aio.Channel, **options: Any) -> PubsubPublisher:
    """Make the publisher under test."""
    return PubsubPublisher(channel=channel, project="p", **options)


def message(data: bytes, key: str = "") -> Message:
    """Build a message to topic `t`."""
    return Message(topic="t", data=data, ordering_key=key)


def refusing(
    code: Code, details: str = "as the test says", *, only: bytes | None = None
) -> Callable[[Any], Any]:
    """Refuse every request, or those that contain the message `only`."""

    async def hook(request: Any) -> None:
        if only is None or any(each.data == only for each in request.messages):
            raise RefusalError(code, details)

    return hook


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=code.name.lower())
        for code in Code
        if code not in (Code.OK, Code.INVALID_ARGUMENT, Code.CANCELLED)
    ],
)
async def test_every_other_status_is_an_outage(code: Code, setup: Setup) -> None:
    """Only what is wrong with the message itself may count as permanent."""
    fake, channel = setup
    fake.on_publish = refusing(code)
    with pytest.raises(BusUnavailableError):
        await publisher_on(channel).publish(message(b"a"))


async def test_a_missing_topic_says_what_to_do(setup: Setup) -> None:
    """Whoever forgot to create the topics learns the command."""
    fake, channel = setup
    fake.on_publish = refusing(Code.NOT_FOUND)
    with pytest.raises(
        BusUnavailableError, match=r"projects/p/topics/t does not exist.*expert-bot topics apply"
    ):
        await publisher_on(channel).publish(message(b"a"))


@pytest.mark.parametrize(
    ("reason", "code", "details"),
    [
        pytest.param("message-refused", Code.INVALID_ARGUMENT, "bad attribute", id="invalid"),
        pytest.param(
            "payload-too-large",
            Code.RESOURCE_EXHAUSTED,
            "Received message larger than max (5 vs. 4)",
            id="large",
        ),
    ],
)
async def test_only_the_guilty_message_of_a_batch_is_refused(
    reason: str, code: Code, details: str, setup: Setup
) -> None:
    """A refused batch is sent again one by one: the others arrive, in order."""
    fake, channel = setup
    fake.on_publish = refusing(code, details, only=b"bad")
    publisher = publisher_on(channel)
    bodies = [b"a", b"b", b"bad", b"c"]
    results = await asyncio.gather(
        *(publisher.publish(message(body, "k")) for body in bodies), return_exceptions=True
    )
    assert fake.published == [[b"a"], [b"b"], [b"c"]]
    assert [results[0], results[1], results[3]] == ["1", "2", "3"]
    assert isinstance(results[2], MessageRefusedError)
    assert reason == results[2].reason


async def test_an_outage_amid_one_by_one_stops_that_key(setup: Setup) -> None:
    """Once a message of a key may be missing, later ones of the key do not overtake it; other keys go on."""
    fake, channel = setup

    async def hook(request: Any) -> None:
        bodies = [each.data for each in request.messages]
        if b"bad" in bodies:
            raise RefusalError(Code.INVALID_ARGUMENT)
        if b"lost" in bodies:
            raise RefusalError(Code.UNAVAILABLE)

    fake.on_publish = hook
    publisher = publisher_on(channel)
    sent = [message(b"bad", "k"), message(b"lost", "k"), message(b"later", "k"), message(b"other", "o")]
    results = await asyncio.gather(*map(publisher.publish, sent), return_exceptions=True)
    assert [MessageRefusedError, BusUnavailableError, BusUnavailableError, str] == [
        type(each) for each in results
    ]
    assert fake.published == [[b"other"]]


async def test_a_key_has_one_request_in_flight(setup: Setup) -> None:
    """While a key's request is unanswered its next message waits; other keys and unordered messages do not."""
    fake, channel = setup
    answer = asyncio.Event()

    async def hook(request: Any) -> None:
        if request.messages[0].data == b"a1":
            await answer.wait()

    fake.on_publish = hook
    publisher = publisher_on(channel, flush_after_s=0.0)
    first = asyncio.create_task(publisher.publish(message(b"a1", "a")))
    await until(lambda: publisher._topics and publisher._topics["t"]._requests)
    second = asyncio.create_task(publisher.publish(message(b"a2", "a")))
    await publisher.publish(message(b"b1", "b"))
    await publisher.publish(message(b"free"))
    assert fake.published == [[b"b1"], [b"free"]]
    answer.set()
    await asyncio.gather(first, second)
    assert fake.published[2:] == [[b"a1"], [b"a2"]]


async def test_a_successor_fails_with_its_predecessor(setup: Setup) -> None:
    """A waiting message of a key is not sent after its predecessor was lost: it would overtake the repetition."""
    fake, channel = setup
    answer = asyncio.Event()

    async def hook(request: Any) -> None:
        await answer.wait()
        if request.messages[0].data != b"1":
            return
        raise RefusalError(Code.UNAVAILABLE)

    fake.on_publish = hook
    publisher = publisher_on(channel, flush_after_s=0.0)
    first = asyncio.create_task(publisher.publish(message(b"1", "k")))
    await until(lambda: publisher._topics and publisher._topics["t"]._requests)
    second = asyncio.create_task(publisher.publish(message(b"2", "k")))
    await until(lambda: publisher._topics["t"]._waiting)
    answer.set()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [BusUnavailableError, BusUnavailableError] == [type(each) for each in results]
    assert results[0] is not results[1], "a shared exception collects both tracebacks"
    assert fake.published == []


@pytest.mark.parametrize(
    ("sizes", "count", "options"),
    [
        pytest.param([1000, 1000, 500], 2500, {}, id="at-most-a-thousand-messages"),
        pytest.param([2, 2, 1], 5, {"max_batch_bytes": 250}, id="at-most-so-many-bytes"),
        pytest.param([1, 1], 2, {"max_batch_bytes": 10}, id="one-too-big-goes-alone"),
    ],
)
async def test_batches_are_full_but_not_too_full(
    sizes: list[int], count: int, options: dict[str, int], setup: Setup
) -> None:
    """Messages published together share requests up to the limits of a request."""
    fake, channel = setup
    publisher = publisher_on(channel, **options)
    ids = await asyncio.gather(*(publisher.publish(message(b"x" * 100)) for _ in range(count)))
    assert sizes == sorted(map(len, fake.published), reverse=True)
    assert count == len(set(ids))


async def test_close_sends_what_is_buffered_and_takes_no_more(setup: Setup) -> None:
    """Nothing that was handed in before `close` is left behind."""
    fake, channel = setup
    publisher = publisher_on(channel, flush_after_s=3600)
    buffered = asyncio.create_task(publisher.publish(message(b"a")))
    await until(lambda: publisher._topics)
    await publisher.close()
    assert await buffered == "1"
    assert fake.published == [[b"a"]]
    await publisher.close()
    with pytest.raises(BusUnavailableError, match="closed"):
        await publisher.publish(message(b"b"))


async def test_a_message_nobody_waits_for_is_not_sent(setup: Setup) -> None:
    """A publish cancelled before its batch left never happens."""
    fake, channel = setup
    publisher = publisher_on(channel, flush_after_s=3600)
    given_up = asyncio.create_task(publisher.publish(message(b"given up")))
    kept = asyncio.create_task(publisher.publish(message(b"kept")))
    await until(lambda: publisher._topics and len(publisher._topics["t"]._waiting) == 2)
    given_up.cancel()
    await asyncio.wait({given_up})
    await publisher.close()
    await kept
    assert fake.published == [[b"kept"]]


async def test_a_channel_closed_under_a_request_fails_it(setup: Setup) -> None:
    """Nobody waits for ever for an answer that cannot come, before or after the channel is closed."""
    fake, channel = setup
    arrived = asyncio.Event()

    async def hook(_request: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    fake.on_publish = hook
    publisher = publisher_on(channel)
    waiting = asyncio.create_task(publisher.publish(message(b"a")))
    await arrived.wait()
    await channel.close()
    for publish in (waiting, publisher.publish(message(b"b")), publisher.ping()):
        with pytest.raises(BusUnavailableError):
            await publish


async def test_an_unanswered_request_fails_after_the_timeout(setup: Setup) -> None:
    """A frozen server costs `timeout_s`, not for ever."""
    fake, channel = setup
    fake.on_publish = lambda _request: asyncio.Event().wait()  # type: ignore[assignment, return-value] # never returns
    with pytest.raises(BusUnavailableError, match="DEADLINE_EXCEEDED"):
        await publisher_on(channel, timeout_s=0.1).publish(message(b"a"))


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.PERMISSION_DENIED], ids=lambda code: code.name.lower())
async def test_ping_needs_an_answer_not_a_right(code: Code, setup: Setup) -> None:
    """A publisher may have no right to look at topics: that Pub/Sub says so is an answer."""
    fake, channel = setup
    fake.on_get_topic = lambda _request: _raise(RefusalError(code))
    await publisher_on(channel).ping()


async def test_ping_tells_an_outage(setup: Setup) -> None:
    """What is not an answer is an outage."""
    fake, channel = setup
    fake.on_get_topic = lambda _request: _raise(RefusalError(Code.UNAVAILABLE))
    with pytest.raises(BusUnavailableError):
        await publisher_on(channel).ping()


@pytest.mark.parametrize(
    "too_much",
    [
        pytest.param({"data": b"x" * 10_000_001}, id="data"),
        pytest.param({"data": b""}, id="nothing-at-all"),
        pytest.param({"attributes": {f"a{n}": "" for n in range(101)}}, id="101-attributes"),
        pytest.param({"attributes": {"é" * 128 + "x": "v"}}, id="name-of-257-bytes"),
        pytest.param({"attributes": {"": "v"}}, id="empty-name"),
        pytest.param({"attributes": {"a": "é" * 512 + "x"}}, id="value-of-1025-bytes"),
        pytest.param({"attributes": {"googlike": "v"}}, id="reserved-name"),
        pytest.param({"ordering_key": "k" * 1025}, id="ordering-key"),
    ],
)
async def test_what_exceeds_a_limit_is_never_sent(too_much: dict[str, Any], setup: Setup) -> None:
    """Pub/Sub's limits are checked here, also those the emulator does not know."""
    fake, channel = setup
    with pytest.raises(MessageRefusedError):
        await publisher_on(channel).publish(Message(**({"topic": "t", "data": b"x"} | too_much)))
    assert fake.published == []


def test_what_just_keeps_every_limit_is_allowed() -> None:
    """The limits themselves are allowed."""
    attributes = {f"a{n}": "v" for n in range(98)} | {"é" * 128: "v", "a": "é" * 512}
    check_limits(Message(topic="t", data=b"x" * 10_000_000, attributes=attributes, ordering_key="k" * 1024))
    check_limits(Message(topic="t", data=b"", attributes={"a": ""}))


async def _raise(error: Exception) -> None:
    raise error
