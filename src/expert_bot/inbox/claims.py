"""Claiming an event, and taking over one whose owner is gone."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from expert_bot.errors import PreconditionFailedError
from expert_bot.inbox.entry import Entry, State, claim_fields, new_entry, read_entry, reopened_entry
from expert_bot.inbox.heartbeats import Heartbeats
from expert_bot.inbox.lease import Lease
from expert_bot.inbox.work import InboxSettings
from expert_bot.ports import Clock, Create, DocKey, Document, Documents, Fields, Update, Version
from expert_bot.records import record

_UNKNOWN_VERSION: Final = Version("")

_log = structlog.get_logger(__name__)


@record()
class Held:
    """Somebody else is at work until `until`, as far as the clock can tell."""

    until: datetime


@record()
class Owned:
    """The event is owned by this worker; `entry` is how it found it, or how a replay `reopened` it."""

    lease: Lease
    entry: Entry


class Claims:
    """Makes claims for one process; a caller works on one key at a time."""

    def __init__(self, documents: Documents, clock: Clock, settings: InboxSettings) -> None:
        self._documents = documents
        self._clock = clock
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease_s)
        self._heartbeats = Heartbeats(settings.lease_s)
        self._instance = uuid.uuid4().hex
        self._count = itertools.count()

    async def claim(self, key: DocKey, replay: int = 0) -> Owned | Held | None:
        """Claim an event: owned, held by another, or None when it is already sent. Raises StoreUnavailableError.

        `replay`: number of the replay this delivery belongs to; each one lets a sent event in once more.
        """
        now = self._clock.now()
        entry = new_entry(self._new_token(), now + self._lease, replay)
        lease = self._new_lease(key, entry.token, _UNKNOWN_VERSION)
        try:
            (lease.version,) = await self._documents.commit(
                [Create(key, {**claim_fields(entry), "expire_at": now + self._settings.retention})]
            )
        except PreconditionFailedError:
            return await self._claim_existing(key, replay)
        return Owned(lease, entry)

    async def take_over(self, document: Document, entry: Entry, fields: Fields | None = None) -> Owned | Held:
        """Become the owner of a document exactly as it was read, and write `fields`; Held if it has changed since."""
        lease = self._new_lease(document.key, self._new_token(), document.version)
        lease_until = self._clock.now() + self._lease
        ownership: Fields = {
            "fence": entry.fence + 1,
            "token": lease.token,
            "lease_until": lease_until,
            **(fields or {}),
        }
        try:
            (lease.version,) = await self._documents.commit(
                [Update(document.key, ownership, if_version=document.version)]
            )
        except PreconditionFailedError:
            return Held(self._clock.now())
        _log.info(
            "event_taken_over", inbox_key=document.key.id, state=entry.state.value, fence=entry.fence + 1
        )
        return Owned(lease, entry)

    async def _claim_existing(self, key: DocKey, replay: int) -> Owned | Held | None:
        document = await self._documents.get(key)
        if document is None:  # expired between the two calls
            return Held(self._clock.now())
        entry = read_entry(document)
        if entry.state is State.SENT:
            return await self._reopen(document, entry, replay) if replay > entry.replay else None
        if entry.lease_until > self._clock.now() and not self._is_own_remains(entry):
            return Held(entry.lease_until)
        if (
            replay > entry.replay and entry.state is State.CLAIMED
        ):  # unfinished: the replay is its next attempt
            return await self.take_over(document, replace(entry, replay=replay), {"replay": replay})
        return await self.take_over(document, entry)

    async def _reopen(self, document: Document, entry: Entry, replay: int) -> Owned | Held:
        reopened = reopened_entry(entry, replay)
        _log.info("event_reopened", inbox_key=document.key.id, replay=replay, outcome=entry.outcome)
        fields: Fields = {"state": reopened.state.value, "attempts": 0, "replay": replay}
        return await self.take_over(document, reopened, fields)

    def _is_own_remains(self, entry: Entry) -> bool:
        """Tell whether this process claimed it: nobody here is at it any more, so an outage must have cut it off."""
        return entry.token.startswith(self._instance)

    def _new_token(self) -> str:
        return f"{self._instance}-{next(self._count)}"

    def _new_lease(self, key: DocKey, token: str, version: Version) -> Lease:
        return Lease(
            documents=self._documents,
            clock=self._clock,
            key=key,
            token=token,
            version=version,
            duration_s=self._settings.lease_s,
            heartbeats=self._heartbeats,
        )
