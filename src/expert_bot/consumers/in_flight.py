"""What a pull consumer holds: one task per message, ordering keys in order, one budget, leases kept until settled."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any, Final

import structlog

from expert_bot.consumers.pull_settlements import MAX_DEADLINE_S, Settlements
from expert_bot.delivery import Ack, DeadLetter, Delivery, Outcome, Retry

_CANCEL_WITHIN_S: Final = 1.0
_LONGEST_HOLD_S: Final = 30.0
_SHORTEST_MARGIN_S: Final = 5.0
_CRASHED: Final = Retry(10.0, "the work failed without an outcome")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Budget over all streams, and how long one message may be worked on (`extension_s`)."""

    messages: int
    bytes: int
    extension_s: float
    ack_deadline_s: int


class Held:
    """One message between its arrival and its settlement."""

    __slots__ = ("ack_id", "attempt", "key", "lease_until", "message", "size", "started_at", "task", "timer")

    def __init__(self, received: Any, key: str, lease_until: float) -> None:  # noqa: ANN401 - untyped generated class
        self.ack_id: str = received.ack_id
        self.attempt: int | None = received.delivery_attempt or None
        self.message = received.message
        self.size = len(self.message.data)
        self.key = key
        self.lease_until = lease_until
        self.started_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class InFlight:
    """Runs `process` on what arrives and settles it; at most `limits.messages` run at once.

    What `process` returns is checked: only an Outcome settles anything.

    Messages of one ordering key run one after the other: while the first waits for its retry, the others wait behind
    it, held and extended. A short Retry of an unordered message is waited out here (its broker attempts are for
    crashes), as long as such messages take no more than half of the budget; a longer one goes back to the broker.
    """

    def __init__(
        self,
        *,
        subscription: str,
        process: Callable[[Delivery], Awaitable[object]],
        settlements: Settlements,
        limits: Limits,
        ordered: bool,
    ) -> None:
        self._subscription = subscription
        self._process = process
        self._settlements = settlements
        self._limits = limits
        self._ordered = ordered
        self._margin_s = min(_SHORTEST_MARGIN_S, limits.extension_s / 10)
        self._held: dict[Held, None] = {}
        self._held_bytes = 0
        self._running = 0
        self._waiting_out = 0
        self._ready: deque[Held] = deque()
        self._keys: dict[str, deque[Held]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False

    async def room(self) -> None:
        """Wait until the budget allows to take more; returns at once while stopping."""
        await self._room.wait()

    def accept(self, received: Any, lease_until: float) -> None:  # noqa: ANN401 - untyped generated class
        """Take a received message, leased until that `time.monotonic`; while stopping it goes straight back."""
        key = received.message.ordering_key if self._ordered else ""
        queue = self._keys.get(key) if key else None
        if self._stopping and queue is None:
            self._settlements.hand_back(received.ack_id, 0)
            return
        held = Held(received, key, lease_until)
        self._held[held] = None
        self._held_bytes += held.size
        if self._is_full() and not self._stopping:
            self._room.clear()
        if queue is not None:
            queue.append(held)
            return
        if key:
            self._keys[key] = deque((held,))
        self._start_or_queue(held)

    def stop(self) -> None:
        """Start nothing more, and hand back what waits; a key whose head still runs keeps its order until it ends."""
        self._stopping = True
        self._room.set()
        self._ready.clear()
        for held in [*self._held]:
            head = self._keys[held.key][0] if held.key else held
            if head.task is None:
                self._hand_back(held)
        self._keys = {key: queue for key, queue in self._keys.items() if queue[0].task is not None}

    async def finish(self, grace_s: float) -> None:
        """Give running work `grace_s` seconds, cancel the rest and hand back whatever is left. Call `stop` first."""
        running = {held.task for held in self._held if held.task is not None}
        if running:
            _, late = await asyncio.wait(running, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_CANCEL_WITHIN_S)
        for held in [*self._held]:
            self._hand_back(held)
        self._keys.clear()

    async def keep_leases(self) -> None:
        """Extend, for ever, every lease that is half over; cancel work that takes longer than allowed."""
        while True:
            await asyncio.sleep(min(1.0, self._limits.ack_deadline_s / 10))
            now = time.monotonic()
            half_s = self._limits.ack_deadline_s / 2
            due: list[Held] = []
            for held in self._held:
                if held.task is not None and now - held.started_at > self._limits.extension_s:
                    held.task.cancel()
                elif held.lease_until - now < half_s:
                    due.append(held)
            if due and await self._settlements.extend(
                partial(self._still_held, due), self._limits.ack_deadline_s
            ):
                for held in due:
                    held.lease_until = now + self._limits.ack_deadline_s

    def _still_held(self, due: list[Held]) -> list[str]:
        return [held.ack_id for held in due if held in self._held]

    def _start_or_queue(self, held: Held) -> None:
        if self._running >= self._limits.messages:
            self._ready.append(held)
            return
        self._running += 1
        held.started_at = time.monotonic()
        held.task = asyncio.get_running_loop().create_task(self._work(held))

    async def _work(self, held: Held) -> None:
        outcome = await self._outcome(held)
        held.task = None
        self._running -= 1
        if held in self._held:
            self._settle(held, outcome)
        while self._ready and self._running < self._limits.messages:
            self._start_or_queue(self._ready.popleft())

    async def _outcome(self, held: Held) -> Outcome:
        try:
            outcome = await self._process(self._delivery(held))
            if isinstance(outcome, Ack | DeadLetter | Retry):
                return outcome
            log.error("work_without_outcome", returned=type(outcome).__name__, **self._facts(held))
        except asyncio.CancelledError:
            log.warning("work_cancelled", stopping=self._stopping, **self._facts(held))
        except Exception:  # whatever the work raises, the message is settled
            log.exception("work_failed", **self._facts(held))
        return _CRASHED

    def _settle(self, held: Held, outcome: Outcome) -> None:
        if not isinstance(outcome, Retry):
            self._settlements.ack(held.ack_id)
        elif self._stopping:
            self._settlements.hand_back(held.ack_id, 0)
        elif held.key or self._may_wait_out(outcome):
            self._wait_out(held, outcome.after_s)
            return
        else:
            self._settlements.hand_back(
                held.ack_id, min(MAX_DEADLINE_S, math.ceil(max(0.0, outcome.after_s)))
            )
        self._forget(held)
        if held.key:
            self._advance(held.key)

    def _may_wait_out(self, retry: Retry) -> bool:
        return (
            retry is not _CRASHED
            and retry.after_s <= _LONGEST_HOLD_S
            and self._waiting_out < self._limits.messages / 2
        )

    def _wait_out(self, held: Held, after_s: float) -> None:
        self._waiting_out += 1
        held.timer = asyncio.get_running_loop().call_later(max(0.0, after_s), self._repeat, held)

    def _repeat(self, held: Held) -> None:
        self._waiting_out -= 1
        held.timer = None
        self._start_or_queue(held)

    def _advance(self, key: str) -> None:
        """Let the next message of the key run; while stopping, hand all of them back in order."""
        queue = self._keys[key]
        queue.popleft()
        if self._stopping:
            for held in queue:
                self._hand_back(held)
            queue.clear()
        if queue:
            self._start_or_queue(queue[0])
        else:
            del self._keys[key]

    def _hand_back(self, held: Held) -> None:
        self._settlements.hand_back(held.ack_id, 0)
        self._forget(held)

    def _forget(self, held: Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
            self._waiting_out -= 1
        del self._held[held]
        self._held_bytes -= held.size
        if not self._is_full():
            self._room.set()

    def _is_full(self) -> bool:
        return len(self._held) >= self._limits.messages or self._held_bytes >= self._limits.bytes

    def _delivery(self, held: Held) -> Delivery:
        message = held.message
        return Delivery(
            subscription=self._subscription,
            data=message.data,
            attributes=dict(message.attributes),
            message_id=message.message_id,
            ordering_key=message.ordering_key,
            published_at=message.publish_time.ToDatetime(tzinfo=UTC),
            attempt=held.attempt,
            deadline_s=asyncio.get_running_loop().time() + self._limits.extension_s - self._margin_s,
        )

    def _facts(self, held: Held) -> dict[str, Any]:
        return {"subscription": self._subscription, "message_id": held.message.message_id}
