"""CloudEvents on Pub/Sub: binary and structured mode, both directions.

Source: googleapis/google-cloudevents, docs/spec/pubsub.md (attributes `ce-*`, `content-type`); JSON event format 1.0.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from expert_bot.delivery import Message
from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json
from expert_bot.schemas.envelope import (
    CORE_ATTRIBUTES,
    SPEC_VERSION,
    CloudEvent,
    build_event,
    context_attributes,
    format_timestamp,
    is_json_media_type,
)

CONTENT_TYPE: Final = "content-type"
PREFIX: Final = "ce-"
STRUCTURED_MEDIA_TYPE: Final = "application/cloudevents+json"
_STRUCTURED_PREFIX: Final = "application/cloudevents"


def is_structured(attributes: Mapping[str, str]) -> bool:
    """Tell whether a message is in structured mode (its `content-type` starts with `application/cloudevents`)."""
    return attributes.get(CONTENT_TYPE, "").lower().startswith(_STRUCTURED_PREFIX)


def decode(attributes: Mapping[str, str], data: bytes) -> CloudEvent:
    """Decode one Pub/Sub message in whichever mode it is.

    Raises MalformedEventError: `not-a-cloudevent` (an attribute is missing or wrong, batch mode, unknown format) or,
    in structured mode only, `invalid-json`, `invalid-encoding`, `nesting-too-deep`. In binary mode the data is not
    looked at: it may still prove broken when its schema reads it.
    """
    content_type = attributes.get(CONTENT_TYPE, "")
    if is_structured(attributes):
        return _decode_structured(content_type, data)
    context = {
        name[len(PREFIX) :]: value
        for name, value in attributes.items()
        if name.startswith(PREFIX) and name != "ce-datacontenttype"
    }
    declared = content_type or attributes.get(
        "ce-datacontenttype"
    )  # the binding's own example uses the latter
    if declared:
        context["datacontenttype"] = declared
    return build_event(context, data)


def encode_binary(event: CloudEvent, topic: str) -> Message:
    """Encode in binary mode: context in `ce-*` attributes, data as it is, ordering key = extension `partitionkey`."""
    attributes = {
        "ce-specversion": SPEC_VERSION,
        "ce-id": event.id,
        "ce-source": event.source,
        "ce-type": event.type,
        CONTENT_TYPE: event.datacontenttype,
    }
    if event.time is not None:
        attributes["ce-time"] = format_timestamp(event.time)
    if event.dataschema is not None:
        attributes["ce-dataschema"] = event.dataschema
    if event.subject is not None:
        attributes["ce-subject"] = event.subject
    for name, value in event.extensions.items():
        attributes[PREFIX + name] = value
    return Message(
        topic=topic,
        data=event.data,
        attributes=attributes,
        ordering_key=event.extensions.get("partitionkey", ""),
    )


def encode_structured(event: CloudEvent, topic: str) -> Message:
    """Encode in structured mode: the whole event as one JSON document.

    JSON data is embedded as JSON, anything else as `data_base64`. Raises MalformedEventError if data declared as
    JSON is not.
    """
    document: dict[str, strict_json.JsonValue] = dict(context_attributes(event))
    if event.data and is_json_media_type(event.datacontenttype):
        document["data"] = strict_json.loads(event.data)
    elif event.data:
        document["data_base64"] = base64.b64encode(event.data).decode("ascii")
    return Message(
        topic=topic,
        data=strict_json.dumps(document),
        attributes={CONTENT_TYPE: f"{STRUCTURED_MEDIA_TYPE}; charset=utf-8"},
        ordering_key=event.extensions.get("partitionkey", ""),
    )


def _decode_structured(content_type: str, data: bytes) -> CloudEvent:
    if content_type.partition(";")[0].strip().lower() != STRUCTURED_MEDIA_TYPE:
        raise MalformedEventError(
            "not-a-cloudevent",
            f"content-type {content_type[:80]!a} is not supported; use {STRUCTURED_MEDIA_TYPE} or binary mode",
        )
    # the envelope is one level: data may be as deep here as in binary mode
    document = strict_json.loads(data, max_depth=strict_json.MAX_DEPTH + 1)
    if not isinstance(document, dict):
        raise MalformedEventError("not-a-cloudevent", "a structured event must be a JSON object")
    payload = _structured_payload(document)
    return build_event(
        {name: _canonical(name, value) for name, value in document.items() if value is not None}, payload
    )


def _structured_payload(document: dict[str, strict_json.JsonValue]) -> bytes:
    """Take `data` or `data_base64` out of the document and return the payload's bytes."""
    has_data = "data" in document
    value = document.pop("data", None)
    encoded = document.pop("data_base64", None)
    if encoded is None:
        if not has_data:
            return b""
        media_type = document.get("datacontenttype")
        if isinstance(media_type, str) and not is_json_media_type(media_type) and isinstance(value, str):
            return value.encode("utf-8")
        return strict_json.dumps(value)
    if has_data or not isinstance(encoded, str):
        raise MalformedEventError("not-a-cloudevent", "use either data or data_base64 (a string), not both")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedEventError("not-a-cloudevent", "data_base64 is not valid base64") from error


def _canonical(name: str, value: strict_json.JsonValue) -> str:
    """CloudEvents' string form of an attribute value: String; in extensions also Boolean and Integer (32 bit)."""
    if isinstance(value, str):
        return value
    if name in CORE_ATTRIBUTES:
        raise MalformedEventError("not-a-cloudevent", f"attribute {name} must be a string")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -(2**31) <= value < 2**31:
        return str(value)
    raise MalformedEventError(
        "not-a-cloudevent", f"attribute {name[:60]!a} must be a string, a boolean or a 32-bit integer"
    )
