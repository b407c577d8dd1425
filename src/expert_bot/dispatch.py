"""From bytes to one Outcome: decode, find the handler by type, let the inbox run it, encode what it answers."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, assert_never
from urllib.parse import quote

import structlog

from expert_bot.delivery import REPLAY_FOR, Ack, DeadLetter, Delivery, Message, Outcome, Retry
from expert_bot.errors import BusUnavailableError, MalformedEventError, MessageRefusedError, PermanentError
from expert_bot.handlers import Context, Handler, Reply
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Decision
from expert_bot.ports import Clock, DocumentReader, Identity, Publisher
from expert_bot.records import record
from expert_bot.schemas import pubsub
from expert_bot.schemas.data import check_size, parse_data
from expert_bot.schemas.dead_letter import CauseOfDeath, describe_reason, encode_dead_letter
from expert_bot.schemas.envelope import CloudEvent, parse_timestamp
from expert_bot.schemas.families import DEFAULT_MAX_DATA_BYTES, EventFamily
from expert_bot.schemas.problem import Problem

ANY_SOURCE: Final = "*"
_UNDELIVERABLE_RETRY_S: Final = 10.0
_NAMESPACE: Final = uuid.NAMESPACE_URL.bytes
_PASSED_ON_EXTENSIONS: Final = ("traceparent", "tracestate", "expirytime")

_log = structlog.get_logger(__name__)


def reply_id(source: str, event_id: str, handler: str, index: int) -> str:
    """Return the id of a handler's n-th reply to an event: always the same for the same request."""
    # control characters cannot occur in the parts, so the separator keeps them apart
    name = f"{source}\n{event_id}\n{handler}\n{index}"
    digest = bytearray(hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # RFC 9562, version 5; `uuid.uuid5` gives the same, four times slower
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Dispatcher:
    """The one entrance for every delivery, whatever transport it came by.

    `source`: CloudEvents source of everything emitted. `allowed_sources`: sources whose requests are accepted, `*` for
    all. `families`: by subscription name. `handlers`: by event type name.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        publisher: Publisher,
        documents: DocumentReader,
        identity: Identity,
        clock: Clock,
        families: Mapping[str, EventFamily],
        handlers: Mapping[str, Handler],
        source: str,
        allowed_sources: Sequence[str],
    ) -> None:
        self._inbox = inbox
        self._publisher = publisher
        self._documents = documents
        self._identity = identity
        self._clock = clock
        self._families = families
        self._handlers = handlers
        self._source = source
        self._allowed_sources = frozenset(allowed_sources)
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
        try:
            event = _decode(delivery, family)
        except MalformedEventError as error:
            outcome = await self._bury_undecodable(delivery, error)
        else:
            outcome = await self._inbox.handle(delivery, event, _EventWork(self, delivery, event, family))
        self._log_outcome(delivery, event, outcome, time.perf_counter() - started)
        return outcome

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

    def find_handler(self, event: CloudEvent, family: EventFamily | None) -> Handler:
        """Return the handler of an event that may be handled here.

        Raises PermanentError: `unauthorized-source`, `unknown-type`, `wrong-topic`, `expired`.
        """
        if ANY_SOURCE not in self._allowed_sources and event.source not in self._allowed_sources:
            raise PermanentError(
                "unauthorized-source", "the event's source is not in EXPERT_BOT_ALLOWED_SOURCES"
            )
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

    def make_context(self, event: CloudEvent) -> Context:
        """Return what a handler may know besides its request."""
        return Context(
            event=event,
            asked_at=event.time or self._clock.now(),
            documents=self._documents,
            identity=self._identity,
        )

    def encode_reply(
        self, cause: CloudEvent, topic: str, key: str, reply: Reply, author: str, index: int
    ) -> Message:
        """Encode a reply to an event: deterministic id, correlation, causation, tracing and ordering carried on."""
        carried = {name: cause.extensions[name] for name in _PASSED_ON_EXTENSIONS if name in cause.extensions}
        carried["correlationid"] = cause.correlation_id
        carried["causationid"] = cause.id
        if key:
            carried["partitionkey"] = key
        event = CloudEvent(
            id=reply_id(cause.source, cause.id, author, index),
            source=self._source,
            type=reply.type.name,
            time=self._clock.now(),
            data=reply.data.__pydantic_serializer__.to_json(reply.data),
            extensions=carried,
        )
        return pubsub.encode_binary(event, topic)


@record()
class _EventWork:
    """The work on one event, for the inbox."""

    dispatcher: Dispatcher
    delivery: Delivery
    event: CloudEvent
    family: EventFamily | None

    @property
    def timeout_s(self) -> float:
        return self.family.handler_timeout_s if self.family else 1.0

    @property
    def handler(self) -> str:
        return self.dispatcher.handler_name(self.event.type)

    async def decide(self) -> Decision:
        handler = self.dispatcher.find_handler(self.event, self.family)
        assert self.family is not None  # noqa: S101  # find_handler refuses events without a family
        request = parse_data(self.event, handler.handles, self.family.max_data_bytes)
        result = await handler.handle(request, self.dispatcher.make_context(self.event))
        key = self._ordering_key(self.family.ordering_key(request))
        messages = tuple(
            self.dispatcher.encode_reply(self.event, self.family.reply_topic, key, reply, handler.name, index)
            for index, reply in enumerate(result.replies)
        )
        return Decision(messages=messages, writes=result.writes)

    def explain_death(self, cause: CauseOfDeath, replay: int) -> tuple[Message, ...]:
        if self.family is None:
            return ()
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
        return (
            self.dispatcher.encode_reply(
                self.event, self.family.reply_topic, self._ordering_key(""), reply, author, replay
            ),
        )

    def _ordering_key(self, derived: str) -> str:
        return self.event.extensions.get("partitionkey") or self.delivery.ordering_key or derived


def _decode(delivery: Delivery, family: EventFamily | None) -> CloudEvent:
    """Decode a delivery; only a structured event has to be of allowed size to be looked at."""
    if pubsub.is_structured(delivery.attributes):
        check_size(delivery.data, family.max_data_bytes if family else DEFAULT_MAX_DATA_BYTES)
    return pubsub.decode(delivery.attributes, delivery.data)
