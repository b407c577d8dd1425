"""Ownership of one inbox document: the version this worker last wrote, kept alive by heartbeats.

Whoever holds the version owns the document; a lost answer is told from a lost lease by the owner's token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from expert_bot.errors import ExpertBotError, PreconditionFailedError, StoreUnavailableError
from expert_bot.inbox.entry import Entry, read_entry
from expert_bot.inbox.heartbeats import Heartbeats, LeaseLostError
from expert_bot.ports import Clock, DocKey, Documents, Fields, Update, Version, Write

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0

T = TypeVar("T")


class WriteConflictError(ExpertBotError):
    """The document is still ours, but one of the handler's own preconditions failed: decide again on fresh context."""


class Lease:
    """One claim. Not shared between tasks, but for its own heartbeat.

    `duration_s`: how long a claim lasts without a heartbeat. `deadline`: loop time until which it lasts now.
    """

    __slots__ = (
        "_clock",
        "_documents",
        "_heartbeats",
        "_loop",
        "deadline",
        "duration_s",
        "key",
        "token",
        "version",
    )

    def __init__(
        self,
        *,
        documents: Documents,
        clock: Clock,
        key: DocKey,
        token: str,
        version: Version,
        duration_s: float,
        heartbeats: Heartbeats,
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._heartbeats = heartbeats
        self.key = key
        self.token = token
        self.version = version
        self.duration_s = duration_s
        self.deadline = self._loop.time() + duration_s

    def run(self, work: Awaitable[T], *, timeout_s: float) -> Awaitable[T]:
        """Await `work` under the lease; see `Heartbeats.run`."""
        return self._heartbeats.run(self, work, timeout_s)

    async def ensure_held(self) -> None:
        """Renew the lease if it may have run out meanwhile. Raises LeaseLostError or StoreUnavailableError."""
        if self._loop.time() >= self.deadline:
            await self.extend()

    async def commit(self, fields: Fields, writes: Sequence[Write] = (), *, until_s: float) -> None:
        """Write `fields` to the document and `writes` with them, all or none, if the document is still ours.

        It renews the lease, so that what follows (publish, mark) has all of it, however late in it the decision came.
        `fields["state"]` must differ from the present state: that is how a commit whose answer was lost is recognised.
        Outages are retried until loop time `until_s`. Raises LeaseLostError, WriteConflictError, StoreUnavailableError.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._try_commit(fields, writes)
                return
            except StoreUnavailableError:
                if self._loop.time() + pause_s >= until_s:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def release(self, fields: Fields) -> None:
        """Give the document up at once, so that the next delivery need not wait. Raises like a single commit."""
        await self._documents.commit(
            [Update(self.key, {"lease_until": self._clock.now(), **fields}, if_version=self.version)]
        )

    async def _try_commit(self, fields: Fields, writes: Sequence[Write]) -> None:
        while True:
            seen, deadline = self.version, self._loop.time() + self.duration_s
            lease_until = self._clock.now() + timedelta(seconds=self.duration_s)
            update = Update(self.key, {**fields, "lease_until": lease_until}, if_version=seen)
            try:
                versions = await self._documents.commit([update, *writes])
            except PreconditionFailedError as error:
                entry = await self._reread()
                if entry.state == fields["state"]:
                    return  # an earlier try had landed; its answer was lost
                if self.version == seen:
                    raise WriteConflictError(self.key.id) from error
            else:
                self.version, self.deadline = versions[0], deadline
                return

    async def extend(self) -> None:
        """Renew the lease. Raises LeaseLostError or StoreUnavailableError."""
        while True:
            deadline = self._loop.time() + self.duration_s
            lease_until = self._clock.now() + timedelta(seconds=self.duration_s)
            try:
                (self.version,) = await self._documents.commit(
                    [Update(self.key, {"lease_until": lease_until}, if_version=self.version)]
                )
            except PreconditionFailedError:
                await self._reread()  # ours still: an earlier renewal had landed, its answer was lost
            else:
                self.deadline = deadline
                return

    async def _reread(self) -> Entry:
        """Take over the version of the document if its token is still ours. Raises LeaseLostError if it is not."""
        document = await self._documents.get(self.key)
        if document is not None:
            entry = read_entry(document)
            if entry.token == self.token:
                self.version = document.version
                return entry
        raise LeaseLostError(self.key.id)
