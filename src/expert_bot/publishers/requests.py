"""The typed client for other services: publish a request, await its reply.

async with connect(project="smarwatt", source="urn:smarwatt:energy-ia-api") as client:
reply = await client.ask(ChatRequested(message="¿Cuánto consumí ayer?", user_id="u-1", source="energy_ia_api"))
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Final, Self

import structlog
from pydantic import BaseModel

from expert_bot.consumers.backoff import jittered_delays
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.errors import (
    BusUnavailableError,
    ExpertBotError,
    MalformedEventError,
    TransientError,
    UsageError,
)
from expert_bot.ports import BusAdmin, Clock, MakeConsumer, Publisher
from expert_bot.publishers.turns import Turns
from expert_bot.records import record
from expert_bot.schemas import pubsub
from expert_bot.schemas.data import check_size, parse_data
from expert_bot.schemas.envelope import CloudEvent, build_event, context_attributes, format_timestamp
from expert_bot.schemas.families import EventFamily, all_families
from expert_bot.schemas.problem import Problem

_MAX_REPLY_BYTES: Final = 10_000_000

log = structlog.get_logger(__name__)


class NoReplyError(TransientError):
    """No reply came in time; the request may still be answered, and asking with the same event is safe."""


class RequestFailedError(ExpertBotError):
    """The request was answered with its family's `*.failed` event: `problem` says why and whether to try again."""

    def __init__(self, problem: Problem, event: CloudEvent) -> None:
        super().__init__(f"{problem.reason}: {problem.detail}")
        self.problem = problem
        self.event = event


@record()
class Answer:
    """A reply: its data, an instance of one of the family's reply types, and the event it came in."""

    data: BaseModel
    event: CloudEvent


class RequestClient:
    """Publishes requests and awaits replies; an async context manager, safe for any number of concurrent callers.

    `source`: CloudEvents source of the requests; the service must allow it. `reply_subscriptions`: by family name, a
    subscription to its reply topic that is this process's own; without one, a temporary one is made when it is first
    needed. `publish_timeout_s`: how long an outage of the bus is sat out.
    """

    def __init__(
        self,
        *,
        publisher: Publisher,
        admin: BusAdmin | None,
        make_consumer: MakeConsumer,
        clock: Clock,
        source: str,
        reply_subscriptions: Mapping[str, str] | None = None,
        publish_timeout_s: float = 30.0,
    ) -> None:
        self._publisher = publisher
        self._admin = admin
        self._make_consumer = make_consumer
        self._clock = clock
        self._source = source
        self._reply_subscriptions = dict(reply_subscriptions or {})
        self._publish_timeout_s = publish_timeout_s
        self._instance = uuid.uuid4().hex
        self._count = itertools.count(1)
        self._turns = Turns()
        self._waiting: dict[str, asyncio.Future[CloudEvent]] = {}
        self._listening: set[str] = set()
        self._starting = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Return itself; subscriptions are made when the first reply is awaited."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and delete the temporary subscriptions."""
        await self._stack.aclose()

    def make_request(
        self,
        data: BaseModel,
        *,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        expires_at: datetime | None = None,
        asked_at: datetime | None = None,
    ) -> CloudEvent:
        """Return the event of a request.

        `correlation_id`: of the exchange it belongs to. `traceparent`: W3C trace context. `expires_at`: from when it is
        not worth an answer. Raises UsageError if `data` is no family's request, MalformedEventError naming the
        attribute that no event may have.
        """
        family = family_of(data)
        extensions = {"partitionkey": family.ordering_key(data)}
        if correlation_id is not None:
            extensions["correlationid"] = correlation_id
        if traceparent is not None:
            extensions["traceparent"] = traceparent
        if expires_at is not None:
            extensions["expirytime"] = format_timestamp(expires_at)
        event = CloudEvent(
            id=f"{self._instance}-{next(self._count)}",
            source=self._source,
            type=family.requested.name,
            time=asked_at or self._clock.now(),
            data=data.model_dump_json(exclude_none=True).encode("utf-8"),
            extensions=extensions,
        )
        build_event(context_attributes(event), event.data)
        return event

    async def publish(self, request: BaseModel | CloudEvent) -> CloudEvent:
        """Publish a request and return its event once the bus has stored it.

        Requests of one ordering key leave in the order of the calls: while one is repeated during an outage, the later
        ones wait; one that is given up lets the next one try. Raises UsageError and MalformedEventError (see
        `make_request`; too large), MessageRefusedError (limits of the bus), BusUnavailableError.
        """
        event = request if isinstance(request, CloudEvent) else self.make_request(request)
        family = _family_of_type(event.type)
        check_size(event.data, family.max_data_bytes)
        message = pubsub.encode_binary(event, family.request_topic)
        now = asyncio.get_running_loop().time
        async with self._turns.take(message.ordering_key):
            give_up_at = now() + self._publish_timeout_s
            for pause_s in jittered_delays(0.1, 5.0):
                try:
                    await self._publisher.publish(message)
                except BusUnavailableError:
                    if now() + pause_s > give_up_at:
                        raise
                else:
                    break
                await asyncio.sleep(pause_s)
        return event

    async def ask(self, request: BaseModel | CloudEvent, *, timeout_s: float = 30.0) -> Answer:
        """Publish a request and return its reply.

        `timeout_s` bounds all of it. Raises RequestFailedError, NoReplyError, and what `publish` raises; UsageError for
        an event that `make_request` of another client made, because its reply would not come here.
        """
        event = request if isinstance(request, CloudEvent) else self.make_request(request)
        if not event.id.startswith(self._instance):
            raise UsageError("replies come to the client whose make_request made the request event")
        if event.id in self._waiting:
            raise UsageError("this request is being asked already")
        family = _family_of_type(event.type)
        reply: asyncio.Future[CloudEvent] = asyncio.get_running_loop().create_future()
        self._waiting[event.id] = reply
        try:
            async with asyncio.timeout(timeout_s):
                await self._listen(family)
                await self.publish(event)
                return _read_answer(family, await reply)
        except TimeoutError as error:
            raise NoReplyError(
                f"no reply within {timeout_s:g} s; is a worker running (`expert-bot work`) in this mode?"
            ) from error
        finally:
            del self._waiting[event.id]

    async def _listen(self, family: EventFamily) -> None:
        """Listen to a family's replies from now on; must be so before the request leaves."""
        async with self._starting:
            if family.name not in self._listening:
                await self._stack.enter_async_context(self._listener(family))
                self._listening.add(family.name)

    @asynccontextmanager
    async def _listener(self, family: EventFamily) -> AsyncIterator[None]:
        async with self._subscription(family) as subscription:
            consumer = self._make_consumer(subscription, self._take, ordered=False)
            running = asyncio.create_task(consumer.run())
            try:
                yield
            finally:
                await consumer.drain(0)
                await running

    @asynccontextmanager
    async def _subscription(self, family: EventFamily) -> AsyncIterator[str]:
        if own := self._reply_subscriptions.get(family.name):
            yield own
            return
        if self._admin is None:
            raise UsageError(
                f"replies of {family.name} need a subscription to {family.reply_topic}: give its name, or an admin to make one"
            )
        name = f"expert-bot-ask-{uuid.uuid4().hex[:12]}"
        mine = f'hasPrefix(attributes.ce-causationid, "{self._instance}")'
        await self._admin.create_temporary_subscription(name, family.reply_topic, filter_expression=mine)
        try:
            yield name
        finally:
            await self._admin.delete_subscription(name)

    async def _take(self, delivery: Delivery) -> Outcome:
        """Hand a reply to whoever awaits it; acknowledge everything, also what nobody awaits any more."""
        try:
            event = pubsub.decode(delivery.attributes, delivery.data)
        except MalformedEventError as error:
            log.warning("reply_unreadable", reason=error.reason, message_id=delivery.message_id)
            return Ack()
        waiting = self._waiting.get(event.extensions.get("causationid", ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(event)
        return Ack()


def family_of(data: BaseModel) -> EventFamily:
    """Return the family whose request this is. Raises UsageError."""
    for family in all_families():
        if type(data) is family.requested.data:
            return family
    known = ", ".join(family.requested.data.__name__ for family in all_families())
    raise UsageError(f"{type(data).__name__} is not a request; requests are: {known}")


def _family_of_type(event_type: str) -> EventFamily:
    for family in all_families():
        if event_type == family.requested.name:
            return family
    known = ", ".join(family.requested.name for family in all_families())
    raise UsageError(f"{event_type[:200]!a} is not a request type; request types are: {known}")


def _read_answer(family: EventFamily, event: CloudEvent) -> Answer:
    for reply_type in family.emitted:
        if event.type == reply_type.name:
            data = parse_data(event, reply_type, _MAX_REPLY_BYTES)
            if isinstance(data, Problem):
                raise RequestFailedError(data, event)
            return Answer(data, event)
    raise MalformedEventError("unknown-type", f"{event.type[:200]!a} is no reply of {family.name}")
