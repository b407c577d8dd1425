"""Clicks on links: counted in memory while links lead on, handed on in batches as rows of their owners."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal
from typing import Final

import structlog
from aiohttp import web

from expert_bot.ports import Clock
from expert_bot.ports_analytics import UserAnalyticsRow
from expert_bot.storage.row_batches import Appends, RowBatches

EVERY_S: Final = 10.0
"""How often clicks are handed on: a process that is killed takes the clicks of as many seconds with it, and of a batch."""
AT_THE_END_S: Final = 1.0
"""How long handing on the last clicks may take."""
CLICKED: Final = "link.clicked:"
"""What the name of a row of clicks starts with; the link's id follows."""

_log = structlog.get_logger(__name__)


class LinkClicks:
    """Clicks by link. Nothing is written while somebody waits: `count` adds in memory, `running` hands the sums on."""

    def __init__(self, analytics: Appends, clock: Clock, *, every_s: float = EVERY_S) -> None:
        self._batches = RowBatches(analytics)
        self._clock = clock
        self._every_s = every_s
        self._process = uuid.uuid4().hex[:12]
        self._rows = 0
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def waiting(self) -> int:
        """Clicks that have not been handed on."""
        return self._counts.total()

    def count(self, owner_id: str, link_id: str) -> None:
        """Count one click on a link that exists."""
        self._counts[owner_id, link_id] += 1

    async def hand_on(self) -> None:
        """Hand on what was counted since the last time; what cannot be handed on stays counted.

        Waits while too many rows are waiting. Raises StoreUnavailableError after the end of `running`.
        """
        taken, self._counts = self._counts, Counter()
        try:
            for owner_id, link_id in list(taken):
                await self._batches.put(self._row(owner_id, link_id, taken[owner_id, link_id]))
                del taken[owner_id, link_id]
        finally:
            self._counts.update(taken)

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Hand clicks on for as long as an application runs, and the last ones when its last request has ended."""
        handing_on = asyncio.create_task(self._run(), name="link-clicks")
        yield
        handing_on.cancel()
        await asyncio.wait([handing_on])
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_THE_END_S):
                await self.hand_on()
        await self._batches.close(within_s=AT_THE_END_S)
        if self.waiting:
            _log.warning("link_clicks_lost", clicks=self.waiting)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.hand_on()

    def _row(self, owner_id: str, link_id: str, clicks: int) -> UserAnalyticsRow:
        self._rows += 1
        return UserAnalyticsRow(
            row_id=f"{self._process}:clicks:{self._rows}",
            recorded_at=self._clock.now(),
            user_id=owner_id,
            name=f"{CLICKED}{link_id}",
            value=Decimal(clicks),
        )
