"""Dead letters on the wire: the original message, bytes unchanged, plus `dl-*` attributes that say why it died."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from expert_bot import __version__
from expert_bot.delivery import REPLAY_FOR, REPLAYS, Delivery, Message
from expert_bot.schemas.envelope import MAX_ATTRIBUTE_BYTES, format_timestamp

DEAD_LETTER_TOPIC: Final = "expert-bot-dead-letters"
PREFIX: Final = "dl-"
BROKER_PREFIX: Final = "CloudPubSubDeadLetter"
ATTEMPTS_EXHAUSTED: Final = "attempts-exhausted"
BROKER_ATTEMPTS_EXHAUSTED: Final = "broker-attempts-exhausted"
UNEXPLAINED: Final = "unexplained"
MAX_DETAIL_BYTES: Final = 900
MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTE_NAME_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason code means: the title and HTTP status its problem carries, and whether a resend may help."""

    title: str
    status: int
    retriable: bool = False


REASONS: Final[Mapping[str, Reason]] = {
    "not-a-cloudevent": Reason("The message is not a CloudEvent 1.0", 400),
    "invalid-json": Reason("The event's data is not valid JSON", 400),
    "invalid-encoding": Reason("The event's data is not UTF-8", 400),
    "nesting-too-deep": Reason("The event's data is nested too deeply", 400),
    "payload-too-large": Reason("The event is larger than its family allows", 413),
    "unsupported-content-type": Reason("The event's data is not JSON", 415),
    "unknown-type": Reason("No handler knows this event type", 422),
    "wrong-topic": Reason("The event type does not belong on this topic", 422),
    "schema-violation": Reason("The event's data does not match its schema", 422),
    "unauthorized-source": Reason("The event's source is not allowed", 403),
    "expired": Reason("The event's expirytime had passed before it was handled", 410, retriable=True),
    "reply-too-large": Reason("The reply is larger than can be stored", 500),
    ATTEMPTS_EXHAUSTED: Reason("The event kept failing until its attempts were used up", 500, retriable=True),
    BROKER_ATTEMPTS_EXHAUSTED: Reason(
        "The broker gave up: its deliveries kept ending without an outcome", 500, retriable=True
    ),
    UNEXPLAINED: Reason("The message came to the dead-letter topic without a reason", 500),
}
"""Every reason this service gives by itself; a handler may add its own."""

_PACKAGE: Final = "expert_bot"
_MAX_FRAME_CHARS: Final = 200
_HANDLER_REASON: Final = Reason("The request cannot be answered", 422)


def describe_reason(reason: str) -> Reason:
    """Return what a reason code means; codes of handlers share one description."""
    return REASONS.get(reason, _HANDLER_REASON)


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseOfDeath:
    """Why an event died.

    `error_class`: exception class name. `handler`: handler's name, or `""` if none was reached. `frame`: what
    `first_frame` says of the error.
    """

    reason: str
    detail: str
    error_class: str
    handler: str = ""
    attempts: int = 1
    frame: str = ""


def first_frame(reason: str, error: BaseException) -> str:
    """Return "module:function" of the innermost frame of an error inside this package, to group deaths by.

    No path and no line number, so that it outlives a release. `""` for refusals, whose reason says it all.
    """
    if reason in REASONS and reason != ATTEMPTS_EXHAUSTED:
        return ""
    innermost = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == _PACKAGE:
            innermost = f"{module}:{frame.f_code.co_qualname}"
    return innermost[:_MAX_FRAME_CHARS]


def is_mark(name: str) -> bool:
    """Tell whether an attribute was put on by a death or a replay rather than by the event's sender."""
    return name.startswith((PREFIX, BROKER_PREFIX)) or name == REPLAY_FOR


def encode_dead_letter(delivery: Delivery, cause: CauseOfDeath, *, replay: int = 0) -> Message:
    """Build the dead letter for a delivery: the same bytes and attributes, plus `dl-*`.

    Keeps within Pub/Sub's 100 attributes: where the original leaves no room, its own non-CloudEvents attributes give
    way; so does what no message can carry (HTTP headers can hold it). `dl-dropped` says how many. Earlier `dl-*`
    attributes and the broker's are replaced, but `dl-replays` and `dl-first-publish` stay.
    """
    carried = {name: value for name, value in delivery.attributes.items() if _can_be_carried(name, value)}
    original = {name: value for name, value in carried.items() if not is_mark(name)}
    marks = {
        "dl-reason": cause.reason,
        "dl-class": cause.error_class,
        "dl-detail": one_ascii_line(cause.detail),
        "dl-handler": cause.handler or "none",
        "dl-attempts": str(cause.attempts),
        "dl-version": __version__,
        REPLAYS: str(max(replay, delivery.replay) or carried.get(REPLAYS, "0")),
        "dl-subscription": delivery.subscription,
    }
    if delivery.published_at is not None:
        marks["dl-first-publish"] = carried.get(
            "dl-first-publish", format_timestamp(delivery.published_at.astimezone(UTC))
        )
    if cause.frame:
        marks["dl-frame"] = cause.frame
    if delivery.ordering_key and _can_be_carried("dl-ordering-key", delivery.ordering_key):
        marks["dl-ordering-key"] = delivery.ordering_key
    room = MAX_ATTRIBUTES - len(marks) - 1
    kept = sorted(original, key=lambda name: not (name.startswith("ce-") or name == "content-type"))[:room]
    dropped = len(delivery.attributes) - len(carried) + len(original) - len(kept)
    if dropped:
        marks["dl-dropped"] = str(dropped)
        original = {name: original[name] for name in kept}
    return Message(topic=DEAD_LETTER_TOPIC, data=delivery.data, attributes=original | marks)


def one_ascii_line(text: str) -> str:
    """Fold text into one printable ASCII line of at most 900 bytes, never empty."""
    flat = " ".join(text.split()).encode("ascii", "replace").decode("ascii")
    printable = "".join(char if char.isprintable() else "?" for char in flat)
    return printable[:MAX_DETAIL_BYTES] or "no detail"


def _can_be_carried(name: str, value: str) -> bool:
    """Tell whether Pub/Sub takes this attribute. Source: https://cloud.google.com/pubsub/quotas#resource_limits."""
    try:
        name_bytes, value_bytes = len(name.encode()), len(value.encode())
    except UnicodeEncodeError:  # a header's byte that is not UTF-8
        return False
    return (
        0 < name_bytes <= MAX_ATTRIBUTE_NAME_BYTES
        and value_bytes <= MAX_ATTRIBUTE_BYTES
        and not name.startswith("goog")
    )
