"""Log rows on their way into a table and back: every value as text, which both engines read exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from expert_bot.ports_analytics import LogRow, Row
from expert_bot.storage.analytics_columns import trimmed

Texts = dict[str, str | None]
"""A row by column: text or None."""

MAX_ROW_ID: Final = 128
_FINEST: Final = Decimal("1E-9")
_LARGEST: Final = Decimal("1E+18")


def texts_by_kind(
    rows: Sequence[LogRow], pseudonym: Callable[[str], str]
) -> dict[type[LogRow], dict[str, Texts]]:
    """Return rows by kind and `row_id`, with pseudonyms for user ids; of rows with one id the first stands.

    Raises ValueError: a `row_id` that is empty or too long, a naive time, a value of 1e18 or more.
    """
    found: dict[type[LogRow], dict[str, Texts]] = {}
    for row in rows:
        if not 1 <= len(row.row_id) <= MAX_ROW_ID:
            raise ValueError(f"row_id must have 1 to {MAX_ROW_ID} characters, not {len(row.row_id)}")
        texts = {each.name: _text(each.name, getattr(row, each.name)) for each in fields(row)}
        if (user_id := texts.get("user_id")) is not None:
            texts["user_id"] = pseudonym(user_id)
        found.setdefault(type(row), {}).setdefault(row.row_id, texts)
    return found


def row_of(kind: type[Row], values: Sequence[Any]) -> Row:
    """Return a row from what a table holds, in the order of its columns."""
    named: dict[str, Any] = {
        each.name: _value(value) for each, value in zip(fields(kind), values, strict=True)
    }
    return kind(**named)


def utc_text(instant: datetime) -> str:
    """Write an aware instant in UTC without its zone, to the microsecond. Raises ValueError for a naive one."""
    if instant.tzinfo is None:
        raise ValueError("instants in analytics must be aware")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _text(name: str, value: str | int | Decimal | date | datetime | None) -> str | None:
    match value:
        case None | str():
            return value
        case datetime():
            return utc_text(value)
        case date():
            return value.isoformat()
        case Decimal() if not value.is_finite() or abs(value) >= _LARGEST:
            raise ValueError(f"{name} must be a number below 1e18, not {value}")
        case Decimal():
            return f"{value.quantize(_FINEST):f}"
        case _:
            return str(value)


def _value(stored: object) -> object:
    match stored:
        case datetime():
            return stored.replace(tzinfo=UTC)
        case Decimal():
            return trimmed(stored)
        case _:
            return stored
