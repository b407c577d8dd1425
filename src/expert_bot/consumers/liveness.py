"""Whether the broker answers, and what kept it from answering: each kind of trouble is one line in the log."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import grpc.aio
import structlog

_ESTABLISHED_AFTER_S: Final = 2.0
_WATCH_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


class Liveness:
    """Seconds since the broker of one subscription last answered.

    An open pull on a live connection counts as answering, because an idle broker says nothing for long; but after a pull
    that the broker let run into its deadline only a real answer counts.
    """

    def __init__(self, channel: grpc.aio.Channel, path: str) -> None:
        self._channel = channel
        self._path = path
        self._answered_at = time.monotonic()
        self._is_silent = False
        self._trouble: grpc.StatusCode | None = None
        self._open_pulls: dict[asyncio.Task[Any] | None, float] = {}

    async def watch(self) -> None:
        """Look now and then, for ever: an idle broker that goes away has been there until then."""
        while True:
            self.stalled_for_s()
            await asyncio.sleep(_WATCH_EVERY_S)

    def stalled_for_s(self) -> float:
        """Return the seconds since the last sign of life."""
        now = time.monotonic()
        if (
            not self._is_silent
            and any(now - opened_at > _ESTABLISHED_AFTER_S for opened_at in self._open_pulls.values())
            and self._channel.get_state() is grpc.ChannelConnectivity.READY
        ):
            self._answered_at = now
        return now - self._answered_at

    def note_start(self) -> None:
        """Count from now."""
        self._answered_at = time.monotonic()

    def note_open(self) -> float:
        """Count a pull that the current task opens, and return when: a `time.monotonic`."""
        opened_at = time.monotonic()
        self._open_pulls[asyncio.current_task()] = opened_at
        return opened_at

    def note_closed(self) -> None:
        """Forget the current task's pull."""
        self._open_pulls.pop(asyncio.current_task(), None)

    def pulling(self) -> set[asyncio.Task[Any]]:
        """Return the tasks whose pulls are open."""
        return {task for task in self._open_pulls if task is not None}

    def note_answer(self) -> None:
        """Count an answer, and log the end of trouble."""
        self._answered_at = time.monotonic()
        self._is_silent = False
        if self._trouble is not None:
            log.info("pull_resumed", subscription=self._path, after=self._trouble.name)
            self._trouble = None

    def note_silence(self, opened_at: float) -> None:
        """Count a pull that ran into its deadline: nothing since it was opened was a sign of life."""
        if not self._is_silent:
            self._is_silent = True
            self._answered_at = min(self._answered_at, opened_at)

    def note_trouble(self, status: grpc.StatusCode, details: str | None) -> None:
        """Log a kind of trouble once, not at every attempt to overcome it."""
        if status is not self._trouble:
            self._trouble = status
            log.warning("pull_interrupted", subscription=self._path, status=status.name, details=details)
