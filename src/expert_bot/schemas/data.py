"""An event's data, read by its type's schema."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ValidationError

from expert_bot.errors import MalformedEventError, PermanentError
from expert_bot.schemas import strict_json
from expert_bot.schemas.envelope import CloudEvent, is_json_media_type
from expert_bot.schemas.families import EventType

_MAX_VIOLATIONS: Final = 5


def parse_data(event: CloudEvent, event_type: EventType, max_bytes: int) -> BaseModel:
    """Read an event's data by its type's schema.

    Raises PermanentError: `payload-too-large`, `unsupported-content-type`, `invalid-json`, `invalid-encoding`,
    `nesting-too-deep`, `schema-violation` (naming each wrong member, never its value).
    """
    check_size(event.data, max_bytes)
    if not is_json_media_type(event.datacontenttype):
        raise PermanentError(
            "unsupported-content-type", f"data must be application/json, not {event.datacontenttype[:80]!a}"
        )
    document = strict_json.loads(event.data)
    try:
        model: BaseModel = event_type.data.__pydantic_validator__.validate_python(document)
        return model
    except ValidationError as error:
        raise PermanentError("schema-violation", describe_violations(error)) from error


def check_size(data: bytes, max_bytes: int) -> None:
    """Raise MalformedEventError(`payload-too-large`) if there are more bytes than allowed."""
    if len(data) > max_bytes:
        raise MalformedEventError("payload-too-large", f"{len(data)} bytes; at most {max_bytes} are allowed")


def describe_violations(error: ValidationError) -> str:
    """Return one line that names each wrong member and what is allowed, never its value."""
    violations = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{'.'.join(str(part)[:60] for part in violation['loc']) or 'data'}: {violation['msg']}"
        for violation in violations[:_MAX_VIOLATIONS]
    ]
    if len(violations) > _MAX_VIOLATIONS:
        lines.append(f"and {len(violations) - _MAX_VIOLATIONS} more")
    return "; ".join(lines)
