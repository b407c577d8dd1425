"""Messages out to Google Pub/Sub: raw protobuf on the async stub, batched per topic."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import grpc.aio
import structlog
from google.pubsub_v1.types import pubsub as wire

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError, ExpertBotError, MessageRefusedError
from expert_bot.google_channels import routing, unary
from expert_bot.publishers.pubsub_batches import Batches, Outgoing
from expert_bot.publishers.pubsub_limits import check_limits

_PublishRequest: Final[Any] = wire.PublishRequest.pb()
_PublishResponse: Final[Any] = wire.PublishResponse.pb()
_PubsubMessage: Final[Any] = wire.PubsubMessage.pb()
_GetTopicRequest: Final[Any] = wire.GetTopicRequest.pb()
_Topic: Final[Any] = wire.Topic.pb()

_PING_TIMEOUT_S: Final = 5.0
_ANSWERS: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)

log = structlog.get_logger(__name__)


class PubsubPublisher:
    """Publisher over a channel it does not own (`close` flushes, the channel stays open).

    A batch leaves after `flush_after_s`, or at once when it holds `max_batch` messages (Pub/Sub allows 1,000) or
    `max_batch_bytes` (it allows 10 MB a request). `timeout_s` bounds each request; nothing is retried here.
    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        project: str,
        max_batch: int = 1000,
        max_batch_bytes: int = 4_000_000,
        flush_after_s: float = 0.005,
        timeout_s: float = 15.0,
    ) -> None:
        self._project = project
        self._max_batch = max_batch
        self._max_batch_bytes = max_batch_bytes
        self._flush_after_s = flush_after_s
        self._timeout_s = timeout_s
        self._publish = unary(channel, "Publisher/Publish", _PublishRequest, _PublishResponse)
        self._get_topic = unary(channel, "Publisher/GetTopic", _GetTopicRequest, _Topic)
        self._topics: dict[str, Batches] = {}
        self._closed = False

    async def publish(self, message: Message) -> str:
        """Return the message id once Pub/Sub has stored the message; see `ports.Publisher`."""
        check_limits(message)
        if self._closed:
            raise BusUnavailableError("the publisher is closed")
        body = _PubsubMessage(data=message.data, ordering_key=message.ordering_key)
        attributes = body.attributes
        for name, value in message.attributes.items():  # a third faster than handing over the mapping
            attributes[name] = value
        outgoing = Outgoing(body, message.ordering_key, asyncio.get_running_loop().create_future())
        self._batches(message.topic).add(outgoing)
        return await outgoing.confirmed

    async def ping(self) -> None:
        """Return if Pub/Sub answers, whatever it says about a topic that need not exist."""
        path = f"projects/{self._project}/topics/expert-bot-ping"
        try:
            await self._get_topic(
                _GetTopicRequest(topic=path), timeout=_PING_TIMEOUT_S, metadata=routing("topic", path)
            )
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            if isinstance(error, grpc.aio.AioRpcError) and error.code() in _ANSWERS:
                return
            raise _translate(error, path) from error

    async def close(self) -> None:
        """Send what is buffered and wait until it is confirmed or has failed; safe to call twice."""
        self._closed = True
        await asyncio.gather(*(batches.drain() for batches in self._topics.values()))

    def _batches(self, topic: str) -> Batches:
        batches = self._topics.get(topic)
        if batches is None:
            batches = self._topics[topic] = Batches(
                send=partial(self._send, f"projects/{self._project}/topics/{topic}"),
                max_batch=self._max_batch,
                max_batch_bytes=self._max_batch_bytes,
                flush_after_s=self._flush_after_s,
            )
        return batches

    async def _send(self, path: str, batch: list[Outgoing]) -> None:
        try:
            ids = await self._request(path, batch)
        except MessageRefusedError as error:
            if len(batch) == 1:
                batch[0].fail(error)
            else:
                log.warning("publish_batch_refused", topic=path, messages=len(batch))
                await self._send_one_by_one(path, batch)
        except BusUnavailableError as error:
            for outgoing in batch:
                outgoing.fail(error)
        else:
            for outgoing, message_id in zip(batch, ids, strict=True):
                outgoing.confirm(message_id)

    async def _send_one_by_one(self, path: str, batch: list[Outgoing]) -> None:
        """Send a refused batch message by message, so that only the guilty one is refused.

        Once a keyed message may be missing, the later ones of its key must not overtake its repetition.
        """
        broken: dict[str, BusUnavailableError] = {}
        for outgoing in batch:
            if error := broken.get(outgoing.key):
                outgoing.fail(error)
                continue
            try:
                outgoing.confirm((await self._request(path, [outgoing]))[0])
            except MessageRefusedError as refusal:
                outgoing.fail(refusal)
            except BusUnavailableError as outage:
                outgoing.fail(outage)
                if outgoing.key:
                    broken[outgoing.key] = outage

    async def _request(self, path: str, batch: list[Outgoing]) -> list[str]:
        request = _PublishRequest(topic=path, messages=[outgoing.body for outgoing in batch])
        try:
            response = await self._publish(request, timeout=self._timeout_s, metadata=routing("topic", path))
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise _translate(error, path) from error
        ids: list[str] = list(response.message_ids)
        return ids


def _translate(error: grpc.aio.AioRpcError | grpc.aio.UsageError, topic: str) -> ExpertBotError:
    if isinstance(error, grpc.aio.UsageError):
        return BusUnavailableError(f"cannot reach {topic}: {error}")
    code, details = error.code(), error.details() or ""
    too_large = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details
    if code is grpc.StatusCode.INVALID_ARGUMENT or too_large:
        reason = "payload-too-large" if too_large else "message-refused"
        return MessageRefusedError(reason, f"Pub/Sub refused it on {topic}: {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        return BusUnavailableError(f"{topic} does not exist; run `expert-bot topics apply`")
    return BusUnavailableError(f"Pub/Sub did not confirm a publish on {topic}: {code.name} {details}")
