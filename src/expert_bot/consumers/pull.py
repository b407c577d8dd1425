"""Messages in from Pub/Sub: a few StreamingPull streams on raw protobuf, reconnected whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc.aio
import structlog
from google.pubsub_v1.types import pubsub as wire

from expert_bot.consumers.backoff import jittered_delays
from expert_bot.consumers.in_flight import InFlight, Limits
from expert_bot.consumers.pull_settlements import Settlements
from expert_bot.delivery import Delivery, Outcome
from expert_bot.google_channels import routing

_StreamingPullRequest: Final[Any] = wire.StreamingPullRequest.pb()
_StreamingPullResponse: Final[Any] = wire.StreamingPullResponse.pb()

_LARGEST_MESSAGE_BYTES: Final = 11 * 1024 * 1024
_LEFTOVERS_WITHIN_S: Final = 0.5
_CLOSE_WITHIN_S: Final = 1.0
_ESTABLISHED_AFTER_S: Final = 2.0
_QUICK: Final = (0.1, 5.0)
_SLOW: Final = (1.0, 30.0)

# Someone has to repair these; asking often would only fill logs and quotas.
_NEEDS_REPAIR: Final = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

log = structlog.get_logger(__name__)


class PullConsumer:
    """Consumer of one subscription over a channel it does not own.

    The broker is asked for no more than the budget (`max_in_flight` messages, `max_in_flight_bytes`), and a stream is
    not read while it is used up. A message is kept from redelivery for `max_extension_s` of work, then cancelled.
    `ordered`: the subscription has message ordering on, so messages of a key run one after the other. `heartbeat_s`:
    how often an idle stream shows that it is alive.
    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        project: str,
        subscription: str,
        process: Callable[[Delivery], Awaitable[Outcome]],
        streams: int = 2,
        max_in_flight: int = 500,
        max_in_flight_bytes: int = 64 * 1024 * 1024,
        max_extension_s: float = 600.0,
        ack_deadline_s: int = 60,
        ordered: bool = True,
        heartbeat_s: float = 30.0,
    ) -> None:
        self._channel = channel
        self._path = f"projects/{project}/subscriptions/{subscription}"
        self._streams = streams
        self._heartbeat_s = heartbeat_s
        self._limits = Limits(
            messages=max_in_flight,
            bytes=max_in_flight_bytes,
            extension_s=max_extension_s,
            ack_deadline_s=ack_deadline_s,
        )
        self._settlements = Settlements(channel=channel, path=self._path, on_answer=self._note_answer)
        self._in_flight = InFlight(
            subscription=subscription,
            process=process,
            settlements=self._settlements,
            limits=self._limits,
            ordered=ordered,
        )
        self._pull = channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=_StreamingPullRequest.SerializeToString,
            response_deserializer=_StreamingPullResponse.FromString,
        )
        self._open_calls: dict[Any, float] = {}
        self._stream_tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._drain_task: asyncio.Task[None] | None = None
        self._answered_at = time.monotonic()
        self._trouble: grpc.StatusCode | None = None

    async def run(self) -> None:
        """Consume until drained; see `ports.Consumer`. Cancelling it drains without grace."""
        if self._stopping.is_set():
            return
        self._answered_at = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                self._stream_tasks = [group.create_task(self._keep_stream()) for _ in range(self._streams)]
                helpers = [
                    group.create_task(self._in_flight.keep_leases()),
                    group.create_task(self._send_heartbeats()),
                ]
                await self._drained.wait()
                for helper in helpers:
                    helper.cancel()
        finally:
            await self.drain(0.0)

    async def drain(self, grace_s: float) -> None:
        """Stop taking, give running work `grace_s` seconds, cancel the rest and hand it back. Idempotent."""
        if self._drain_task is None:
            self._drain_task = asyncio.get_running_loop().create_task(self._stop(grace_s))
        await asyncio.shield(self._drain_task)

    def stalled_for_s(self) -> float:
        """Seconds since the broker last answered; an open stream on a live connection counts as answering."""
        now = time.monotonic()
        if any(now - opened_at > _ESTABLISHED_AFTER_S for opened_at in self._open_calls.values()) and (
            self._channel.get_state() is grpc.ChannelConnectivity.READY
        ):
            self._answered_at = now
        return now - self._answered_at

    async def _stop(self, grace_s: float) -> None:
        self._stopping.set()
        self._in_flight.stop()
        await asyncio.gather(self._close_streams(), self._in_flight.finish(grace_s))
        await self._settlements.close(_CLOSE_WITHIN_S)
        self._drained.set()

    async def _close_streams(self) -> None:
        """Half-close every stream and read it to its end: what it still holds would be leased to nobody."""
        for call in [*self._open_calls]:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.done_writing()
        if self._stream_tasks:
            await asyncio.wait(self._stream_tasks, timeout=_LEFTOVERS_WITHIN_S)
        for task in self._stream_tasks:
            task.cancel()

    async def _keep_stream(self) -> None:
        client_id = uuid.uuid4().hex  # the same after a reconnect: the broker keeps a key's affinity by it
        delays, needs_repair = jittered_delays(*_QUICK), False
        while not self._stopping.is_set():
            status, answered = grpc.StatusCode.OK, False
            try:
                answered = await self._read_stream(client_id)
            except _StreamBrokenError as broken:
                status, answered = broken.status, broken.answered
                self._note_trouble(broken)
            if answered or needs_repair is not (status in _NEEDS_REPAIR):
                needs_repair = status in _NEEDS_REPAIR
                delays = jittered_delays(*(_SLOW if needs_repair else _QUICK))
            await self._pause(next(delays))

    async def _read_stream(self, client_id: str) -> bool:
        """Read until the broker ends the stream; tell whether it ever answered. Raises _StreamBrokenError."""
        call = self._pull(metadata=routing("subscription", self._path))
        self._open_calls[call] = time.monotonic()
        answered = False
        try:
            await call.write(self._first_request(client_id))
            while True:
                await self._in_flight.room()
                response = await call.read()
                if response is grpc.aio.EOF:
                    return answered
                answered = True
                self._note_answer()
                lease_until = time.monotonic() + self._limits.ack_deadline_s
                for received in response.received_messages:
                    self._in_flight.accept(received, lease_until)
        except grpc.aio.AioRpcError as error:
            raise _StreamBrokenError(error.code(), error.details(), answered=answered) from error
        except asyncio.InvalidStateError as error:  # written to after it had ended
            raise _StreamBrokenError(await call.code(), await call.details(), answered=answered) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this task but the call was cancelled: somebody closed the channel.
            raise _StreamBrokenError(grpc.StatusCode.CANCELLED, None, answered=answered) from None
        finally:
            del self._open_calls[call]
            call.cancel()

    def _first_request(self, client_id: str) -> Any:  # noqa: ANN401 - untyped generated class
        return _StreamingPullRequest(
            subscription=self._path,
            client_id=client_id,
            stream_ack_deadline_seconds=self._limits.ack_deadline_s,
            max_outstanding_messages=-(-self._limits.messages // self._streams),
            max_outstanding_bytes=max(_LARGEST_MESSAGE_BYTES, self._limits.bytes // self._streams),
        )

    async def _send_heartbeats(self) -> None:
        """Write an empty request to every stream now and then, for ever: idle ones are closed otherwise."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            for call in [*self._open_calls]:
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(_StreamingPullRequest())

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()
        if self._trouble is not None:
            log.info("pull_resumed", subscription=self._path, after=self._trouble.name)
            self._trouble = None

    def _note_trouble(self, broken: _StreamBrokenError) -> None:
        """Log a kind of trouble once, not at every attempt to overcome it."""
        if broken.status is not self._trouble:
            self._trouble = broken.status
            log.warning(
                "pull_interrupted",
                subscription=self._path,
                status=broken.status.name,
                details=broken.details,
            )


class _StreamBrokenError(Exception):
    def __init__(self, status: grpc.StatusCode, details: str | None, *, answered: bool) -> None:
        super().__init__(status.name)
        self.status = status
        self.details = details
        self.answered = answered
