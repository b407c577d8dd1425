"""What is decided at a glance is what a closer look would say: the fast paths let nothing through, and lose nothing."""

from __future__ import annotations

import gc
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expert_bot.delivery import Message
from expert_bot.errors import MalformedEventError, MessageRefusedError
from expert_bot.publishers import pubsub_limits
from expert_bot.publishers.pubsub_limits import check_limits
from expert_bot.records import record
from expert_bot.replies import reply_id
from expert_bot.schemas import envelope
from expert_bot.schemas.envelope import build_event
from expert_bot.service import calm_garbage_collector

REQUIRED = {"specversion": "1.0", "id": "e", "source": "s", "type": "t"}
NAMES = st.text("abz09-_A\n,é", max_size=6) | st.sampled_from(["data", "a" * 100, "a" * 101])
VALUES = st.text(max_size=8) | st.sampled_from(
    ["", "x" * 1024, "x" * 1025, "ñ" * 513, "\x7f", "\u00a0", "\ufffe", "\x85"]
)


def _verdict(build: object, *arguments: object) -> str:
    try:
        build(*arguments)  # type: ignore[operator]  # any function
    except (MalformedEventError, MessageRefusedError) as error:
        return str(error)
    return "fine"


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@example({"x": "\u00a0"})
@example({"data": "x"})
@example({"x": "ñ" * 512})
@example({"x": "ñ" * 513})
def test_an_events_attributes_are_judged_the_same_at_a_glance(extra: dict[str, str]) -> None:
    """Names, emptiness, control characters, bytes: with the glance and without it."""
    attributes = REQUIRED | extra
    at_a_glance = _verdict(build_event, attributes, b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "_obviously_fine", lambda _: False)
        assert _verdict(build_event, attributes, b"") == at_a_glance


@given(
    st.dictionaries(
        st.text("goaé-\n", max_size=6)
        | st.sampled_from(["n" * 256, "n" * 257, "é" * 128, "é" * 129, "googled", "agoog"]),
        st.text(max_size=4) | st.sampled_from(["x" * 1024, "x" * 1025, "é" * 512, "é" * 513]),
        max_size=4,
    )
)
@example({"é" * 129: ""})
@example({"goog": ""})
@example({"": "x"})
def test_a_messages_attributes_are_judged_the_same_at_a_glance(attributes: dict[str, str]) -> None:
    """The bus's limits, with the glance and without it."""
    message = Message(topic="t", data=b"x", attributes=attributes)
    at_a_glance = _verdict(check_limits, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pubsub_limits, "_obviously_fine", lambda _: False)
        assert _verdict(check_limits, message) == at_a_glance


@given(st.text(max_size=20), st.text(max_size=20), st.text("abc_", max_size=9), st.integers(0, 99))
def test_a_reply_id_is_a_name_based_uuid(source: str, event_id: str, handler: str, index: int) -> None:
    """RFC 9562 version 5 in the URL namespace, as anyone else would compute it."""
    expected = uuid.uuid5(uuid.NAMESPACE_URL, f"{source}\n{event_id}\n{handler}\n{index}")
    assert reply_id(source, event_id, handler, index) == str(expected)


def test_records_compare_hash_and_print_by_what_they_hold() -> None:
    """Everything a frozen dataclass gives, but for the refusal at run time."""

    @record()
    class Point:
        x: int
        y: int = 0

    assert Point(1) == Point(1, 0)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert repr(Point(1)).endswith("Point(x=1, y=0)")
    assert not hasattr(Point(1), "__dict__")


def test_the_garbage_collector_is_as_before_once_a_worker_has_ended() -> None:
    """Tests, and whatever else runs in the process, must not inherit a worker's settings."""
    before = gc.get_threshold()
    with calm_garbage_collector():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
