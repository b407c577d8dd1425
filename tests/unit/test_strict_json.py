"""Strict JSON: one meaning per document, every other document refused with its reason, in linear time."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.errors import MalformedEventError
from expert_bot.schemas.strict_json import MAX_DEPTH, JsonValue, dumps, loads

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """Return a document nested this deep."""
    return opening * levels + b"1" + closing * levels


@pytest.mark.parametrize(
    ("reason", "document"),
    [
        pytest.param("invalid-json", b"", id="empty"),
        pytest.param("invalid-json", b" \n", id="only spaces"),
        pytest.param("invalid-json", b'{"a": 1', id="truncated object"),
        pytest.param("invalid-json", b'{"a": "b', id="truncated string"),
        pytest.param("invalid-json", b'{"a": "b\\', id="truncated escape"),
        pytest.param("invalid-json", b'{"a": 1} x', id="trailing garbage"),
        pytest.param("invalid-json", b"{} {}", id="two documents"),
        pytest.param("invalid-json", b"{'a': 1}", id="single quotes"),
        pytest.param("invalid-json", b'{"a": 1,}', id="trailing comma"),
        pytest.param("invalid-json", b'{"a": 1} // why', id="comment"),
        pytest.param("invalid-json", b'{"a": 1, "a": 1}', id="duplicate key"),
        pytest.param("invalid-json", b'{"a": 1, "\\u0061": 2}', id="duplicate key by escape"),
        pytest.param("invalid-json", b'[{"x": {"a": 1, "a": 2}}]', id="duplicate key inside"),
        pytest.param("invalid-json", b'{"a": NaN}', id="NaN"),
        pytest.param("invalid-json", b"Infinity", id="Infinity"),
        pytest.param("invalid-json", b"[-Infinity]", id="-Infinity"),
        pytest.param("invalid-json", b"1e999", id="float overflow"),
        pytest.param("invalid-json", b"-1e999", id="negative float overflow"),
        pytest.param("invalid-json", b"1" * 5000, id="5,000-digit integer"),
        pytest.param("invalid-json", b"-" + b"1" * 5000, id="negative 5,000-digit integer"),
        pytest.param("invalid-json", b"0." + b"1" * 5000, id="5,000-digit fraction"),
        pytest.param("invalid-json", b"1" * 41, id="41 digits"),
        pytest.param("invalid-json", b"01", id="leading zero"),
        pytest.param("invalid-json", b'"a\nb"', id="raw line end in a string"),
        pytest.param("invalid-json", b'"\\x41"', id="escape JSON does not know"),
        pytest.param("invalid-json", b"]" * 100_000, id="100,000 closing brackets"),
        pytest.param("nesting-too-deep", nested(MAX_DEPTH + 1), id="33 arrays"),
        pytest.param("nesting-too-deep", nested(MAX_DEPTH + 1, b'{"a":', b"}"), id="33 objects"),
        pytest.param("nesting-too-deep", nested(100_000), id="100,000 arrays"),
        pytest.param("nesting-too-deep", b"[" * 100_000, id="100,000 arrays never closed"),
        pytest.param("nesting-too-deep", nested(100_000, b'{"a":', b"}"), id="100,000 objects"),
        pytest.param(
            "nesting-too-deep", b'["\\"[",' + nested(MAX_DEPTH) + b"]", id="deep after a quoted quote"
        ),
        pytest.param("invalid-encoding", '{"a": "ñ"}'.encode("latin-1"), id="Latin-1"),
        pytest.param("invalid-encoding", b'"\xc3"', id="truncated UTF-8"),
        pytest.param("invalid-encoding", b'"\xed\xa0\x80"', id="surrogate as UTF-8"),
        pytest.param("invalid-encoding", '{"a": 1}'.encode("utf-8-sig"), id="byte order mark"),
        pytest.param("invalid-encoding", '{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param("invalid-encoding", b'"\\ud83d"', id="high surrogate alone"),
        pytest.param("invalid-encoding", b'["x", {"a": "\\ude00"}]', id="low surrogate alone inside"),
        pytest.param("invalid-encoding", b'{"\\ud83d": 1}', id="lone surrogate in a key"),
    ],
)
def test_a_hostile_document_is_refused_with_its_reason(reason: str, document: bytes) -> None:
    """Whatever two readers could read differently, or could choke on, is refused as MalformedEventError."""
    with pytest.raises(MalformedEventError) as refused:
        loads(document)
    assert reason == refused.value.reason
    assert refused.value.detail.isprintable()


@pytest.mark.parametrize(
    ("value", "document"),
    [
        pytest.param({"a": [1, "ñ"]}, ' {"a": [1, "ñ"]}\r\n'.encode(), id="spaces around"),
        pytest.param("😀", b'"\\ud83d\\ude00"', id="surrogate pair"),
        pytest.param("\x00", b'"\\u0000"', id="escaped control character"),
        pytest.param(int("9" * 40), b"9" * 40, id="40 digits"),
        pytest.param([{}, {}], b"[{},{}]", id="one key each in two objects"),
        pytest.param("[" * 1000, b'"' + b"[" * 1000 + b'"', id="brackets in a string do not nest"),
        pytest.param(
            {"\\{[": '"' * 50}, b'{"\\\\{[":"' + b'\\"' * 50 + b'"}', id="escapes before brackets do not nest"
        ),
        pytest.param(
            [[] for _ in range(1000)], b"[" + b"[]," * 999 + b"[]]", id="many brackets side by side"
        ),
    ],
)
def test_an_unusual_document_is_read(value: JsonValue, document: bytes) -> None:
    """What RFC 8259 allows and means one thing is read, however odd it looks."""
    assert value == loads(document)


def test_the_deepest_document_is_read() -> None:
    """Exactly 32 levels are allowed."""
    value = loads(nested(MAX_DEPTH))
    for _ in range(MAX_DEPTH):
        assert isinstance(value, list)
        (value,) = value
    assert value == 1


@given(value=VALUES)
def test_what_is_written_reads_back_the_same(value: JsonValue) -> None:
    """Loads is the inverse of dumps for every JSON value."""
    assert loads(dumps(value)) == value


@given(document=st.binary(max_size=200) | VALUES.map(dumps).map(lambda text: text[: len(text) // 2 + 1]))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    """No bytes make the parser fail in another way than MalformedEventError."""
    try:
        value = loads(document)
    except MalformedEventError:
        return
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_number_for_is_not_written(value: float) -> None:
    """NaN and infinities raise instead of making a document nobody may read."""
    with pytest.raises(ValueError, match="JSON"):
        dumps([value])


@pytest.mark.parametrize(
    ("opening", "unit"),
    [
        pytest.param(b'"', b'\\"', id="escaped quotes in a string"),
        pytest.param(b'["', b"\\\\[", id="brackets and escapes in a string"),
        pytest.param(b"[", b"[],", id="brackets"),
        pytest.param(b"", b"9", id="digits"),
    ],
)
def test_reading_takes_linear_time(opening: bytes, unit: bytes) -> None:
    """Four times the document takes about four times as long, not sixteen."""
    small = min(time_to_read(opening + unit * 150_000) for _ in range(5))
    large = min(time_to_read(opening + unit * 600_000) for _ in range(5))
    assert large < 10 * small


def time_to_read(document: bytes) -> float:
    """Return how long a document takes to read or to refuse."""
    started = time.perf_counter()
    with suppress(MalformedEventError):
        loads(document)
    return time.perf_counter() - started
