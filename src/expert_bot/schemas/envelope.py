"""The CloudEvents 1.0 envelope as this service uses it: context attributes plus the data's raw bytes.

Data stays bytes until its schema is known, so that an event whose data is broken still has a requester to be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from expert_bot.errors import MalformedEventError
from expert_bot.records import record

SPEC_VERSION: Final = "1.0"
JSON_MEDIA_TYPE: Final = "application/json"
CORE_ATTRIBUTES: Final = frozenset(
    {"specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "subject"}
)
MAX_ATTRIBUTE_BYTES: Final = 1024  # what a Pub/Sub attribute or ordering key can hold
_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,100}")
_REQUIRED: Final = ("specversion", "id", "source", "type")
_MAX_BYTES_PER_CHAR: Final = 4
_MANY_ATTRIBUTES: Final = 32  # more are looked at one by one, and their names not remembered
_FORBIDDEN_CHARS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
RFC3339_PATTERN: Final = r"^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"
_RFC3339: Final = re.compile(RFC3339_PATTERN, re.ASCII)


@record(kw_only=True)
class CloudEvent:
    """One event. `id`, `source`, `type` are never empty and never invented; `time` is aware or None.

    `extensions`: name -> canonical string, names of `[a-z0-9]+`. `data`: the payload's bytes (b"" when absent).
    """

    id: str
    source: str
    type: str
    data: bytes
    time: datetime | None = None
    datacontenttype: str = JSON_MEDIA_TYPE
    dataschema: str | None = None
    subject: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def correlation_id(self) -> str:
        """Id of the request at the root of this exchange: the extension, or the event's own id."""
        return self.extensions.get("correlationid", self.id)


def build_event(attributes: Mapping[str, str], data: bytes) -> CloudEvent:
    """Make an event of CloudEvents context attributes (unprefixed names, string values).

    Raises MalformedEventError(`not-a-cloudevent`) naming the attribute that is missing or wrong.
    """
    if not _obviously_fine(attributes):
        for name, value in attributes.items():
            _check_attribute(name, value)
    for required in _REQUIRED:
        if required not in attributes:
            raise _wrong(f"required attribute {required} is missing")
    if attributes["specversion"] != SPEC_VERSION:
        raise _wrong(f"specversion must be {SPEC_VERSION}, not {attributes['specversion'][:20]!a}")
    event_time = attributes.get("time")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        data=data,
        time=parse_timestamp("time", event_time) if event_time is not None else None,
        datacontenttype=attributes.get("datacontenttype", JSON_MEDIA_TYPE),
        dataschema=attributes.get("dataschema"),
        subject=attributes.get("subject"),
        extensions={name: value for name, value in attributes.items() if name not in CORE_ATTRIBUTES},
    )


def context_attributes(event: CloudEvent) -> dict[str, str]:
    """Return the event's context attributes, unprefixed, as canonical strings; the inverse of `build_event`."""
    attributes = {"specversion": SPEC_VERSION, "id": event.id, "source": event.source, "type": event.type}
    if event.time is not None:
        attributes["time"] = format_timestamp(event.time)
    attributes["datacontenttype"] = event.datacontenttype
    if event.dataschema is not None:
        attributes["dataschema"] = event.dataschema
    if event.subject is not None:
        attributes["subject"] = event.subject
    attributes.update(event.extensions)
    return attributes


def parse_timestamp(name: str, text: str) -> datetime:
    """Parse an RFC 3339 timestamp (CloudEvents type Timestamp); in UTC; digits past microseconds are cut.

    Raises MalformedEventError(`not-a-cloudevent`) naming the attribute.
    """
    match = _RFC3339.fullmatch(text)
    if match:
        day, clock, fraction, zone = match.groups()
        micros = (fraction or ".0")[:7]
        try:
            return datetime.fromisoformat(f"{day}T{clock}{micros}{zone.upper()}").astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # a shape like 2023-02-30, or before year 1 in UTC: reported below like any wrong timestamp
    raise _wrong(f"attribute {name} must be an RFC 3339 timestamp such as 2023-05-02T09:30:00Z")


def format_timestamp(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC, with microseconds only when it has any."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat()[:-6]}Z"


def is_json_media_type(media_type: str) -> bool:
    """Tell whether a media type means JSON: `application/json`, `text/json` or any `+json`, parameters ignored."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence in ("application/json", "text/json") or essence.endswith("+json")


def _obviously_fine(attributes: Mapping[str, str]) -> bool:
    """Tell at a glance, for all attributes at once, what holds for nearly every event; False if it takes a closer look."""
    values = attributes.values()
    return (
        len(attributes) <= _MANY_ATTRIBUTES
        and all(values)
        and "".join(values).isprintable()
        and max(map(len, values), default=0) <= MAX_ATTRIBUTE_BYTES // _MAX_BYTES_PER_CHAR
        and _are_names_fine(tuple(attributes))
    )


@lru_cache(maxsize=256)
def _are_names_fine(names: tuple[str, ...]) -> bool:
    """Tell it of the few sets of names that there are, once each."""
    return "data" not in names and all(_EXTENSION_NAME.fullmatch(name) for name in names)


def _check_attribute(name: str, value: str) -> None:
    if not _EXTENSION_NAME.fullmatch(name):
        raise _wrong(f"attribute name {name[:60]!a} must be 1..100 characters of a-z and 0-9")
    if name == "data":  # the specification reserves it: structured mode could not tell it from the data
        raise _wrong("attribute name data is reserved")
    if not value or _FORBIDDEN_CHARS.search(value) or len(value.encode()) > MAX_ATTRIBUTE_BYTES:
        raise _wrong(f"attribute {name} must be 1..{MAX_ATTRIBUTE_BYTES} bytes without control characters")


def _wrong(detail: str) -> MalformedEventError:
    return MalformedEventError("not-a-cloudevent", detail)
