"""Bare consume -> publish -> acknowledge loops that other stacks would use: what the service is measured against.

Each takes every message of a subscription, publishes its bytes and attributes to the reply topic, waits for the
confirmation, and only then acknowledges. None of them retries, extends leases, or does anything else with a message.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.message import Message as ReceivedMessage
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler
from google.protobuf import empty_pb2
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import pubsub as wire

from expert_bot.google_channels import open_channel, routing, unary

_FLUSH_AFTER_S: Final = 0.005
_MAX_BATCH: Final = 1000
_CALLBACK_THREADS: Final = 10

_PublishRequest: Final[Any] = wire.PublishRequest.pb()
_PublishResponse: Final[Any] = wire.PublishResponse.pb()
_PubsubMessage: Final[Any] = wire.PubsubMessage.pb()
_AcknowledgeRequest: Final[Any] = wire.AcknowledgeRequest.pb()
_PullRequest: Final[Any] = wire.PullRequest.pb()
_PullResponse: Final[Any] = wire.PullResponse.pb()
_StreamingPullRequest: Final[Any] = wire.StreamingPullRequest.pb()
_StreamingPullResponse: Final[Any] = wire.StreamingPullResponse.pb()


@dataclass(kw_only=True)
class Job:
    """What a loop has to do: `messages` of `subscription` over `streams` streams, replies to `topic` (full names).

    `on_reply` is told the event's id once its reply is confirmed.
    """

    host: str
    subscription: str
    topic: str
    messages: int
    streams: int
    on_reply: Callable[[str], None]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.messages

    def settle(self, event_id: str) -> bool:
        """Count one reply; True when it was the last."""
        self.on_reply(event_id)
        self.left -= 1
        return self.left == 0


class Gathered:
    """Items gathered for a few milliseconds, then sent in one request of at most a thousand."""

    def __init__(self, send: Callable[[list[Any]], Awaitable[None]]) -> None:
        self._send = send
        self._items: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None
        self._requests: set[asyncio.Task[None]] = set()

    def add(self, item: Any) -> None:
        self._items.append(item)
        if len(self._items) >= _MAX_BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER_S, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        items, self._items = self._items, []
        if items:
            request = asyncio.get_running_loop().create_task(self._send_all(items))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    async def drain(self) -> None:
        self.flush()
        if self._requests:
            await asyncio.wait(self._requests)

    async def _send_all(self, items: list[Any]) -> None:
        await self._send(items)


def documented_callback(job: Job) -> None:
    """Run the documented way: `subscribe(callback)`, the callback publishes, waits for the result, acknowledges."""
    publisher = pubsub_v1.PublisherClient()
    done, lock = threading.Event(), threading.Lock()

    def callback(message: ReceivedMessage) -> None:
        publisher.publish(job.topic, message.data, **message.attributes).result()
        message.ack()
        with lock:
            if job.settle(message.attributes["ce-id"]):
                done.set()

    _consume_with_callbacks(job, callback, done.wait)


async def bridged_callback(job: Job) -> None:
    """Bridge the high-level client to asyncio: callbacks hand messages to the loop, one task each."""
    publisher = pubsub_v1.PublisherClient()
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def work(message: ReceivedMessage) -> None:
        await asyncio.wrap_future(publisher.publish(job.topic, message.data, **message.attributes))
        message.ack()
        if job.settle(message.attributes["ce-id"]):
            done.set()

    def start(message: ReceivedMessage) -> None:
        task = loop.create_task(work(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def callback(message: ReceivedMessage) -> None:
        loop.call_soon_threadsafe(start, message)

    def wait() -> None:
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result()

    await asyncio.to_thread(_consume_with_callbacks, job, callback, wait)


def _consume_with_callbacks(
    job: Job, callback: Callable[[ReceivedMessage], None], wait: Callable[[], object]
) -> None:
    subscriber = pubsub_v1.SubscriberClient()
    share = pubsub_v1.types.FlowControl(max_messages=max(1, 1000 // job.streams))
    executor = ThreadPoolExecutor(_CALLBACK_THREADS)
    streams = [
        subscriber.subscribe(
            job.subscription, callback, flow_control=share, scheduler=ThreadScheduler(executor=executor)
        )
        for _ in range(job.streams)
    ]
    wait()
    for stream in streams:
        stream.cancel()
    for stream in streams:
        stream.result(timeout=30)


async def generated_client(job: Job) -> None:
    """Use the generated async client and its proto-plus objects, one task per message."""
    done = asyncio.Event()
    channel = grpc.aio.insecure_channel(job.host)
    subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
    publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))

    async def publish(batch: list[tuple[wire.PubsubMessage, asyncio.Future[None]]]) -> None:
        await publisher.publish(topic=job.topic, messages=[message for message, _ in batch])
        for _, confirmed in batch:
            confirmed.set_result(None)

    async def acknowledge(ack_ids: list[str]) -> None:
        await subscriber.acknowledge(subscription=job.subscription, ack_ids=ack_ids)

    publishes, acks = Gathered(publish), Gathered(acknowledge)

    async def work(received: wire.ReceivedMessage) -> None:
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        message = received.message
        publishes.add((wire.PubsubMessage(data=message.data, attributes=dict(message.attributes)), confirmed))
        await confirmed
        acks.add(received.ack_id)
        if job.settle(message.attributes["ce-id"]):
            done.set()

    async def stream() -> None:
        async def requests() -> AsyncIterator[wire.StreamingPullRequest]:
            yield wire.StreamingPullRequest(subscription=job.subscription, stream_ack_deadline_seconds=60)
            await done.wait()

        tasks: set[asyncio.Task[None]] = set()
        async for response in await subscriber.streaming_pull(requests=requests()):
            for received in response.received_messages:
                task = asyncio.create_task(work(received))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    await _run_until(done, [stream() for _ in range(job.streams)])
    await acks.drain()
    await channel.close()


async def raw_streams(job: Job) -> None:
    """Use async stubs on raw protobuf messages over StreamingPull, one task per message: the reference."""
    await _Raw(job).run(unary_pull=False)


async def raw_pulls(job: Job) -> None:
    """Use the same over concurrent unary pulls."""
    await _Raw(job).run(unary_pull=True)


class _Raw:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._channel = open_channel(emulator_host=job.host)
        self._publish_stub = unary(self._channel, "Publisher/Publish", _PublishRequest, _PublishResponse)
        self._acknowledge_stub = unary(
            self._channel, "Subscriber/Acknowledge", _AcknowledgeRequest, empty_pb2.Empty
        )
        self._to_topic = routing("topic", job.topic)
        self._to_subscription = routing("subscription", job.subscription)
        self._publishes, self._acks = Gathered(self._publish), Gathered(self._acknowledge)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, *, unary_pull: bool) -> None:
        await _run_until(
            self._done,
            [self._pull() if unary_pull else self._stream() for _ in range(self._job.streams)],
        )
        await self._acks.drain()
        await self._channel.close()

    async def _publish(self, batch: list[tuple[Any, asyncio.Future[None]]]) -> None:
        request = _PublishRequest(topic=self._job.topic, messages=[message for message, _ in batch])
        await self._publish_stub(request, metadata=self._to_topic)
        for _, confirmed in batch:
            confirmed.set_result(None)

    async def _acknowledge(self, ack_ids: list[str]) -> None:
        request = _AcknowledgeRequest(subscription=self._job.subscription, ack_ids=ack_ids)
        await self._acknowledge_stub(request, metadata=self._to_subscription)

    async def _work(self, received: Any) -> None:
        confirmed: asyncio.Future[None] = self._loop.create_future()
        message = received.message
        self._publishes.add((_PubsubMessage(data=message.data, attributes=message.attributes), confirmed))
        await confirmed
        self._acks.add(received.ack_id)
        if self._job.settle(message.attributes["ce-id"]):
            self._done.set()

    def _accept(self, response: Any) -> None:
        for received in response.received_messages:
            task = self._loop.create_task(self._work(received))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _stream(self) -> None:
        call = self._channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=_StreamingPullRequest.SerializeToString,
            response_deserializer=_StreamingPullResponse.FromString,
        )(metadata=self._to_subscription)
        await call.write(
            _StreamingPullRequest(subscription=self._job.subscription, stream_ack_deadline_seconds=60)
        )
        while (response := await call.read()) is not grpc.aio.EOF:
            self._accept(response)

    async def _pull(self) -> None:
        stub = unary(self._channel, "Subscriber/Pull", _PullRequest, _PullResponse)
        request = _PullRequest(subscription=self._job.subscription, max_messages=100)
        while True:
            self._accept(await stub(request, metadata=self._to_subscription))


async def _run_until(done: asyncio.Event, loops: list[Any]) -> None:
    running = [asyncio.create_task(each) for each in loops]
    await done.wait()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
