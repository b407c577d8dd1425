"""What a document may hold and when a condition holds, the same for every embedded adapter.

Source: Firestore's data types (64-bit integers, no list directly inside a list) and its typed comparisons.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from expert_bot.ports import Delete, DocKey, Fields, Value, Where, Write

_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1
_PLAIN_TYPES: Final = frozenset({str, bool, float, bytes, type(None)})
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def checked_copy(fields: Fields) -> Fields:
    """Return a deep copy with every datetime in UTC.

    Raises ValueError for what Firestore cannot hold (a naive datetime, an integer beyond 64 bits, a list directly
    inside a list) and TypeError for a type that no field may have.
    """
    return {name: value if type(value) in _PLAIN_TYPES else _checked(value) for name, value in fields.items()}


def check_writes(writes: Sequence[Write]) -> None:
    """Raise ValueError if a document appears twice or a top-level field name is not allowed."""
    if len(writes) > 1:
        _check_once_each(writes)
    for write in writes:
        for name in () if isinstance(write, Delete) else write.fields:
            if not _is_field_name(name):
                raise ValueError(f"field name {name!r} must match {_FIELD_NAME.pattern}")


def _check_once_each(writes: Sequence[Write]) -> None:
    seen: set[DocKey] = set()
    for write in writes:
        if write.key in seen:
            raise ValueError(f"document {write.key.collection}/{write.key.id} appears twice in one commit")
        seen.add(write.key)


@lru_cache(maxsize=1024)
def _is_field_name(name: str) -> bool:
    return _FIELD_NAME.fullmatch(name) is not None


def condition(where: Sequence[Where]) -> Callable[[Fields], bool]:
    """Compile conditions into one test of a document's fields. Raises ValueError for an unknown operator."""
    for part in where:
        if part.op not in _OPERATORS:
            raise ValueError(f"operator {part.op!r} must be one of {', '.join(_OPERATORS)}")
    return lambda fields: all(_holds(part, fields.get(part.field)) for part in where)


def _holds(part: Where, value: Value) -> bool:
    return _comparable(value) == _comparable(part.value) and _OPERATORS[part.op](value, part.value)


def _comparable(value: Value) -> str:
    """Name the group of types a value compares with: integers and floats are one, truth values are their own."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _checked(value: Value) -> Value:
    rule = _RULES.get(type(value))
    if rule is not None:
        return rule(value)
    for kind in (
        datetime,
        bool,
        int,
        str,
        dict,
        list,
    ):  # subclasses: an enumeration's text is stored as what it says
        if isinstance(value, kind):
            return _RULES[kind](value)
    raise TypeError(f"a document cannot hold a {type(value).__name__}; see ports.Value")


def _same(value: Value) -> Value:
    return value


def _checked_datetime(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise ValueError("a datetime in a document must be aware")
    return value.astimezone(UTC)


def _checked_int(value: int) -> int:
    if not _MIN_INT <= value <= _MAX_INT:
        raise ValueError(f"integer of {value.bit_length()} bits does not fit 64 bits")
    return int(value)


def _checked_map(value: dict[str, Value]) -> dict[str, Value]:
    if not all(isinstance(name, str) for name in value):
        raise TypeError("keys of a map in a document must be text")
    return checked_copy(value)


def _checked_list(value: list[Value]) -> list[Value]:
    if _PLAIN_TYPES.issuperset(map(type, value)):
        return value.copy()
    if any(isinstance(item, list) for item in value):
        raise ValueError("a document cannot hold a list directly inside a list")
    return [_checked(item) for item in value]


_RULES: Final[Mapping[type, Callable[[Any], Value]]] = {
    bool: _same,
    float: _same,
    bytes: _same,
    type(None): _same,
    str: str.__str__,
    datetime: _checked_datetime,
    int: _checked_int,
    dict: _checked_map,
    list: _checked_list,
}
