"""Acknowledgements and deadline changes of one Pub/Sub subscription, gathered for a few milliseconds and repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc.aio
import structlog
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub as wire

from expert_bot.consumers.ack_failures import failures_by_ack_id, split
from expert_bot.consumers.backoff import jittered_delays
from expert_bot.google_channels import routing, unary

_AcknowledgeRequest: Final[Any] = wire.AcknowledgeRequest.pb()
_ModifyAckDeadlineRequest: Final[Any] = wire.ModifyAckDeadlineRequest.pb()

MAX_DEADLINE_S: Final = 600
_MAX_IDS: Final = 1000  # a request may have 512 KiB, an ack id about 200 bytes
_TIMEOUT_S: Final = 5.0
_LONGEST_DELAY_S: Final = 5.0
_TRANSIENT: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Extension:
    """What became of an extension: `lost` leases can never be extended again; unless `confirmed`, others failed too."""

    confirmed: bool
    lost: frozenset[str] = frozenset()


class Settlements:
    """What has been decided about deliveries, on its way to the broker.

    Requests are repeated while the broker is away, for at most `give_up_after_s`: by then the lease has lapsed and
    the message comes again. Where an exactly-once subscription refuses single ack ids, only those are repeated that may
    still succeed. `on_answer` is called whenever the broker answers.
    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        path: str,
        on_answer: Callable[[], None],
        flush_after_s: float = 0.005,
        give_up_after_s: float = 60.0,
    ) -> None:
        self._path = path
        self._metadata = routing("subscription", path)
        self._on_answer = on_answer
        self._flush_after_s = flush_after_s
        self._give_up_after_s = give_up_after_s
        self._acknowledge = unary(channel, "Subscriber/Acknowledge", _AcknowledgeRequest, empty_pb2.Empty)
        self._modify = unary(
            channel, "Subscriber/ModifyAckDeadline", _ModifyAckDeadlineRequest, empty_pb2.Empty
        )
        self._acks: list[str] = []
        self._returns: dict[int, list[str]] = {}
        self._returns_wait = False
        self._timer: asyncio.TimerHandle | None = None
        self._requests: set[asyncio.Task[None]] = set()
        # One deadline change at a time: an extension that arrives after a return would take the message back.
        self._modifying = asyncio.Lock()

    def ack(self, ack_id: str) -> None:
        """Settle a delivery for good."""
        self._acks.append(ack_id)
        self._schedule(full=len(self._acks) >= _MAX_IDS)

    def hand_back(self, ack_id: str, after_s: int) -> None:
        """Let the broker deliver it again after `after_s` seconds, 0..600."""
        ack_ids = self._returns.setdefault(after_s, [])
        ack_ids.append(ack_id)
        if not self._returns_wait:
            self._schedule(full=len(ack_ids) >= _MAX_IDS)

    def hold_returns(self) -> None:
        """Keep returns here until `release_returns`."""
        self._returns_wait = True

    def release_returns(self) -> None:
        """Send the returns that were kept, in their order, and further ones as ever."""
        self._returns_wait = False
        self._flush()

    async def extend(self, still_held: Callable[[], list[str]], seconds: int) -> Extension:
        """Extend the leases of what is `still_held` when the request leaves."""
        confirmed, lost = True, set[str]()
        async with self._modifying:
            ack_ids = still_held()
            for start in range(0, len(ack_ids), _MAX_IDS):
                try:
                    await self._modify_deadline(ack_ids[start : start + _MAX_IDS], seconds)
                except grpc.aio.UsageError:  # the channel was closed: the leases lapse by themselves
                    return Extension(confirmed=False, lost=frozenset(lost))
                except grpc.aio.AioRpcError as error:
                    again, never = split(failures := failures_by_ack_id(error))
                    lost.update(never)
                    if again or not failures:
                        confirmed = False
                        log.warning("leases_not_extended", leases=len(again or ack_ids), **self._facts(error))
        return Extension(confirmed, frozenset(lost))

    async def close(self, within_s: float) -> None:
        """Send what is gathered; give up what is not confirmed within `within_s` seconds."""
        self._flush()
        if self._requests:
            await asyncio.wait(self._requests, timeout=within_s)
        for request in self._requests:
            request.cancel()

    def _schedule(self, *, full: bool) -> None:
        if full:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_after_s, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        acks, self._acks = self._acks, []
        returns: dict[int, list[str]] = {}
        if not self._returns_wait:
            returns, self._returns = self._returns, {}
        if acks:
            self._start("ack", acks, self._send_acks)
        for after_s, ack_ids in returns.items():
            for start in range(0, len(ack_ids), _MAX_IDS):
                some = ack_ids[start : start + _MAX_IDS]
                self._start("return", some, partial(self._send_returns, after_s))

    def _start(self, kind: str, ack_ids: list[str], send: Callable[[list[str]], Awaitable[None]]) -> None:
        request = asyncio.get_running_loop().create_task(self._repeat(kind, ack_ids, send))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _repeat(
        self, kind: str, ack_ids: list[str], send: Callable[[list[str]], Awaitable[None]]
    ) -> None:
        now = asyncio.get_running_loop().time
        give_up_at = now() + self._give_up_after_s
        for delay_s in jittered_delays(0.1, _LONGEST_DELAY_S):
            try:
                await send(ack_ids)
                return
            except grpc.aio.UsageError:  # the channel was closed: the leases lapse by themselves
                return
            except grpc.aio.AioRpcError as error:
                ack_ids = self._worth_repeating(kind, ack_ids, error, give_up=now() + delay_s > give_up_at)
            if not ack_ids:
                return
            await asyncio.sleep(delay_s)

    def _worth_repeating(
        self, kind: str, ack_ids: list[str], error: grpc.aio.AioRpcError, *, give_up: bool
    ) -> list[str]:
        failures = failures_by_ack_id(error)
        again, never = split(failures) if failures else (ack_ids, [])
        if never:
            log.warning("ack_rejected", request=kind, messages=len(never), **self._facts(error))
        if again and (give_up or not (failures or error.code() in _TRANSIENT)):
            log.warning("settlements_given_up", request=kind, messages=len(again), **self._facts(error))
            return []
        return again

    async def _send_acks(self, ack_ids: list[str]) -> None:
        await self._acknowledge(
            _AcknowledgeRequest(subscription=self._path, ack_ids=ack_ids),
            timeout=_TIMEOUT_S,
            metadata=self._metadata,
        )
        self._on_answer()

    async def _send_returns(self, after_s: int, ack_ids: list[str]) -> None:
        async with self._modifying:
            await self._modify_deadline(ack_ids, after_s)

    async def _modify_deadline(self, ack_ids: list[str], seconds: int) -> None:
        await self._modify(
            _ModifyAckDeadlineRequest(subscription=self._path, ack_ids=ack_ids, ack_deadline_seconds=seconds),
            timeout=_TIMEOUT_S,
            metadata=self._metadata,
        )
        self._on_answer()

    def _facts(self, error: grpc.aio.AioRpcError) -> dict[str, Any]:
        return {"subscription": self._path, "status": error.code().name, "details": error.details()}
