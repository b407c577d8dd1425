"""Acknowledgements and returns on their way to the embedded bus: whatever has gathered goes in one transaction."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from expert_bot.errors import BusUnavailableError
from expert_bot.storage.sqlite_bus import SqliteBus

_OUTAGE_PAUSE_S: Final = 0.25

log = structlog.get_logger(__name__)


class Settlements:
    """Keeps what could not be written and tries again; a lease that lapses meanwhile makes it moot, not wrong."""

    def __init__(self, bus: SqliteBus, subscription: str) -> None:
        self._bus = bus
        self._subscription = subscription
        self._acks: list[str] = []
        self._nacks: list[tuple[str, float | None]] = []
        self._changed = asyncio.Event()
        self._stopping = False

    def ack(self, ack_id: str) -> None:
        """Settle a delivery for good."""
        self._acks.append(ack_id)
        self._changed.set()

    def nack(self, ack_id: str, after_s: float | None) -> None:
        """Give a delivery back, for `after_s` seconds from now; None: the subscription's own backoff."""
        self._nacks.append((ack_id, after_s))
        self._changed.set()

    def stop(self) -> None:
        """Let `run` end once everything is written, or at the first failure."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Write settlements until stopped. Never cancel it: what is half-way would be forgotten."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write()
            except BusUnavailableError as error:
                log.warning("settlements_not_written", subscription=self._subscription, error=str(error))
                if self._stopping:
                    return
                self._changed.set()
                await asyncio.sleep(_OUTAGE_PAUSE_S)
            if self._stopping and not (self._acks or self._nacks):
                return

    async def _write(self) -> None:
        """Write what is there now and forget it only afterwards. Raises BusUnavailableError."""
        acks = len(self._acks)
        if acks:
            await self._bus.acknowledge(self._acks[:acks])
            del self._acks[:acks]
        while self._nacks:
            await self._bus.nack(*self._nacks[0])
            del self._nacks[0]
