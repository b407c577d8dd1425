"""One dead letter: what is known about it, its original attributes and bytes, and what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from expert_bot.deadletters.marks import Marks, original_attributes, read_marks
from expert_bot.delivery import Delivery
from expert_bot.errors import MalformedEventError
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent

_LARGEST_PARSED_BYTES: Final = 1024 * 1024  # parsing more would hold up everything else on the loop
_ID_LENGTH: Final = 32
_FINGERPRINT_LENGTH: Final = 12


class LetterState(StrEnum):
    """What has become of a letter since it was archived."""

    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFacts:
    """Everything about a letter but the sender's attributes and bytes. Texts are `""` where nothing is known.

    `attempts`: how often it was tried before it died. `replays`: how often it had been replayed. `previous`: id of
    the letter of its death before that replay. `fingerprint`: the same for letters that died of the same cause.
    `dropped`: attributes that the letter had no room for. `published_at`: when it came to the dead-letter topic.
    `data_bytes`, `data_sha256` (hexadecimal): of the original bytes.
    """

    id: str
    state: str
    fingerprint: str
    reason: str
    error_class: str
    detail: str
    handler: str
    frame: str
    version: str
    attempts: int
    replays: int
    previous: str
    dropped: int
    subscription: str
    event_type: str
    event_id: str
    event_source: str
    correlation_id: str
    ordering_key: str
    first_publish_at: datetime | None
    published_at: datetime | None
    archived_at: datetime
    data_bytes: int
    data_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterRecord:
    """A whole letter: `attributes` and `data` exactly as the event's sender gave them."""

    facts: LetterFacts
    attributes: Mapping[str, str]
    data: bytes


def read_record(delivery: Delivery, archived_at: datetime) -> DeadLetterRecord:
    """Read a message from the dead-letter topic as a letter; never fails, whatever it holds."""
    marks = read_marks(delivery)
    attributes = original_attributes(delivery.attributes)
    event = _decode(attributes, delivery.data)
    data_sha256 = hashlib.sha256(delivery.data).hexdigest()

    def identify(replays: int) -> str:
        return _letter_id(marks.subscription, event, attributes, data_sha256, replays)

    facts = LetterFacts(
        id=identify(marks.replays),
        state=LetterState.NEW.value,
        fingerprint=_fingerprint(marks),
        reason=marks.reason,
        error_class=marks.error_class,
        detail=marks.detail,
        handler=marks.handler,
        frame=marks.frame,
        version=marks.version,
        attempts=marks.attempts,
        replays=marks.replays,
        previous=identify(marks.replays - 1) if marks.replays else "",
        dropped=marks.dropped,
        subscription=marks.subscription,
        event_type=event.type if event else attributes.get("ce-type", ""),
        event_id=event.id if event else attributes.get("ce-id", ""),
        event_source=event.source if event else attributes.get("ce-source", ""),
        correlation_id=event.correlation_id if event else attributes.get("ce-correlationid", ""),
        ordering_key=marks.ordering_key,
        first_publish_at=marks.first_publish_at,
        published_at=delivery.published_at,
        archived_at=archived_at,
        data_bytes=len(delivery.data),
        data_sha256=data_sha256,
    )
    return DeadLetterRecord(facts=facts, attributes=attributes, data=delivery.data)


def _letter_id(
    subscription: str,
    event: CloudEvent | None,
    attributes: Mapping[str, str],
    data_sha256: str,
    replays: int,
) -> str:
    """Return the same id for every copy of one death: ours published again, or the broker's forward of the same event.

    Attempts and publish times differ between such copies and do not count; the bytes do, so that a sender who reuses an
    event id loses nothing. What is no CloudEvent is told apart by its attributes.
    """
    if event is not None:
        identity = ["event", event.source, event.id]
    else:
        identity = ["message", *(text for pair in sorted(attributes.items()) for text in pair)]
    return _digest([subscription, str(replays), data_sha256, *identity])[:_ID_LENGTH]


def _fingerprint(marks: Marks) -> str:
    return _digest([marks.reason, marks.handler, marks.frame])[:_FINGERPRINT_LENGTH]


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4))  # attributes may hold any separator
        digest.update(encoded)
    return digest.hexdigest()


def _decode(attributes: Mapping[str, str], data: bytes) -> CloudEvent | None:
    """Read the event's context; None for what is no CloudEvent, or too large to look for one inside."""
    if pubsub.is_structured(attributes) and len(data) > _LARGEST_PARSED_BYTES:
        return None
    try:
        return pubsub.decode(attributes, data)
    except MalformedEventError:
        return None
