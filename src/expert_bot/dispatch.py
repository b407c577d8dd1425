"""From bytes to one Outcome: decode, find the handler by type, let the inbox run it, encode what it answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, assert_never
from urllib.parse import quote

import structlog
from pydantic import BaseModel

from expert_bot.delivery import REPLAY_FOR, Ack, DeadLetter, Delivery, Outcome, Retry
from expert_bot.energy.calendar import Month
from expert_bot.errors import (
    BusUnavailableError,
    MalformedEventError,
    MessageRefusedError,
    PermanentError,
    PreconditionFailedError,
)
from expert_bot.handlers import Context, Handler, Reply
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Decision
from expert_bot.links.stored import LinkRules
from expert_bot.ports import Analytics, Clock, Documents, Files, Identity, Publisher, Write
from expert_bot.replies import ReplyEncoder
from expert_bot.schemas import pubsub
from expert_bot.schemas.data import check_size, parse_data
from expert_bot.schemas.dead_letter import CauseOfDeath, describe_reason, encode_dead_letter
from expert_bot.schemas.envelope import CloudEvent, parse_timestamp
from expert_bot.schemas.families import DEFAULT_MAX_DATA_BYTES, EventFamily
from expert_bot.schemas.problem import Problem

ANY_SOURCE: Final = "*"
_UNDELIVERABLE_RETRY_S: Final = 10.0

_log = structlog.get_logger(__name__)


Observe = Callable[[Outcome, float, str, str | None], None]


class Dispatcher:
    """The one entrance for every delivery, whatever transport it came by.

    `source`: CloudEvents source of everything emitted. `allowed_sources`: sources whose requests are accepted, `*` for
    all. `families`: by subscription name. `handlers`: by event type name. `confirmed`, `links`: see Context.
    `observe`: told of every delivery's outcome, the
    seconds it took, its event type (`""`: unreadable) and whose request it was (None: not decided here).
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        publisher: Publisher,
        documents: Documents,
        identity: Identity,
        analytics: Analytics,
        files: Files,
        clock: Clock,
        families: Mapping[str, EventFamily],
        handlers: Mapping[str, Handler],
        source: str,
        allowed_sources: Sequence[str],
        confirmed: Mapping[Month, bool] = MappingProxyType({}),
        links: LinkRules | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._inbox = inbox
        self._publisher = publisher
        self._documents = documents
        self._identity = identity
        self._analytics = analytics
        self._files = files
        self._clock = clock
        self._families = families
        self._handlers = handlers
        self.replies = ReplyEncoder(source, clock)
        self._allowed_sources = frozenset(allowed_sources)
        self._confirmed = confirmed
        self._links = links
        self._observe = observe
        self._log = (
            _log.bind()
        )  # once: the logger that configuration has made by now, not one made at every line

    async def process(self, delivery: Delivery) -> Outcome:
        """Bring one delivery to its outcome; log one line about it. Raises what `Inbox.handle` raises."""
        started = time.perf_counter()
        replay_for = delivery.attributes.get(REPLAY_FOR)
        if replay_for is not None and replay_for != delivery.subscription:
            # meant for another subscription, where the broker did not filter
            self._log.info(
                "replay_ignored", subscription=delivery.subscription, message_id=delivery.message_id
            )
            return Ack(duplicate=True)
        family = self._families.get(delivery.subscription)
        event: CloudEvent | None = None
        user_id: str | None = None
        try:
            event = _decode(delivery, family)
        except MalformedEventError as error:
            outcome = await self._bury_undecodable(delivery, error)
        else:
            work = EventWork(self, delivery, event, family)
            outcome = await self._inbox.handle(delivery, event, work)
            user_id = work.user_id
        self.note_outcome(delivery, event, outcome, time.perf_counter() - started, user_id)
        return outcome

    def note_outcome(
        self,
        delivery: Delivery,
        event: CloudEvent | None,
        outcome: Outcome,
        took_s: float,
        user_id: str | None,
    ) -> None:
        """Log a delivery's outcome and count it."""
        self._log_outcome(delivery, event, outcome, took_s)
        if self._observe is not None:
            self._observe(outcome, took_s, event.type if event else "", user_id)

    def _log_outcome(
        self, delivery: Delivery, event: CloudEvent | None, outcome: Outcome, took_s: float
    ) -> None:
        if type(outcome) is Ack and not self._log.is_enabled_for(logging.INFO):
            return
        fields: dict[str, object] = {
            "outcome": type(outcome).__name__.lower(),
            "subscription": delivery.subscription,
            "message_id": delivery.message_id,
            "took_ms": round(took_s * 1000, 1),
        }
        if event is not None:
            fields |= {"event_type": event.type, "event_id": event.id, "correlation_id": event.correlation_id}
        match outcome:
            case DeadLetter(reason):
                self._log.warning("event_dead_lettered", reason=reason, **fields)
            case Retry(after_s, cause):
                self._log.warning("event_retried", after_s=after_s, cause=cause, **fields)
            case Ack(duplicate):
                self._log.info("event_handled", duplicate=duplicate, **fields)
            case _:
                assert_never(outcome)

    async def _bury_undecodable(self, delivery: Delivery, error: MalformedEventError) -> Outcome:
        """Publish the dead letter of something that has no event id: nobody to answer, nothing to deduplicate by."""
        cause = CauseOfDeath(reason=error.reason, detail=error.detail, error_class=type(error).__name__)
        try:
            await self._publisher.publish(encode_dead_letter(delivery, cause))
        except (BusUnavailableError, MessageRefusedError) as failure:
            return Retry(_UNDELIVERABLE_RETRY_S, type(failure).__name__)
        return DeadLetter(error.reason)

    def check_source(self, event: CloudEvent) -> None:
        """Raise PermanentError(`unauthorized-source`) if the source's requests are not accepted here."""
        if ANY_SOURCE not in self._allowed_sources and event.source not in self._allowed_sources:
            raise PermanentError(
                "unauthorized-source", "the event's source is not in EXPERT_BOT_ALLOWED_SOURCES"
            )

    def find_handler(self, event: CloudEvent, family: EventFamily | None) -> Handler:
        """Return the handler of an event. Raises PermanentError: `unknown-type`, `wrong-topic`, `expired`."""
        handler = self._handlers.get(event.type)
        if handler is None:
            raise PermanentError(
                "unknown-type",
                f"no handler for {event.type[:200]!a}; known: {', '.join(sorted(self._handlers))}",
            )
        if family is None or handler.handles is not family.requested:
            expected = family.requested.name if family else "nothing"
            raise PermanentError("wrong-topic", f"this subscription takes {expected}, not {event.type}")
        expiry = event.extensions.get("expirytime")
        if expiry is not None and parse_timestamp("expirytime", expiry) <= self._clock.now():
            raise PermanentError("expired", f"the event's expirytime {expiry} has passed")
        return handler

    def handler_name(self, event_type: str) -> str:
        """Return the name of the handler of an event type, `""` if there is none."""
        handler = self._handlers.get(event_type)
        return handler.name if handler else ""

    def make_context(self, event: CloudEvent, identity: Identity | None = None) -> Context:
        """Return what a handler may know besides its request; `identity`: asked in place of the usual one."""
        received_at = self._clock.now()
        return Context(
            event=event,
            asked_at=event.time or received_at,
            received_at=received_at,
            documents=self._documents,
            identity=identity or self._identity,
            analytics=self._analytics,
            files=self._files,
            confirmed=self._confirmed,
            links=self._links,
        )

    async def note_beginning(self, handler: Handler, request: BaseModel, context: Context) -> None:
        """Write what the handler wants written when its work begins; whoever has written meanwhile is right.

        Raises StoreUnavailableError.
        """
        if handler.begin is None:
            return
        writes = await handler.begin(request, context)
        if writes:
            with suppress(PreconditionFailedError):
                await self._documents.commit(writes)

    async def note_death(self, event: CloudEvent, family: EventFamily, problem: Problem) -> tuple[Write, ...]:
        """Return what the handler wants written with a request's death; nothing for a request nobody could read.

        Raises TransientError.
        """
        handler = self._handlers.get(event.type)
        if handler is None or handler.fail is None or handler.handles is not family.requested:
            return ()
        if problem.reason == "unauthorized-source":
            return ()  # nobody who may not ask may end somebody's task
        try:
            request = parse_data(event, handler.handles, family.max_data_bytes)
        except PermanentError:
            return ()
        return await handler.fail(request, self.make_context(event), problem)


@dataclass(slots=True)
class EventWork:
    """The work on one event, for the inbox. `user_id`: whose request it is, once it has been read.

    `is_vouched_for`: who asks has been checked by other means than the event's source. `identity`: asked in place of the
    dispatcher's.
    """

    dispatcher: Dispatcher
    delivery: Delivery
    event: CloudEvent
    family: EventFamily | None
    user_id: str | None = None
    is_vouched_for: bool = False
    identity: Identity | None = None

    @property
    def timeout_s(self) -> float:
        """Time the handler may take."""
        return self.family.handler_timeout_s if self.family else 1.0

    @property
    def handler(self) -> str:
        """Name of the handler, `""` if there is none."""
        return self.dispatcher.handler_name(self.event.type)

    async def decide(self) -> Decision:
        """Run the handler; see `Work`."""
        if not self.is_vouched_for:
            self.dispatcher.check_source(self.event)
        handler = self.dispatcher.find_handler(self.event, self.family)
        assert self.family is not None  # noqa: S101  # find_handler refuses events without a family
        request = parse_data(self.event, handler.handles, self.family.max_data_bytes)
        self.user_id = getattr(request, "user_id", None)
        context = self.dispatcher.make_context(self.event, self.identity)
        await self.dispatcher.note_beginning(handler, request, context)
        result = await handler.handle(request, context)
        key = self._ordering_key(self.family.ordering_key(request))
        messages = tuple(
            self.dispatcher.replies.encode(
                self.event, self.family.reply_topic, key, reply, handler.name, index
            )
            for index, reply in enumerate(result.replies)
        )
        return Decision(messages=messages, writes=result.writes)

    async def explain_death(self, cause: CauseOfDeath, replay: int) -> Decision:
        """Return the family's `failed` reply, and what the handler wants written; see `Work`."""
        if self.family is None:
            return Decision()
        reason = describe_reason(cause.reason)
        problem = Problem(
            type=f"urn:expert-bot:problem:{cause.reason}",
            title=reason.title,
            status=reason.status,
            detail=cause.detail[:900],
            instance=quote(self.event.id, safe=""),
            reason=cause.reason,
            retriable=reason.retriable,
        )
        reply = Reply(self.family.failed, problem)
        author = f"{self.family.name}.failed"
        message = self.dispatcher.replies.encode(
            self.event, self.family.reply_topic, self._ordering_key(""), reply, author, replay
        )
        writes = await self.dispatcher.note_death(self.event, self.family, problem)
        return Decision(messages=(message,), writes=writes)

    def _ordering_key(self, derived: str) -> str:
        return self.event.extensions.get("partitionkey") or self.delivery.ordering_key or derived


def _decode(delivery: Delivery, family: EventFamily | None) -> CloudEvent:
    """Decode a delivery; only a structured event has to be of allowed size to be looked at."""
    if pubsub.is_structured(delivery.attributes):
        check_size(delivery.data, family.max_data_bytes if family else DEFAULT_MAX_DATA_BYTES)
    return pubsub.decode(delivery.attributes, delivery.data)
