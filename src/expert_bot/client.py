"""Ask a question the way any other service does: publish a request event, await its reply by correlation id."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from expert_bot.app import Adapters
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.errors import MalformedEventError, TransientError
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.families import EventFamily

SOURCE: Final = "urn:smarwatt:expert-bot:cli"


class NoReplyError(TransientError):
    """No reply came in time."""


def make_request(family: EventFamily, data: BaseModel, *, asked_at: datetime) -> CloudEvent:
    """Return a new request event of a family. `asked_at`: aware."""
    return CloudEvent(
        id=str(uuid.uuid4()),
        source=SOURCE,
        type=family.requested.name,
        time=asked_at,
        data=data.model_dump_json(exclude_none=True).encode("utf-8"),
        extensions={"partitionkey": family.ordering_key(data)},
    )


async def ask(
    adapters: Adapters, family: EventFamily, request: CloudEvent, *, timeout_s: float
) -> CloudEvent:
    """Publish a request and return its reply (or its `*.failed` event).

    Raises NoReplyError after `timeout_s`, BusUnavailableError.
    """
    async with _reply_to(adapters, family, request) as reply:
        await adapters.publisher.publish(pubsub.encode_binary(request, family.request_topic))
        try:
            return await asyncio.wait_for(reply, timeout_s)
        except TimeoutError as error:
            raise NoReplyError(
                f"no reply within {timeout_s:g} s; is a worker running (`expert-bot work`) in this mode?"
            ) from error


@asynccontextmanager
async def _reply_to(
    adapters: Adapters, family: EventFamily, request: CloudEvent
) -> AsyncIterator[asyncio.Future[CloudEvent]]:
    """Listen on the reply topic, through a subscription of its own, before the request is published."""
    reply: asyncio.Future[CloudEvent] = asyncio.get_running_loop().create_future()

    async def take(delivery: Delivery) -> Outcome:
        try:
            event = pubsub.decode(delivery.attributes, delivery.data)
        except MalformedEventError:
            return Ack()  # somebody else's: not ours to judge
        if event.correlation_id == request.correlation_id and not reply.done():
            reply.set_result(event)
        return Ack()

    admin = adapters.require_admin()
    subscription = f"expert-bot-ask-{uuid.uuid4().hex[:12]}"
    await admin.create_temporary_subscription(subscription, family.reply_topic)
    consumer = adapters.make_consumer(subscription, take, ordered=False)
    running = asyncio.create_task(consumer.run())
    try:
        yield reply
    finally:
        reply.cancel()
        await consumer.drain(0)
        await running
        await admin.delete_subscription(subscription)
