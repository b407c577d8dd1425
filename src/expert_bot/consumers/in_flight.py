"""What a pull consumer holds: one task per message, ordering keys in order, everything settled by its outcome."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import structlog

from expert_bot.consumers.barriers import Barriers
from expert_bot.consumers.budget import Budget
from expert_bot.consumers.held import Held
from expert_bot.consumers.pull_settlements import MAX_DEADLINE_S, Settlements
from expert_bot.delivery import Ack, DeadLetter, Delivery, Retry

_CANCEL_WITHIN_S: Final = 1.0
_LONGEST_HOLD_S: Final = 30.0
_MOST_CRASHES: Final = 10  # then it is the broker's again, whose attempts end it some time
_SHORTEST_WAIT_S: Final = 0.01  # work that asks for no pause must not spin
_SHORTEST_MARGIN_S: Final = 5.0
_OUTCOMES: Final = (Ack, DeadLetter, Retry)

log = structlog.get_logger(__name__)


class InFlight:
    """Runs `process` on what arrives, as the budget gives slots, and settles it.

    What `process` returns is checked: only an Outcome settles anything.

    Messages of one ordering key run one after the other: while the first waits for its retry, the others wait behind
    it, held and extended. A short Retry of an unordered message is waited out here too (its broker attempts are for
    crashes); a longer one goes back to the broker. What waits takes no more than half of the budget: beyond that, and
    after ten crashes in a row, a key goes back as a whole, behind a barrier.
    """

    def __init__(
        self,
        *,
        subscription: str,
        process: Callable[[Delivery], Awaitable[object]],
        settlements: Settlements,
        budget: Budget,
        barriers: Barriers,
        max_extension_s: float,
        crash_retry_s: float,
        ordered: bool,
    ) -> None:
        self._subscription = subscription
        self._process = process
        self._settlements = settlements
        self._budget = budget
        self._barriers = barriers
        self._deadline_after_s = max_extension_s - min(_SHORTEST_MARGIN_S, max_extension_s / 10)
        self._crashed = Retry(crash_retry_s, "the work failed without an outcome")
        self._ordered = ordered
        self._keys: dict[str, deque[Held]] = {}
        self._stopping = False
        self.held: dict[Held, None] = {}
        budget.join(self.held)

    def accept(self, received: Iterable[Any], lease_until: float) -> None:
        """Take received messages, leased until that `time.monotonic`."""
        ordered, stopping = self._ordered, self._stopping
        if self._barriers:
            self._barriers.expire(time.monotonic())
        for each in received:
            key = each.message.ordering_key if ordered else ""
            if stopping and key not in self._keys:
                self._settlements.hand_back(each.ack_id, 0)
                continue
            if key and self._barriers and self._refuses(each, key):
                continue
            held = Held(each, key, lease_until, self._begin)
            self.held[held] = None
            self._budget.take(held)
            if not self._hands_surplus_back(held):
                self._admit(held)

    def stop(self) -> None:
        """Start nothing more, and hand back what waits; a key whose head still runs keeps its order until it ends."""
        self._stopping = True
        for held in [*self.held]:
            head = self._keys[held.key][0] if held.key else held
            if head.task is None:
                self._hand_back(held)
        self._keys = {key: queue for key, queue in self._keys.items() if queue[0].task is not None}
        self._budget.withdraw()

    async def finish(self, grace_s: float) -> None:
        """Give running work `grace_s` seconds, cancel the rest and hand back whatever is left. Call `stop` first."""
        running = {held.task for held in self.held if held.task is not None}
        if running:
            _, late = await asyncio.wait(running, timeout=grace_s)
            for held in [*self.held]:
                self._cancel(held)
            if late:
                await asyncio.wait(late, timeout=_CANCEL_WITHIN_S)
        for held in [*self.held]:
            self._hand_back(held)
        self._keys.clear()
        self._budget.leave(self.held)

    def lose(self, lost: list[Held]) -> None:
        """Cancel the work of messages whose leases the broker has given away, and hand back what waits behind them."""
        log.warning("leases_lost", subscription=self._subscription, messages=len(lost))
        for held in lost:
            if held.is_gone:
                continue
            self._cancel(held)
            if held.key:
                self._give_up_queue_from(held)
            else:
                self._forget(held)
        self._budget.withdraw()

    def _refuses(self, received: Any, key: str) -> bool:  # noqa: ANN401 - untyped generated class
        after_s = self._barriers.refuse(key, received.message.message_id, time.monotonic())
        if after_s is None:
            return False
        self._settlements.hand_back(received.ack_id, min(MAX_DEADLINE_S, math.ceil(after_s)))
        return True

    def _hands_surplus_back(self, held: Held) -> bool:
        """Hand back what its tenant has too much of; of an ordering key that is the end of the queue."""
        after_s = None if self._stopping else self._budget.surplus_delay_s(held)
        if after_s is None:
            return False
        if held.key:
            self._barriers.put(held.key, (held.message.message_id,), after_s, time.monotonic())
        self._settlements.hand_back(held.ack_id, min(MAX_DEADLINE_S, math.ceil(after_s)))
        self._forget(held)
        return True

    def _admit(self, held: Held) -> None:
        if held.key:
            queue = self._keys.get(held.key)
            if queue is not None:
                queue.append(held)
                return
            self._keys[held.key] = deque((held,))
        self._budget.run(held)

    def _begin(self, held: Held) -> None:
        held.started_at = 0.0
        held.is_overdue = False
        held.task = asyncio.get_running_loop().create_task(self._work(held))

    async def _work(self, held: Held) -> None:
        now = asyncio.get_running_loop().time
        started_at = held.started_at = now()
        outcome: object = None
        try:
            outcome = await self._process(
                held.delivery(self._subscription, started_at + self._deadline_after_s)
            )
        except asyncio.CancelledError:
            log.warning("work_cancelled", stopping=self._stopping, **self._facts(held))
            outcome = self._crashed
        except Exception:  # whatever the work raises, the message is settled
            log.exception("work_failed", **self._facts(held))
            outcome = self._crashed
        held.task = None
        if not held.is_gone:
            self._settle(held, outcome)
        self._budget.done(now() - started_at)

    def _cancel(self, held: Held) -> None:
        """Cancel work; a task that has not begun will never give its slot back."""
        if held.task is None:
            return
        held.task.cancel()
        if not held.started_at:
            held.task = None
            self._budget.done(0.0)

    def _settle(self, held: Held, outcome: object) -> None:
        if not isinstance(outcome, _OUTCOMES):
            log.error("work_without_outcome", returned=type(outcome).__name__, **self._facts(held))
            outcome = self._crashed
        if not isinstance(outcome, Retry):
            self._settlements.ack(held.ack_id)
        elif self._stopping:
            self._settlements.hand_back(held.ack_id, 0)
        elif self._may_wait_out(held, outcome):
            self._wait_out(held, outcome.after_s)
            return
        elif held.key:
            self._hand_key_back(held.key, outcome.after_s)
            return
        else:
            self._settlements.hand_back(
                held.ack_id, min(MAX_DEADLINE_S, math.ceil(max(0.0, outcome.after_s)))
            )
        self._forget(held)
        if held.key:
            self._advance(held.key)

    def _may_wait_out(self, held: Held, retry: Retry) -> bool:
        if retry is self._crashed:
            held.crashes += 1
        if self._budget.waiting_out >= self._budget.messages / 2 or held.crashes >= _MOST_CRASHES:
            return False
        return bool(held.key) or (retry is not self._crashed and retry.after_s <= _LONGEST_HOLD_S)

    def _hand_key_back(self, key: str, after_s: float) -> None:
        """Hand back a message that is to be repeated with all that wait behind it; none may overtake it."""
        queue = self._keys.pop(key)
        ids = [held.message.message_id for held in queue]
        self._barriers.put(key, ids, after_s, time.monotonic())
        for held in queue:
            self._settlements.hand_back(held.ack_id, min(MAX_DEADLINE_S, math.ceil(max(0.0, after_s))))
            self._forget(held)

    def _wait_out(self, held: Held, after_s: float) -> None:
        self._budget.waiting_out += 1
        held.timer = asyncio.get_running_loop().call_later(max(_SHORTEST_WAIT_S, after_s), self._repeat, held)

    def _repeat(self, held: Held) -> None:
        self._budget.waiting_out -= 1
        held.timer = None
        self._budget.run(held)

    def _advance(self, key: str) -> None:
        """Let the next message of the key run; while stopping, hand all of them back in order."""
        queue = self._keys[key]
        queue.popleft()
        if self._stopping:
            for held in queue:
                self._hand_back(held)
            queue.clear()
        if queue:
            self._budget.run(queue[0])
        else:
            del self._keys[key]

    def _give_up_queue_from(self, lost: Held) -> None:
        """Forget a lost message and hand back its successors: they must not run before it comes again."""
        queue = self._keys[lost.key]
        position = queue.index(lost)
        tail = [*queue][position:]
        self._barriers.put(lost.key, [held.message.message_id for held in tail], 0.0, time.monotonic())
        for held in tail:
            queue.pop()
            if held is lost:
                self._forget(held)
            else:
                self._hand_back(held)
        if not queue:
            del self._keys[lost.key]

    def _hand_back(self, held: Held) -> None:
        self._settlements.hand_back(held.ack_id, 0)
        self._forget(held)

    def _forget(self, held: Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
            self._budget.waiting_out -= 1
        held.is_gone = True
        del self.held[held]
        self._budget.give(held)

    def _facts(self, held: Held) -> dict[str, Any]:
        return {"subscription": self._subscription, "message_id": held.message.message_id}
