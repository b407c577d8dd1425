"""JSON as RFC 8259 means it: one meaning per document, or an error that says what was wrong.

The standard parser accepts duplicate keys, NaN, lone surrogates and any nesting the stack survives; two readers of such
a document can see two different events, so it is refused here, before anyone acts on it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn

from expert_bot.errors import MalformedEventError

MAX_DEPTH: Final = 32
MAX_NUMBER_CHARS: Final = 40
_STRUCTURE: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL
)  # possessive: linear on hostile input

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Parse UTF-8 JSON bytes.

    Raises MalformedEventError with reason `invalid-encoding` (not UTF-8, byte order mark, lone surrogate escape),
    `nesting-too-deep` (more than `max_depth` levels) or `invalid-json` (everything else, duplicate keys and NaN included).
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedEventError(
            "invalid-encoding", f"data must be UTF-8; byte {error.start} is not"
        ) from error
    if text.startswith("\ufeff"):
        raise MalformedEventError("invalid-encoding", "data must be UTF-8 without a byte order mark")
    _check_depth(data, max_depth)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedEventError(
            "invalid-json", f"{error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    if "\\u" in text:
        _check_surrogates(value)
    return value  # type: ignore[no-any-return]  # json is untyped; the decoder yields JsonValue only


def dumps(value: object) -> bytes:
    """Serialise to compact UTF-8 JSON, keys in the given order. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _check_depth(data: bytes, max_depth: int) -> None:
    if data.count(b"[") + data.count(b"{") <= max_depth:  # the usual case: cannot be too deep
        return
    depth = 0
    for token in _STRUCTURE.finditer(data):
        match token.group():
            case b"[" | b"{":
                depth += 1
                if depth > max_depth:
                    raise MalformedEventError(
                        "nesting-too-deep", f"JSON may be nested at most {max_depth} levels deep"
                    )
            case b"]" | b"}":
                depth -= 1
            case _:  # a whole string: brackets inside it do not nest
                pass


def _check_surrogates(value: JsonValue) -> None:
    pending: list[JsonValue] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise MalformedEventError(
                    "invalid-encoding", "a \\u escape is half of a surrogate pair"
                ) from error
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())


def _unique_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise MalformedEventError("invalid-json", "a key appears twice in one object")
    return obj


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedEventError("invalid-json", f"{name} is not a JSON number")


def _parse_int(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise MalformedEventError("invalid-json", f"a number has more than {MAX_NUMBER_CHARS} characters")
    return int(text)


def _parse_float(text: str) -> float:
    value = float(text)
    if len(text) > MAX_NUMBER_CHARS or math.isinf(value):
        raise MalformedEventError("invalid-json", "a number is too long or too large for a 64-bit float")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_object,
    parse_constant=_refuse_constant,
    parse_int=_parse_int,
    parse_float=_parse_float,
)
