"""Why a message died, read from the attributes of its dead letter: ours (`dl-*`) or the broker's own forward.

Source of the broker's attributes: https://cloud.google.com/pubsub/docs/dead-letter-topics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from expert_bot.delivery import REPLAYS, Delivery
from expert_bot.errors import MalformedEventError
from expert_bot.schemas.dead_letter import (
    BROKER_ATTEMPTS_EXHAUSTED,
    BROKER_PREFIX,
    UNEXPLAINED,
    is_mark,
    one_ascii_line,
)
from expert_bot.schemas.envelope import parse_timestamp

_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_NO_HANDLER: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a dead letter says about its death; every text is one printable ASCII line, `""` or 0 where nothing is said."""

    reason: str
    subscription: str
    error_class: str = ""
    detail: str = ""
    handler: str = ""
    frame: str = ""
    version: str = ""
    attempts: int = 0
    replays: int = 0
    dropped: int = 0
    first_publish_at: datetime | None = None
    ordering_key: str = ""


def read_marks(delivery: Delivery) -> Marks:
    """Read the marks of a message from the dead-letter topic; never fails, whoever published it.

    The broker's attributes decide: our own letters never carry them, and an event may carry anything.
    """
    attributes = delivery.attributes
    if any(name.startswith(BROKER_PREFIX) for name in attributes):
        return _broker_marks(delivery)
    return Marks(
        reason=_line(attributes, "dl-reason") or UNEXPLAINED,
        subscription=_line(attributes, "dl-subscription"),
        error_class=_line(attributes, "dl-class"),
        detail=_line(attributes, "dl-detail"),
        handler=_handler(attributes),
        frame=_line(attributes, "dl-frame"),
        version=_line(attributes, "dl-version"),
        attempts=_count(attributes, "dl-attempts"),
        replays=_count(attributes, REPLAYS),
        dropped=_count(attributes, "dl-dropped"),
        first_publish_at=_instant(attributes, "dl-first-publish"),
        ordering_key=attributes.get("dl-ordering-key", delivery.ordering_key),
    )


def original_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that the event's sender gave it."""
    return {name: value for name, value in attributes.items() if not is_mark(name)}


def _broker_marks(delivery: Delivery) -> Marks:
    """Read the broker's attributes; of ours only what a replay put on the event."""
    attributes = delivery.attributes
    first = _instant(attributes, "dl-first-publish")
    return Marks(
        reason=BROKER_ATTEMPTS_EXHAUSTED,
        subscription=_line(attributes, f"{BROKER_PREFIX}SourceSubscription"),
        attempts=_count(attributes, f"{BROKER_PREFIX}SourceDeliveryCount"),
        replays=delivery.replay or _count(attributes, REPLAYS),
        first_publish_at=first or _instant(attributes, f"{BROKER_PREFIX}SourceTopicPublishTime"),
        ordering_key=delivery.ordering_key,
    )


def _line(attributes: Mapping[str, str], name: str) -> str:
    value = attributes.get(name)
    return one_ascii_line(value) if value else ""


def _handler(attributes: Mapping[str, str]) -> str:
    handler = _line(attributes, "dl-handler")
    return "" if handler == _NO_HANDLER else handler


def _count(attributes: Mapping[str, str], name: str) -> int:
    value = attributes.get(name, "")
    return int(value) if _COUNT.fullmatch(value) else 0


def _instant(attributes: Mapping[str, str], name: str) -> datetime | None:
    try:
        return parse_timestamp(name, attributes.get(name, ""))
    except MalformedEventError:
        return None
