"""One flow-control budget for all consumers of a process: what may run, what may be held, and in whose turn."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Collection
from typing import Final, Protocol

from expert_bot.consumers.fairness import FairQueue

_MOST_PER_PULL: Final = 100
_MOST_ROOM_AWAITED: Final = 50
_SMOOTHING: Final = 0.02
_MOST_AWAY: Final = 1000
_MOST_RETURNED_ATTEMPTS: Final = (
    10  # of the 20 after which the broker dead-letters: the others are for crashes
)
_RATHER_EARLY: Final = 0.8
_SHORTEST_DELAY_S: Final = 1.0
_LONGEST_DELAY_S: Final = 300.0


class Holding(Protocol):
    """What the budget must know of a message that is held."""

    size: int
    is_gone: bool

    @property
    def attempt(self) -> int | None:
        """The broker's count of deliveries, if it counts."""
        ...

    def tenant(self) -> str:
        """Return whose message it is; only asked when there is not enough for everyone."""
        ...

    def start(self) -> None:
        """Begin the work: a slot was given to it, and `Budget.done` will give it back."""
        ...


class Budget:
    """At most `messages` messages run at once, over all subscriptions; nothing is pulled while `messages` or `bytes` are held.

    A pull that is under way reserves nothing, so what is *held* may exceed the budget by one response per open pull; what
    *runs* never does. When more is held than may run, tenants get slots round robin.

    A tenant with more than half of the budget would still keep the others' messages from being pulled at all. So, while
    work takes `slow_s` seconds or more and the budget is exceeded, `surplus_delay_s` tells which of its messages to hand
    back, and for how long: until those handed back before should be done, so that slots stay in use. Each return costs one
    of the broker's delivery attempts: nothing is returned after the tenth, and no more than the larger of 1,000 and two
    budgets are away at a time.
    """

    def __init__(self, messages: int = 500, bytes: int = 64 * 1024 * 1024, *, slow_s: float = 0.25) -> None:  # noqa: A002 - the unit is the name
        self.messages = messages
        self.bytes = bytes
        self.held = 0
        self.held_bytes = 0
        self.running = 0
        self.waiting_out = 0  # held until their retry, at most half of the budget
        self._slow_s = slow_s
        self._service_s = 0.0
        self._pull_again_at = messages - max(1, min(messages // 10, _MOST_ROOM_AWAITED))
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: FairQueue[Holding] = FairQueue()
        self._holdings: list[Collection[Holding]] = []
        self._shares: Counter[str] | None = None
        self._away_until: list[float] = []  # a heap

    def join(self, holdings: Collection[Holding]) -> None:
        """Count a consumer's messages in when tenants are compared; `holdings` is its live collection."""
        self._holdings.append(holdings)

    def leave(self, holdings: Collection[Holding]) -> None:
        """Forget a consumer that has ended."""
        self._holdings = [other for other in self._holdings if other is not holdings]

    async def room(self) -> None:
        """Wait until more may be pulled."""
        await self._room.wait()

    def ask(self) -> int:
        """Return how many messages the next pull should ask for, at least 1.

        While one tenant has more than half, or messages of such a one are away, this is more than there is room for: the
        others' messages are behind.
        """
        if self._is_hogged():
            return _MOST_PER_PULL
        return min(_MOST_PER_PULL, max(1, self.messages - self.held))

    def free(self) -> int:
        """Return how many more messages may be held, at least 0."""
        return max(0, self.messages - self.held) if self.held_bytes < self.bytes else 0

    def take(self, holding: Holding) -> None:
        """Count a message that has arrived; it must be in the consumer's collection already."""
        self.held += 1
        self.held_bytes += holding.size
        if self._shares is not None:
            self._shares[holding.tenant()] += 1
        if self.held >= self.messages or self.held_bytes >= self.bytes:
            self._room.clear()
            if self._shares is None and self._service_s >= self._slow_s:
                self._shares = Counter(each.tenant() for holdings in self._holdings for each in holdings)

    def give(self, holding: Holding) -> None:
        """Count a message out that is settled; it must no longer be in the consumer's collection."""
        self.held -= 1
        self.held_bytes -= holding.size
        if self._shares is not None:
            tenant = holding.tenant()
            self._shares[tenant] -= 1
            if self._shares[tenant] <= 0:
                del self._shares[tenant]
            if self.held < self.messages / 2:
                self._shares = None
        if self.held <= self._pull_again_at and self.held_bytes < self.bytes:
            self._room.set()

    def run(self, holding: Holding) -> None:
        """Start a message at once if a slot is free, else when its tenant's turn comes."""
        if self.running < self.messages:
            self.running += 1
            holding.start()
        else:
            self._waiting.push(holding.tenant(), holding)

    def done(self, took_s: float) -> None:
        """Take back the slot of work that has ended after `took_s` seconds, and give it to the next tenant."""
        self.running -= 1
        self._service_s += (took_s - self._service_s) * _SMOOTHING
        while self._waiting and self.running < self.messages:
            holding = self._waiting.pop()
            if not holding.is_gone:
                self.running += 1
                holding.start()

    def withdraw(self) -> None:
        """Forget what waited for a slot and is gone."""
        if self._waiting:
            self._waiting.remove(lambda holding: holding.is_gone)

    def surplus_delay_s(self, holding: Holding) -> float | None:
        """Return for how long to hand a message back that has just been taken, or None to keep it."""
        if self._shares is None or self.held <= self.messages or self.running < self.messages:
            return None
        if self._shares[holding.tenant()] <= self.messages / 2:
            return None
        if (holding.attempt or 0) > _MOST_RETURNED_ATTEMPTS or not self._may_send_away():
            return None
        turn_after_s = len(self._away_until) * self._service_s / self.messages
        delay_s = min(_LONGEST_DELAY_S, max(_SHORTEST_DELAY_S, _RATHER_EARLY * turn_after_s))
        heapq.heappush(self._away_until, time.monotonic() + delay_s)
        return delay_s

    def _is_hogged(self) -> bool:
        if self._shares is None and not self._away_until:
            return False
        most = max(self._shares.values(), default=0) if self._shares is not None else 0
        return self._may_send_away() and (most > self.messages / 2 or bool(self._away_until))

    def _may_send_away(self) -> bool:
        now = time.monotonic()
        while self._away_until and self._away_until[0] <= now:
            heapq.heappop(self._away_until)
        return len(self._away_until) < max(_MOST_AWAY, 2 * self.messages)
