"""Messages in from the embedded bus: polls, runs one task per message, keeps leases alive, settles in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, assert_never

import structlog

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.embedded_settlements import Settlements
from expert_bot.consumers.fairness import tenant_of
from expert_bot.delivery import Ack, DeadLetter, Delivery, Outcome, Retry
from expert_bot.errors import BusUnavailableError
from expert_bot.storage.sqlite_bus import Received, SqliteBus

_SHORTEST_PAUSE_S: Final = 0.005
_LONGEST_OUTAGE_PAUSE_S: Final = 2.0
_CANCEL_GRACE_S: Final = 1.0
_EXTENSIONS_PER_LEASE: Final = 3

log = structlog.get_logger(__name__)


class _Taken:
    """A message between its arrival and its settlement: what the budget is told of it, and its work once that runs."""

    __slots__ = ("_begin", "ack_id", "has_begun", "is_gone", "received", "size", "task")

    def __init__(self, received: Received, begin: Callable[[_Taken], None]) -> None:
        self.received = received
        self.ack_id = received.ack_id
        self.size = len(received.delivery.data)
        self.task: asyncio.Task[None] | None = None
        self.has_begun = False
        self.is_gone = False
        self._begin = begin

    @property
    def attempt(self) -> int | None:
        """The bus's count of deliveries."""
        return self.received.delivery.attempt

    def tenant(self) -> str:
        """Return whose message it is."""
        return tenant_of(self.received.delivery.data, self.received.delivery.ordering_key)

    def start(self) -> None:
        """Begin the work."""
        self._begin(self)


class EmbeddedConsumer:
    """The Consumer port over one subscription of the embedded bus.

    Ordering keys are the bus's work: it hands out only the earliest message of each key. `budget`: shared by all consumers
    of the process; if None, one of its own. `poll_s`: longest pause
    between two looks at an idle subscription; what this process publishes is seen at once. `max_lease_s`: how long one
    message may be worked on before its work is cancelled and it is delivered again.
    """

    def __init__(
        self,
        bus: SqliteBus,
        subscription: str,
        process: Callable[[Delivery], Awaitable[Outcome]],
        *,
        budget: Budget | None = None,
        poll_s: float = 0.2,
        max_lease_s: float = 600.0,
    ) -> None:
        self._bus = bus
        self._subscription = subscription
        self._process = process
        self._budget = budget or Budget()
        self._poll_s = poll_s
        self._max_lease_s = max_lease_s
        self._settlements = Settlements(bus, subscription)
        self._in_flight: dict[str, _Taken] = {}
        self._lease_s = 1.0  # until the first delivery tells
        self._wake = asyncio.Event()
        self._draining = False
        self._grace_over = asyncio.Event()
        self._ended: asyncio.Event | None = None
        self._answered_at = time.monotonic()

    async def run(self) -> None:
        """Consume until drained. Survives every outage of the bus."""
        if self._draining:
            return
        self._ended = asyncio.Event()
        settling = asyncio.create_task(self._settlements.run())
        extending = asyncio.create_task(self._extend_leases())
        for helper in (settling, extending):
            helper.add_done_callback(self._stop_taking)
        try:
            with self._bus.listening(self._wake.set):
                await self._take_until_draining()
            await self._finish_work()
        finally:
            self._draining = True
            await self._hand_back()
            extending.cancel()
            self._settlements.stop()
            await asyncio.wait({extending, settling})
            self._ended.set()
        settling.result()

    async def drain(self, grace_s: float) -> None:
        """Stop taking, give running work `grace_s` seconds, cancel the rest and hand it back. Idempotent."""
        self._draining = True
        self._wake.set()
        if self._ended is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), grace_s)
        self._grace_over.set()
        await self._ended.wait()

    def stalled_for_s(self) -> float:
        """Seconds since the bus last answered."""
        return time.monotonic() - self._answered_at

    async def _take_until_draining(self) -> None:
        pause_s = outage_pause_s = _SHORTEST_PAUSE_S
        while not self._draining:
            self._wake.clear()
            try:
                received = await self._bus.receive(self._subscription, self._budget.free())
            except BusUnavailableError as error:
                log.warning("bus_unavailable", subscription=self._subscription, error=str(error))
                await self._pause(outage_pause_s)
                outage_pause_s = min(outage_pause_s * 2, _LONGEST_OUTAGE_PAUSE_S)
                continue
            self._answered_at = time.monotonic()
            outage_pause_s = _SHORTEST_PAUSE_S
            for item in received:
                self._start(item)
            if received:
                pause_s = _SHORTEST_PAUSE_S
            else:
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, self._poll_s)

    def _stop_taking(self, _ended: asyncio.Task[None]) -> None:
        """End once a helper has: without leases and settlements messages would be worked on again and again."""
        self._draining = True
        self._grace_over.set()
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _start(self, received: Received) -> None:
        self._lease_s = received.lease_s
        if self._draining:
            self._settlements.nack(received.ack_id, 0)
        else:
            taken = self._in_flight[received.ack_id] = _Taken(received, self._begin)
            self._budget.take(taken)
            self._budget.run(taken)

    def _begin(self, taken: _Taken) -> None:
        taken.task = asyncio.get_running_loop().create_task(self._work(taken))

    async def _work(self, taken: _Taken) -> None:
        taken.has_begun = True
        started_at = asyncio.get_running_loop().time()
        try:
            await self._process_and_settle(taken.received)
        finally:
            self._forget(taken)
            self._budget.done(asyncio.get_running_loop().time() - started_at)
            if self._budget.held == self._budget.messages * 3 // 4:  # in lots, not one by one
                self._wake.set()

    async def _process_and_settle(self, received: Received) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._max_lease_s
        delivery = replace(received.delivery, deadline_s=deadline_s)
        facts = {"subscription": self._subscription, "message_id": delivery.message_id}
        try:
            async with asyncio.timeout_at(deadline_s):
                outcome = await self._process(delivery)
            self._settle(received.ack_id, outcome)
        except asyncio.CancelledError:
            log.warning("message_handed_back", **facts)
            self._settlements.nack(received.ack_id, 0 if self._draining else None)
        except Exception:  # whatever the work raises, the message is settled
            log.exception("message_work_failed", **facts)
            self._settlements.nack(received.ack_id, None)

    def _settle(self, ack_id: str, outcome: Outcome) -> None:
        match outcome:
            case Ack() | DeadLetter():
                self._settlements.ack(ack_id)
            case Retry(after_s):
                self._settlements.nack(ack_id, after_s)
            case _:
                assert_never(outcome)

    async def _extend_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / _EXTENSIONS_PER_LEASE)
            if not self._in_flight:
                continue
            try:
                await self._bus.modify_deadline(list(self._in_flight), self._lease_s)
                self._answered_at = time.monotonic()
            except BusUnavailableError as error:
                log.warning("leases_not_extended", subscription=self._subscription, error=str(error))

    async def _finish_work(self) -> None:
        """Wait until no work is left or the grace is over."""
        grace_over = asyncio.create_task(self._grace_over.wait())
        while (running := self._running()) and not grace_over.done():
            await asyncio.wait({grace_over, *running}, return_when=asyncio.FIRST_COMPLETED)
        grace_over.cancel()

    async def _hand_back(self) -> None:
        """Cancel what still runs; work that had not begun or does not heed its cancellation is handed back too."""
        for taken in [*self._in_flight.values()]:
            if taken.task is not None:
                taken.task.cancel()
            if not taken.has_begun:
                self._settlements.nack(taken.ack_id, 0)
                self._forget(taken)
                if taken.task is not None:  # it has a slot, and will never give it back
                    self._budget.done(0.0)
        self._budget.withdraw()
        if running := self._running():
            await asyncio.wait(running, timeout=_CANCEL_GRACE_S)
        for taken in [*self._in_flight.values()]:
            self._settlements.nack(taken.ack_id, 0)
            self._forget(taken)

    def _running(self) -> set[asyncio.Task[None]]:
        return {taken.task for taken in self._in_flight.values() if taken.task is not None}

    def _forget(self, taken: _Taken) -> None:
        if not taken.is_gone:
            taken.is_gone = True
            del self._in_flight[taken.ack_id]
            self._budget.give(taken)
