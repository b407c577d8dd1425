"""The typed client: requests checked before they leave, replies matched to whoever awaits them, order kept through outages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.errors import BusUnavailableError, MalformedEventError, MessageRefusedError, UsageError
from expert_bot.publishers import NoReplyError, RequestClient, RequestFailedError
from expert_bot.publishers.pubsub_limits import check_limits
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatRequested, ChatResponded
from expert_bot.storage.system_clock import SystemClock
from tests.waiting import until

QUESTION = ChatRequested(message="¿Cuánto consumí ayer?", user_id="user-ana", source="energy_ia_api")
RESPONDED, FAILED = FAMILY.replies[0], FAMILY.failed


class Bus:
    """A bus in memory: requests are recorded, replies are delivered to every listener."""

    def __init__(self) -> None:
        self.requests: list[CloudEvent] = []
        self.outages: dict[str, int] = {}
        self.subscriptions: dict[str, str] = {}
        self.deleted: list[str] = []
        self.listeners: list[Callable[[Delivery], Awaitable[Outcome]]] = []
        self.answers: Callable[[CloudEvent], CloudEvent | None] = lambda _: None

    async def publish(self, message: Message) -> str:
        check_limits(message)
        event = pubsub.decode(message.attributes, message.data)
        text = json.loads(event.data)["message"]
        await asyncio.sleep(0)
        if self.outages.get(text, 0) > 0:
            self.outages[text] -= 1
            raise BusUnavailableError("down")
        self.requests.append(event)
        if (reply := self.answers(event)) is not None:
            await self.deliver(reply)
        return str(len(self.requests))

    async def deliver(self, reply: CloudEvent) -> None:
        message = pubsub.encode_binary(reply, FAMILY.reply_topic)
        for listener in self.listeners:
            delivery = Delivery(subscription="s", data=message.data, attributes=message.attributes)
            assert await listener(delivery) == Ack()

    async def create_temporary_subscription(
        self, name: str, topic: str, *, filter_expression: str = ""
    ) -> None:
        self.subscriptions[name] = f"{topic} {filter_expression}"

    async def delete_subscription(self, name: str) -> None:
        self.deleted.append(name)

    async def apply(self, topology: object) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def texts(self) -> list[str]:
        return [json.loads(event.data)["message"] for event in self.requests]


class Listener:
    """A consumer that only passes on what the bus delivers."""

    def __init__(self, bus: Bus, process: Callable[[Delivery], Awaitable[Outcome]]) -> None:
        self._bus = bus
        self._process = process
        self._drained = asyncio.Event()

    async def run(self) -> None:
        self._bus.listeners.append(self._process)
        await self._drained.wait()
        self._bus.listeners.remove(self._process)

    async def drain(self, grace_s: float) -> None:
        self._drained.set()

    def stalled_for_s(self) -> float:
        return 0.0


@asynccontextmanager
async def client_on(bus: Bus, **options: object) -> AsyncIterator[RequestClient]:
    """Yield a client over the bus."""
    client = RequestClient(
        publisher=bus,
        admin=bus,  # type: ignore[arg-type]  # only what the client needs
        make_consumer=lambda _subscription, process, *, ordered: Listener(bus, process),
        clock=SystemClock(),
        source="urn:test:sibling",
        **options,  # type: ignore[arg-type]  # a test's own
    )
    async with client:
        yield client


def reply_to(request: CloudEvent, data: str, *, kind: str = RESPONDED.name, **changes: str) -> CloudEvent:
    """Return a reply to a request, as the service would correlate it."""
    extensions = {"correlationid": request.correlation_id, "causationid": request.id} | changes
    return CloudEvent(
        id=f"r-{request.id}", source="urn:bot", type=kind, data=data.encode(), extensions=extensions
    )


def answered(request: CloudEvent) -> CloudEvent:
    """Return a good answer."""
    return reply_to(request, json.dumps(RESPONDED.example))


async def test_a_request_is_answered_with_typed_data() -> None:
    """What the caller gets is the schema's own class, and the event it came in."""
    bus = Bus()
    bus.answers = answered
    async with client_on(bus) as client:
        answer = await client.ask(QUESTION)
    assert isinstance(answer.data, ChatResponded)
    (request,) = bus.requests
    assert (request.source, request.type) == ("urn:test:sibling", FAMILY.requested.name)
    assert request.extensions["partitionkey"] == "user-ana"
    assert answer.event.extensions["causationid"] == request.id


async def test_replies_find_their_own_askers() -> None:
    """Answered in the opposite order, with strangers' and unreadable replies in between."""
    bus = Bus()
    async with client_on(bus) as client:
        asking = [
            asyncio.create_task(client.ask(QUESTION.model_copy(update={"message": f"pregunta {number}"})))
            for number in range(20)
        ]
        await until(lambda: len(bus.requests) == 20)
        await bus.deliver(reply_to(bus.requests[0], "{}", causationid="somebody-elses"))
        for request in reversed(bus.requests):
            text = json.loads(request.data)["message"]
            await bus.deliver(reply_to(request, json.dumps({**RESPONDED.example, "response": text})))
        answers = [await task for task in asking]
    assert [answer.data.response for answer in answers] == [f"pregunta {number}" for number in range(20)]  # type: ignore[attr-defined]


async def test_a_reply_that_cannot_be_read_is_acknowledged_and_harms_nobody() -> None:
    """Not a CloudEvent at all: somebody else's mistake."""
    bus = Bus()
    async with client_on(bus) as client:
        asking = asyncio.create_task(client.ask(QUESTION))
        await until(lambda: bool(bus.requests))
        assert await bus.listeners[0](Delivery(subscription="s", data=b"?", attributes={})) == Ack()
        await bus.deliver(answered(bus.requests[0]))
        await asking


async def test_copies_and_late_replies_are_harmless() -> None:
    """At least once: the second copy and a reply after the timeout are acknowledged, nothing else."""
    bus = Bus()
    async with client_on(bus) as client:
        with pytest.raises(NoReplyError, match="no reply within"):
            await client.ask(QUESTION, timeout_s=0.05)
        await bus.deliver(answered(bus.requests[0]))
        bus.answers = answered
        await client.ask(QUESTION)
        await bus.deliver(answered(bus.requests[1]))


async def test_a_failed_request_raises_with_its_problem() -> None:
    """`*.failed`: why, and whether asking again may help."""
    bus = Bus()
    bus.answers = lambda request: reply_to(request, json.dumps(FAILED.example), kind=FAILED.name)
    async with client_on(bus) as client:
        with pytest.raises(RequestFailedError, match="schema-violation: user_id: Field required") as raised:
            await client.ask(QUESTION)
    assert (raised.value.problem.retriable, raised.value.event.type) == (False, FAILED.name)


async def test_an_unknown_reply_type_is_an_error_that_names_it() -> None:
    """A contract that moved on without this client."""
    bus = Bus()
    bus.answers = lambda request: reply_to(request, "{}", kind="com.smarwatt.chat.sung.v9")
    async with client_on(bus) as client:
        with pytest.raises(MalformedEventError, match=r"chat\.sung\.v9.*no reply of chat"):
            await client.ask(QUESTION)


async def test_one_subscription_per_family_made_when_first_needed_and_removed_at_the_end() -> None:
    """Fifty asks, one subscription that filters for this client's own replies."""
    bus = Bus()
    bus.answers = answered
    async with client_on(bus) as client:
        await client.publish(QUESTION)
        assert not bus.subscriptions
        await asyncio.gather(*(client.ask(QUESTION) for _ in range(50)))
        prefix = bus.requests[0].id.split("-")[0]
        assert list(bus.subscriptions.values()) == [
            f'chat-replies hasPrefix(attributes.ce-causationid, "{prefix}")'
        ]
    assert bus.deleted == list(bus.subscriptions)
    assert not bus.listeners


async def test_a_subscription_of_ones_own_is_used_as_it_is() -> None:
    """Where Terraform makes subscriptions, the client makes and deletes none."""
    bus = Bus()
    bus.answers = answered
    async with client_on(bus, reply_subscriptions={"chat": "ours"}) as client:
        await client.ask(QUESTION)
    assert (bus.subscriptions, bus.deleted) == ({}, [])


async def test_everything_a_request_can_carry_travels() -> None:
    """Correlation, trace, expiry and the time of asking, in the names of the contract."""
    bus = Bus()
    async with client_on(bus) as client:
        at = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
        await client.publish(
            client.make_request(
                QUESTION, correlation_id="exchange-1", traceparent="00-ab-cd-01", expires_at=at, asked_at=at
            )
        )
    (event,) = bus.requests
    assert event.extensions == {
        "partitionkey": "user-ana",
        "correlationid": "exchange-1",
        "traceparent": "00-ab-cd-01",
        "expirytime": "2026-11-03T09:30:00Z",
    }
    assert event.time == at


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"correlation_id": "line\nbreak"}, "attribute correlationid must be 1..1024 bytes without control"),
        ({"correlation_id": "x" * 1025}, "attribute correlationid must be 1..1024 bytes"),
        ({"traceparent": ""}, "attribute traceparent must be 1..1024 bytes"),
    ],
)
async def test_an_attribute_that_no_event_may_have_is_refused_by_name(
    options: dict[str, str], says: str
) -> None:
    """Before anything is sent."""
    async with client_on(Bus()) as client:
        with pytest.raises(MalformedEventError, match=says):
            client.make_request(QUESTION, **options)  # type: ignore[arg-type]  # a test's own


async def test_what_is_too_large_is_refused_before_it_is_sent() -> None:
    """The family's limit, in bytes; and the bus's own limits."""
    bus = Bus()
    async with client_on(bus) as client:
        event = client.make_request(QUESTION)
        big = CloudEvent(id=event.id, source=event.source, type=event.type, data=b"x" * (256 * 1024 + 1))
        with pytest.raises(MalformedEventError, match=r"payload-too-large: 262145 bytes; at most 262144"):
            await client.publish(big)
        many = CloudEvent(
            id="e",
            source="s",
            type=event.type,
            data=event.data,
            extensions={f"x{n}": "y" for n in range(100)},
        )
        with pytest.raises(MessageRefusedError, match=r"105 attributes; at most 100"):
            await client.publish(many)
    assert not bus.requests


async def test_what_is_no_request_is_refused_with_what_is() -> None:
    """A reply's class, an event of another type, an event of another client."""
    async with client_on(Bus()) as client, client_on(Bus()) as other:
        with pytest.raises(
            UsageError, match=r"ChatResponded is not a request; requests are: .*ChatRequested"
        ):
            await client.publish(ChatResponded.model_validate(RESPONDED.example))
        with pytest.raises(UsageError, match=r"'a\.b' is not a request type; .*chat\.requested\.v1"):
            await client.publish(CloudEvent(id="e", source="s", type="a.b", data=b"{}"))
        with pytest.raises(UsageError, match="the client whose make_request made"):
            await client.ask(other.make_request(QUESTION))


def numbered(number: int, conversation: str) -> ChatRequested:
    """Return the n-th question of a conversation."""
    return QUESTION.model_copy(
        update={"message": f"{conversation}-{number}", "conversation_id": conversation}
    )


async def test_requests_of_a_key_keep_their_order_through_an_outage() -> None:
    """While one is repeated its successors wait; other keys pass by."""
    bus = Bus()
    bus.outages = {"a-1": 2}
    async with client_on(bus) as client:
        await asyncio.gather(
            *(client.publish(numbered(number, key)) for number in range(4) for key in ("a", "b"))
        )
    assert [text for text in bus.texts if text[0] == "a"] == ["a-0", "a-1", "a-2", "a-3"]
    assert bus.texts.index("b-3") < bus.texts.index("a-1"), "another key must not have waited"


async def test_a_key_goes_on_after_a_request_that_had_to_be_given_up() -> None:
    """The failure is the caller's to know; the key is not stuck behind it."""
    bus = Bus()
    bus.outages = {"a-0": 1000}
    async with client_on(bus, publish_timeout_s=0.05) as client:
        lost, kept = await asyncio.gather(
            client.publish(numbered(0, "a")), client.publish(numbered(1, "a")), return_exceptions=True
        )
    assert isinstance(lost, BusUnavailableError)
    assert isinstance(kept, CloudEvent)
    assert bus.texts == ["a-1"]


async def test_one_request_event_is_asked_once_at_a_time() -> None:
    """Its reply could only go to one of two callers."""
    bus = Bus()
    async with client_on(bus) as client:
        event = client.make_request(QUESTION)
        asking = asyncio.create_task(client.ask(event))
        await until(lambda: bool(bus.requests))
        with pytest.raises(UsageError, match="is being asked already"):
            await client.ask(event)
        await bus.deliver(answered(event))
        await asking
        bus.answers = answered
        await client.ask(event)


async def test_without_admin_or_subscription_asking_says_what_to_give() -> None:
    """Replies have to come in somewhere."""
    bus = Bus()
    client = RequestClient(
        publisher=bus,
        admin=None,
        make_consumer=lambda _subscription, process, *, ordered: Listener(bus, process),
        clock=SystemClock(),
        source="urn:test",
    )
    async with client:
        with pytest.raises(UsageError, match="replies of chat need a subscription to chat-replies"):
            await client.ask(QUESTION)
