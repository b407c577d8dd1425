"""Requests that are handed over by whoever asks, not by the bus: the same inbox, the same handlers, and the reply goes back.

The reply is stored with the effect, in the same commit, and published nowhere (ADR 0015).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import structlog

from expert_bot.delivery import Delivery, Message, Retry
from expert_bot.dispatch import Dispatcher, EventWork
from expert_bot.errors import PermanentError, StoreUnavailableError
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import NOWHERE, Decision
from expert_bot.ports import Identity
from expert_bot.records import record
from expert_bot.schemas import pubsub
from expert_bot.schemas.dead_letter import CauseOfDeath
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.families import EventFamily

REQUEST_DIFFERS: Final = "request-differs"
_DIGEST: Final = "request-sha256"
_RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)


class DirectRequests:
    """Answers requests of the given families. Safe for any number of concurrent callers, processes and machines."""

    def __init__(self, dispatcher: Dispatcher, inbox: Inbox, families: Iterable[EventFamily]) -> None:
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._families = {family.requested.name: family for family in families}

    async def answer(
        self, event: CloudEvent, *, entrance: str, deadline_s: float, identity: Identity | None = None
    ) -> Message | Retry:
        """Return a request's reply, of one of its family's emitted types: the same bytes however often it is asked.

        Whoever hands it over has checked who asks. `entrance`: where that was; an event is known by entrance, source and id,
        so that none of the bus ever meets one of these. `deadline_s`: loop time until which somebody else's work on the same
        event is awaited. `identity`: asked in place of the service's. Raises PermanentError(`request-differs`) if the event
        was answered with other data in it, CancelledError after giving up the claim, and what a store raises that is no outage.
        """
        started = time.perf_counter()
        delivery = Delivery(
            subscription=entrance,
            data=event.data,
            attributes=pubsub.encode_binary(event, NOWHERE).attributes,
            deadline_s=deadline_s,
        )
        work = EventWork(
            self._dispatcher,
            delivery,
            event,
            self._families.get(event.type),
            is_vouched_for=True,
            identity=identity,
        )
        digest = hashlib.sha256(event.data).hexdigest()
        outcome = await self._inbox.handle(delivery, event, _DirectWork(work, digest))
        self._dispatcher.note_outcome(delivery, event, outcome, time.perf_counter() - started, work.user_id)
        return outcome if isinstance(outcome, Retry) else await self._stored(event, entrance, digest)

    async def _stored(self, event: CloudEvent, entrance: str, digest: str) -> Message | Retry:
        try:
            messages = await self._inbox.stored(entrance, event)
        except StoreUnavailableError as error:
            return Retry(error.retry_after_s or _RETRY_S, type(error).__name__)
        for message in messages:
            if message.topic == NOWHERE:
                if message.attributes[_DIGEST] != digest:
                    raise PermanentError(REQUEST_DIFFERS, "another request was answered under this id")
                return message
        return Retry(_RETRY_S, "forgotten")  # the entry has just expired: it is a new request by now


@record()
class _DirectWork:
    """The work on one event, whose messages are kept for whoever asked. A refusal is an answer, too, not a dead letter."""

    work: EventWork
    digest: str

    @property
    def timeout_s(self) -> float:
        return self.work.timeout_s

    @property
    def handler(self) -> str:
        return self.work.handler

    async def decide(self) -> Decision:
        try:
            return self._kept(await self.work.decide())
        except PermanentError as error:
            _log.warning("request_refused", event_type=self.work.event.type, reason=error.reason)
            cause = CauseOfDeath(
                reason=error.reason,
                detail=error.detail,
                error_class=type(error).__name__,
                handler=self.handler,
            )
            return await self.explain_death(cause, 0)

    async def explain_death(self, cause: CauseOfDeath, replay: int) -> Decision:
        return self._kept(await self.work.explain_death(cause, replay))

    def _kept(self, decision: Decision) -> Decision:
        return replace(
            decision,
            messages=tuple(
                replace(message, topic=NOWHERE, attributes={**message.attributes, _DIGEST: self.digest})
                for message in decision.messages
            ),
        )
