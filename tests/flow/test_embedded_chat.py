"""Bytes in, bytes out, on the embedded adapters: answers, duplicates, poison, and every transport the same."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.assistant.profile import profile_key, usage_fields
from expert_bot.config import Settings
from expert_bot.delivery import Message
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import MonthUsage
from expert_bot.handlers.chat_requested import conversation_key
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import accept_all
from expert_bot.http.server import make_app
from expert_bot.ports import Put
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatResponded
from expert_bot.schemas.families import families_by_subscription
from expert_bot.schemas.problem import Problem
from expert_bot.schemas.pubsub import decode, encode_binary, encode_structured
from expert_bot.service import Worker
from tests.contract.bus_kit import Recorder

Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]
PUSH = f"/push/{FAMILY.subscription}"
APRIL = MonthUsage(
    month="2023-04",
    energy_kwh={Period.P1: Decimal("74.435"), Period.P2: Decimal("81.768"), Period.P3: Decimal("137.113")},
    hours=720,
    estimated_hours=0,
    first_day="2023-04-01",
    last_day="2023-04-30",
)
QUESTION = CloudEvent(
    id="e-1",
    source="//energy-ia",
    type=FAMILY.requested.name,
    time=datetime(2023, 5, 2, 9, 30, tzinfo=UTC),
    data=json.dumps(
        {
            "message": "¿Cuánto consumí en abril de 2023?",
            "user_id": "user-ana",
            "source": "energy_ia_api",
            "conversation_id": "conv-1",
        },
        ensure_ascii=False,
    ).encode(),
    extensions={"partitionkey": "conv-1"},
)
REQUEST = encode_binary(QUESTION, FAMILY.request_topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A worker on embedded adapters, and what left on the reply and dead-letter topics."""

    adapters: Adapters
    worker: Worker
    replies: Recorder
    letters: Recorder

    async def publish(self, *messages: Message) -> None:
        """Publish messages one after the other."""
        for message in messages:
            await self.adapters.publisher.publish(message)

    async def first_replies(self, count: int) -> list[CloudEvent]:
        """Wait for this many replies and return all there are, decoded."""
        await self.replies.until(count)
        return [decode(delivery.attributes, delivery.data) for delivery in self.replies.deliveries]


@asynccontextmanager
async def serving(folder: Path, *, pull: bool = True) -> AsyncIterator[Service]:
    """Run a worker over a data folder in which Ana has one month of consumption."""
    settings = Settings(data_dir=folder, drain_s=5)
    async with open_adapters(settings) as adapters, AsyncExitStack() as stack:
        fields = {"user_id": "user-ana", "user_name": "Ana", "usage": usage_fields([APRIL])}
        await adapters.documents.commit([Put(profile_key("user-ana"), fields)])
        await adapters.require_admin().create_temporary_subscription("replies", FAMILY.reply_topic)
        await adapters.require_admin().create_temporary_subscription("letters", DEAD_LETTER_TOPIC)
        replies, letters = Recorder(), Recorder()
        for subscription, recorder in (("replies", replies), ("letters", letters)):
            consumer = adapters.make_consumer(subscription, recorder, ordered=False)
            running = asyncio.create_task(consumer.run())
            stack.push_async_callback(asyncio.wait_for, running, 30)
            stack.push_async_callback(consumer.drain, 0)
        worker = Worker(settings, adapters, pull=pull)
        worker.start()
        stack.push_async_callback(worker.drain)
        yield Service(adapters=adapters, worker=worker, replies=replies, letters=letters)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Run a service on a fresh data folder."""
    async with serving(tmp_path) as running:
        yield running


def asking(event_id: str, **changes: object) -> Message:
    """Return another request of the same conversation."""
    event = replace(QUESTION, id=event_id, data=json.dumps(json.loads(QUESTION.data) | changes).encode())
    return encode_binary(event, FAMILY.request_topic)


async def test_a_question_is_answered_with_its_facts(service: Service) -> None:
    """The reply event leads back to the request, and every number of its text is one of its facts."""
    await service.publish(REQUEST)
    (reply,) = await service.first_replies(1)
    answer = ChatResponded.model_validate_json(reply.data)
    assert (answer.status, answer.conversation_id, answer.user_context.user_name) == (
        "success",
        "conv-1",
        "Ana",
    )
    assert {"consumption_total": "293.316", "consumption_p1": "74.435"}.items() <= {
        fact.id: fact.value for fact in answer.facts
    }.items()
    assert "293,316 kWh" in answer.response
    assert reply.extensions == {"correlationid": "e-1", "causationid": "e-1", "partitionkey": "conv-1"}
    assert service.replies.deliveries[0].ordering_key == "conv-1"


async def test_a_request_published_five_times_is_answered_once(service: Service) -> None:
    """Copies of one request give one reply and one turn of the conversation; the next request is answered after it."""
    await service.publish(*[REQUEST] * 5, asking("e-2"))
    replies = await service.first_replies(2)
    assert [reply.extensions["causationid"] for reply in replies] == ["e-1", "e-2"]
    conversation = await service.adapters.documents.get(conversation_key("user-ana", "conv-1"))
    assert conversation is not None
    turns = conversation.fields["turns"]
    assert isinstance(turns, list)
    assert [turn["event_id"] for turn in turns] == ["e-1", "e-2"]  # type: ignore[index,call-overload]  # turns are maps


async def test_finished_work_is_not_done_again_after_a_restart(tmp_path: Path) -> None:
    """A copy that arrives at the next process is known from the data folder."""
    async with serving(tmp_path) as before:
        await before.publish(REQUEST)
        (first,) = await before.first_replies(1)
    async with serving(tmp_path) as after:
        await after.publish(REQUEST, asking("e-2"))
        *_, last = await after.first_replies(1)
        assert (first.extensions["causationid"], last.extensions["causationid"]) == ("e-1", "e-2")
        assert len(after.replies.deliveries) == 1


async def test_poison_is_archived_and_the_worker_serves_on(service: Service) -> None:
    """Each malformed message is one letter with its bytes and reason; what came with it is answered all the same."""
    topic = FAMILY.request_topic
    poison = {
        "not-a-cloudevent": Message(topic=topic, data=b"\x00\xff", attributes={"x": "y"}),
        "invalid-json": replace(asking("bad-1"), data=b"{"),
        "schema-violation": asking("bad-2", message=7),
        "unknown-type": replace(asking("bad-3"), attributes=asking("bad-3").attributes | {"ce-type": "x"}),
        "payload-too-large": asking("bad-4", message="x" * 9_000_000),
    }
    await service.publish(*poison.values(), REQUEST)
    await service.letters.until(len(poison))
    replies = await service.first_replies(
        len(poison)
    )  # four failures and the answer: the first has no requester
    letters = {letter.attributes["dl-reason"]: letter for letter in service.letters.deliveries}
    assert {reason: message.data for reason, message in poison.items()} == {
        reason: letter.data for reason, letter in letters.items()
    }
    assert len(service.letters.deliveries) == len(poison)
    failures = [
        Problem.model_validate_json(reply.data) for reply in replies if reply.type == FAMILY.failed.name
    ]
    assert sorted(failure.reason for failure in failures) == sorted(set(poison) - {"not-a-cloudevent"})
    assert [reply.extensions["causationid"] for reply in replies if reply.type != FAMILY.failed.name] == [
        "e-1"
    ]


def wrapped(message: Message) -> tuple[dict[str, str], bytes]:
    """Return a message as a wrapped push request: headers and body."""
    body = {
        "message": {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": "1",
            "orderingKey": message.ordering_key,
        },
        "subscription": f"projects/p/subscriptions/{FAMILY.subscription}",
    }
    return {"Content-Type": "application/json"}, json.dumps(body).encode()


def unwrapped(message: Message) -> tuple[dict[str, str], bytes]:
    """Return a message as an unwrapped push request: headers and body."""
    return {**message.attributes, "x-goog-pubsub-message-id": "1"}, message.data


async def test_every_transport_gives_the_same_reply(tmp_path: Path, aiohttp_client: MakeClient) -> None:
    """Pull, wrapped and unwrapped push, binary and structured: the reply's id and data are identical, byte by byte."""
    structured = encode_structured(QUESTION, FAMILY.request_topic)
    answers = {}
    for name, message in {"binary pull": REQUEST, "structured pull": structured}.items():
        async with serving(tmp_path / name) as service:
            await service.publish(message)
            (answers[name],) = await service.first_replies(1)
    for name, (headers, body) in {
        "wrapped binary": wrapped(REQUEST),
        "wrapped structured": wrapped(structured),
        "unwrapped binary": unwrapped(REQUEST),
        "unwrapped structured": unwrapped(structured),
    }.items():
        async with serving(tmp_path / name, pull=False) as service:
            routes = push_routes(
                service.worker.dispatcher.process, families_by_subscription(), 30.0, authenticate=accept_all
            )
            client = await aiohttp_client(make_app(routes))
            assert (await client.post(PUSH, headers=headers, data=body)).status == 204
            (answers[name],) = await service.first_replies(1)
    assert {reply.data for reply in answers.values()} == {answers["binary pull"].data}
    assert {reply.id for reply in answers.values()} == {answers["binary pull"].id}
    assert "293,316 kWh" in answers["binary pull"].data.decode()


async def test_a_push_is_answered_only_when_the_work_is_durable(
    tmp_path: Path, aiohttp_client: MakeClient
) -> None:
    """By the time of the 204 the reply is on the bus; the same push again, or pulled, adds nothing."""
    headers, body = wrapped(REQUEST)
    async with serving(tmp_path) as service:
        routes = push_routes(
            service.worker.dispatcher.process, families_by_subscription(), 30.0, authenticate=accept_all
        )
        client = await aiohttp_client(make_app(routes))
        statuses = [(await client.post(PUSH, headers=headers, data=body)).status for _ in range(2)]
        await service.publish(REQUEST, asking("e-2"))
        replies = await service.first_replies(2)
    assert statuses == [204, 204]
    assert [reply.extensions["causationid"] for reply in replies] == ["e-1", "e-2"]
