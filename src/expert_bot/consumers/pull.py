"""Messages in from Pub/Sub: a few unary pulls on raw protobuf, kept open whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc.aio
from google.pubsub_v1.types import pubsub as wire

from expert_bot.consumers.backoff import jittered_delays
from expert_bot.consumers.barriers import Barriers
from expert_bot.consumers.budget import Budget
from expert_bot.consumers.in_flight import InFlight
from expert_bot.consumers.leases import LeaseKeeper
from expert_bot.consumers.liveness import Liveness
from expert_bot.consumers.pull_settlements import Settlements
from expert_bot.delivery import Delivery, Outcome
from expert_bot.google_channels import routing, unary
from expert_bot.records import record

_PullRequest: Final[Any] = wire.PullRequest.pb()
_PullResponse: Final[Any] = wire.PullResponse.pb()

_CLOSE_WITHIN_S: Final = 1.0
_FEWEST_PER_PULL: Final = 10
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


@record(kw_only=True)
class Polling:
    """How long a pull stays open, in seconds: its deadline after one that brought all it asked for, and after others.

    The broker is to answer an idle pull earlier, by itself: one that reaches its deadline means a broker that does not
    answer. `end_within_s`: how long a drain lets open pulls end, since what they are given would be leased to nobody.
    """

    busy_s: float
    idle_s: float
    end_within_s: float


SERVICE: Final = Polling(busy_s=100.0, idle_s=100.0, end_within_s=0.6)
"""The service ends an idle pull after about 90 s, and notices one that is cancelled."""
EMULATOR: Final = Polling(busy_s=3.0, idle_s=1.5, end_within_s=2.2)
"""The emulator gives messages to pulls whose client has cancelled them or died, until one second before their deadline.

The shorter, the less a dead worker swallows; but a busy emulator must answer within that time, or swallows as well.
"""


class PullConsumer:
    """Consumer of one subscription over a channel it does not own.

    `pulls` requests are open at once while `budget` (shared by all consumers of a process) has room, for as long as
    `polling` says. A message is kept from redelivery for `max_extension_s` of work, then cancelled; `ack_deadline_s` is
    the lease a killed worker leaves behind.
    `ordered`: the subscription has message ordering on, so messages of a key run one after the other. `crash_retry_s`:
    how long a message waits whose work raised, was cancelled or took too long.
    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        project: str,
        subscription: str,
        process: Callable[[Delivery], Awaitable[Outcome]],
        pulls: int = 4,
        budget: Budget | None = None,
        max_extension_s: float = 600.0,
        ack_deadline_s: int = 60,
        ordered: bool = True,
        polling: Polling = SERVICE,
        crash_retry_s: float = 10.0,
    ) -> None:
        self._path = f"projects/{project}/subscriptions/{subscription}"
        self._metadata = routing("subscription", self._path)
        self._pulls = pulls
        self._polling = polling
        self._budget = budget or Budget()
        self._liveness = Liveness(channel, self._path)
        settlements = Settlements(channel=channel, path=self._path, on_answer=self._liveness.note_answer)
        self._settlements = settlements
        self._in_flight = InFlight(
            subscription=subscription,
            process=process,
            settlements=settlements,
            budget=self._budget,
            barriers=Barriers(ack_deadline_s),
            max_extension_s=max_extension_s,
            crash_retry_s=crash_retry_s,
            ordered=ordered,
        )
        self._leases = LeaseKeeper(
            self._in_flight.held,
            settlements,
            ack_deadline_s=ack_deadline_s,
            max_extension_s=max_extension_s,
            on_lost=self._in_flight.lose,
        )
        self._pull = unary(channel, "Subscriber/Pull", _PullRequest, _PullResponse)
        self._pull_tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._drain_task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Consume until drained; see `ports.Consumer`. Cancelling it drains without grace."""
        if self._stopping.is_set():
            return
        self._liveness.note_start()
        try:
            async with asyncio.TaskGroup() as group:
                self._pull_tasks = [group.create_task(self._keep_pulling()) for _ in range(self._pulls)]
                helpers = [
                    group.create_task(self._leases.run()),
                    group.create_task(self._liveness.watch()),
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
        """Seconds since the broker last answered; an open pull on a live connection counts as answering."""
        return self._liveness.stalled_for_s()

    async def _stop(self, grace_s: float) -> None:
        self._stopping.set()
        # While our own pulls are open they would be given what is handed back, and a key's order be mixed up.
        self._settlements.hold_returns()
        self._in_flight.stop()
        await asyncio.gather(self._end_pulls(), self._in_flight.finish(grace_s))
        await self._settlements.close(_CLOSE_WITHIN_S)
        self._drained.set()

    async def _end_pulls(self) -> None:
        """Let open pulls end if they will, since what they are being given would be leased to nobody; then cancel them."""
        pulling = self._liveness.pulling()
        for task in self._pull_tasks:
            if task not in pulling:
                task.cancel()
        if pulling:
            await asyncio.wait(pulling, timeout=self._polling.end_within_s)
        for task in pulling:
            task.cancel()
        self._settlements.release_returns()

    async def _keep_pulling(self) -> None:
        delays, needs_repair = jittered_delays(*_QUICK), False
        most, open_s = _FEWEST_PER_PULL, self._polling.idle_s
        while not self._stopping.is_set():
            await self._budget.room()
            asked = min(most, self._budget.ask())
            try:
                received = await self._pull_once(asked, open_s)
            except _PullFailedError as failed:
                self._liveness.note_trouble(failed.status, failed.details)
                if needs_repair is not (failed.status in _NEEDS_REPAIR):
                    needs_repair = not needs_repair
                    delays = jittered_delays(*(_SLOW if needs_repair else _QUICK))
                await self._pause(next(delays))
                continue
            # A killed client's open pull is still given messages: an idle one is to be given few.
            most = max(_FEWEST_PER_PULL, 2 * len(received))
            open_s = self._polling.idle_s if len(received) < asked else self._polling.busy_s
            delays, needs_repair = jittered_delays(*_QUICK), False
            if received:
                self._in_flight.accept(received, time.monotonic() + self._leases.first_lease_s())

    async def _pull_once(self, most: int, open_s: float) -> Any:  # noqa: ANN401 - untyped generated class
        """Return the messages of one response, or nothing. Raises _PullFailedError."""
        opened_at = self._liveness.note_open()
        try:
            response = await self._pull(
                _PullRequest(subscription=self._path, max_messages=most),
                timeout=open_s,
                metadata=self._metadata,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                if time.monotonic() - opened_at < open_s * 0.9:  # the broker's own: nothing came
                    self._liveness.note_answer()
                    return ()
                self._liveness.note_silence(opened_at)
            raise _PullFailedError(error.code(), error.details()) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this task but the call was cancelled: somebody closed the channel.
            raise _PullFailedError(grpc.StatusCode.CANCELLED, None) from None
        finally:
            self._liveness.note_closed()
        self._liveness.note_answer()
        return response.received_messages

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


class _PullFailedError(Exception):
    def __init__(self, status: grpc.StatusCode, details: str | None) -> None:
        super().__init__(status.name)
        self.status = status
        self.details = details
