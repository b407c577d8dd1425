"""Pub/Sub in this process: answers what it is told to, on a real gRPC server, and records what it was asked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf import empty_pb2
from google.protobuf.any_pb2 import Any as Any_
from google.pubsub_v1.types import pubsub as wire
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from expert_bot.google_channels import open_channel

_PublishRequest: Any = wire.PublishRequest.pb()
_PublishResponse: Any = wire.PublishResponse.pb()
_GetTopicRequest: Any = wire.GetTopicRequest.pb()
_Topic: Any = wire.Topic.pb()
_PullRequest: Any = wire.PullRequest.pb()
_PullResponse: Any = wire.PullResponse.pb()
_AcknowledgeRequest: Any = wire.AcknowledgeRequest.pb()
_ModifyAckDeadlineRequest: Any = wire.ModifyAckDeadlineRequest.pb()
_ReceivedMessage: Any = wire.ReceivedMessage.pb()

Hook = Callable[[Any], Awaitable[None]]


class RefusalError(Exception):
    """Raised by a hook: the request is answered with this status.

    `failures`: what is wrong with single ack ids, as an exactly-once subscription says it.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str = "as the test says",
        *,
        failures: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.failures = failures

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Return the failures as Google's services attach them to a status."""
        if self.failures is None:
            return ()
        info = Any_()
        info.Pack(ErrorInfo(reason="PERMANENT_FAILURE_INVALID_ACK_ID", metadata=self.failures))
        status = Status(code=self.code.value[0], message=self.details, details=[info])
        return (("grpc-status-details-bin", status.SerializeToString()),)


class FakePubsub:
    """Records requests; `on_publish`, `on_get_topic`, `on_ack`, `on_modify` may wait, or raise RefusalError.

    `published`: texts of each accepted Publish. `acks`, `deadlines`: what was accepted, request by request. `pulls`: every
    Pull; each waits for the next answer of `send` or `fail`, or is answered by `on_pull` if that returns messages.
    """

    def __init__(self) -> None:
        self.on_publish: Hook = _accept
        self.on_get_topic: Hook = _accept
        self.on_ack: Hook = _accept
        self.on_modify: Hook = _accept
        self.published: list[list[bytes]] = []
        self.acks: list[list[str]] = []
        self.deadlines: list[tuple[list[str], int]] = []
        self.pulls: list[Any] = []
        self.open_pulls = 0
        self.on_pull: Callable[[Any], Awaitable[list[Any]]] = self._next_answer
        self._answers: asyncio.Queue[list[Any] | grpc.StatusCode] = asyncio.Queue()
        self._ids = itertools.count(1)

    @property
    def acked(self) -> list[str]:
        """Every acknowledged id, in the order of arrival."""
        return [ack_id for ack_ids in self.acks for ack_id in ack_ids]

    def returned(self, seconds: int = 0) -> list[str]:
        """Every id whose deadline was changed to `seconds`, in the order of arrival."""
        return [ack_id for ack_ids, deadline in self.deadlines if deadline == seconds for ack_id in ack_ids]

    async def publish(self, request: Any, context: Any) -> Any:
        await _ask(self.on_publish, request, context)
        self.published.append([message.data for message in request.messages])
        return _PublishResponse(message_ids=[str(next(self._ids)) for _ in request.messages])

    async def get_topic(self, request: Any, context: Any) -> Any:
        await _ask(self.on_get_topic, request, context)
        return _Topic(name=request.topic)

    async def acknowledge(self, request: Any, context: Any) -> Any:
        await _ask(self.on_ack, request, context)
        self.acks.append(list(request.ack_ids))
        return empty_pb2.Empty()

    async def modify(self, request: Any, context: Any) -> Any:
        await _ask(self.on_modify, request, context)
        self.deadlines.append((list(request.ack_ids), request.ack_deadline_seconds))
        return empty_pb2.Empty()

    def send(self, *received: Any) -> None:
        """Answer the next pull with these messages, however many it asks for."""
        self._answers.put_nowait([*received])

    def fail(self, code: grpc.StatusCode) -> None:
        """Answer the next pull with a status; OK: with no messages."""
        self._answers.put_nowait(code)

    async def pull(self, request: Any, context: Any) -> Any:
        self.pulls.append(request)
        self.open_pulls += 1
        try:
            return _PullResponse(received_messages=await self.on_pull(request))
        except RefusalError as refusal:
            await context.abort(refusal.code, refusal.details)
        finally:
            self.open_pulls -= 1

    async def _next_answer(self, _request: Any) -> list[Any]:
        answer = await self._answers.get()
        if isinstance(answer, list):
            return answer
        if answer is grpc.StatusCode.OK:
            return []
        raise RefusalError(answer)


@asynccontextmanager
async def fake_pubsub() -> AsyncIterator[tuple[FakePubsub, grpc.aio.Channel]]:
    """Run a FakePubsub and yield it with a channel to it."""
    fake = FakePubsub()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_publisher_handlers(fake), _subscriber_handlers(fake)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = open_channel(emulator_host=f"127.0.0.1:{port}")
    try:
        yield fake, channel
    finally:
        await channel.close()
        await server.stop(None)


def received(
    ack_id: str, *, key: str = "", data: bytes = b"x", attempt: int = 0, message_id: str | None = None
) -> Any:
    """Build a message as a subscriber receives it; its id is "id-" and the ack id, unless given."""
    message = {"data": data, "message_id": message_id or f"id-{ack_id}", "ordering_key": key}
    return _ReceivedMessage(ack_id=ack_id, message=message, delivery_attempt=attempt)


def _publisher_handlers(fake: FakePubsub) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "google.pubsub.v1.Publisher",
        {
            "Publish": _unary(fake.publish, _PublishRequest),
            "GetTopic": _unary(fake.get_topic, _GetTopicRequest),
        },
    )


def _subscriber_handlers(fake: FakePubsub) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "google.pubsub.v1.Subscriber",
        {
            "Acknowledge": _unary(fake.acknowledge, _AcknowledgeRequest),
            "ModifyAckDeadline": _unary(fake.modify, _ModifyAckDeadlineRequest),
            "Pull": _unary(fake.pull, _PullRequest),
        },
    )


def _unary(method: Callable[[Any, Any], Awaitable[Any]], request: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


async def _ask(hook: Hook, request: Any, context: Any) -> None:
    try:
        await hook(request)
    except RefusalError as refusal:
        await context.abort(refusal.code, refusal.details, refusal.trailing_metadata())


async def _accept(_request: Any) -> None:
    return
