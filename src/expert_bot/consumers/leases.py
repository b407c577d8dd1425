"""Leases kept until their messages are settled, in few requests; work that takes too long or lost its lease is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from expert_bot.consumers.held import Held
from expert_bot.consumers.pull_settlements import Settlements

_SHORTEST_LEASE_S: Final = 10
_SPARED_S: Final = 0.25
_TICK_S: Final = 0.25


class LeaseKeeper:
    """Keeps the leases of what is in `held`, a live collection, for `ack_deadline_s` seconds at a time.

    A pulled message is leased for as long as its subscription says, which is not known here and is at least 10 s. What is
    still held after a quarter of a second gets our own deadline: that is then what a killed worker leaves behind. What has
    been settled by then, usually most, costs nothing. `on_lost` is told whose leases the broker has given away.
    """

    def __init__(
        self,
        held: Collection[Held],
        settlements: Settlements,
        *,
        ack_deadline_s: int,
        max_extension_s: float,
        on_lost: Callable[[list[Held]], None],
    ) -> None:
        self._held = held
        self._settlements = settlements
        self._ack_deadline_s = ack_deadline_s
        self._max_extension_s = max_extension_s
        self._on_lost = on_lost

    def first_lease_s(self) -> int:
        """Return for how long what has just been pulled is leased at least, in seconds."""
        return min(_SHORTEST_LEASE_S, self._ack_deadline_s)

    async def run(self) -> None:
        """Keep leases for ever."""
        while True:
            await asyncio.sleep(min(_TICK_S, self._ack_deadline_s / 40))
            if due := self._scan():
                await self._extend(due)

    def _scan(self) -> list[Held]:
        """Cancel work that takes longer than allowed, and return what has less than half of its lease left."""
        now, loop_now = time.monotonic(), asyncio.get_running_loop().time()
        half_s = self._ack_deadline_s / 2
        spared_s = self.first_lease_s() - _SPARED_S
        due: list[Held] = []
        for held in self._held:
            left_s = held.lease_until - now
            if (
                held.task is not None
                and not held.is_overdue
                and held.started_at
                and loop_now - held.started_at > self._max_extension_s
            ):
                held.is_overdue = True
                held.task.cancel()
            elif left_s < (half_s if held.is_extended else spared_s):
                due.append(held)
        return due

    async def _extend(self, due: list[Held]) -> None:
        asked_at = time.monotonic()
        extension = await self._settlements.extend(
            lambda: [held.ack_id for held in due if not held.is_gone], self._ack_deadline_s
        )
        if extension.confirmed:
            for held in due:
                held.is_extended = True
                held.lease_until = asked_at + self._ack_deadline_s
        if extension.lost:
            self._on_lost([held for held in due if held.ack_id in extension.lost and not held.is_gone])
