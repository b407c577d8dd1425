"""Dead letters: the original message unchanged, marks that say why it died, always small enough to be published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot import __version__
from expert_bot.delivery import Delivery, Message
from expert_bot.errors import PermanentError
from expert_bot.publishers.pubsub_limits import check_limits
from expert_bot.schemas import strict_json
from expert_bot.schemas.dead_letter import (
    MAX_DETAIL_BYTES,
    REASONS,
    CauseOfDeath,
    describe_reason,
    encode_dead_letter,
    first_frame,
    one_ascii_line,
)

PUBLISHED_AT = datetime(2023, 5, 2, 9, 30, tzinfo=UTC)
CE = {"ce-id": "e-1", "ce-source": "//s", "ce-type": "t", "ce-specversion": "1.0"}
HOSTILE_TEXT = st.text(st.characters(), max_size=40) | st.integers(900, 1100).map("x".__mul__)


def letter(
    attributes: Mapping[str, str], *, detail: str = "why", data: bytes = b"\x00\xff", published_at: datetime | None = None
) -> Message:  # fmt: skip
    """Return the dead letter of a message with these attributes."""
    delivery = Delivery(
        subscription="expert-bot-x", data=data, attributes=attributes, published_at=published_at
    )
    cause = CauseOfDeath(
        reason="expired", detail=detail, error_class="PermanentError", handler="h", attempts=3
    )
    return encode_dead_letter(delivery, cause)


def test_a_dead_letter_is_the_original_with_marks() -> None:
    """Bytes and attributes stay, `dl-*` say why, where and since when."""
    attributes = CE | {"content-type": "application/json", "custom": "kept"}
    message = letter(attributes, published_at=PUBLISHED_AT)
    assert message.topic == "expert-bot-dead-letters"
    assert message.data == b"\x00\xff"
    assert message.attributes == attributes | {
        "dl-reason": "expired",
        "dl-class": "PermanentError",
        "dl-detail": "why",
        "dl-handler": "h",
        "dl-attempts": "3",
        "dl-version": __version__,
        "dl-replays": "0",
        "dl-subscription": "expert-bot-x",
        "dl-first-publish": "2023-05-02T09:30:00Z",
    }


def test_a_message_without_attributes_gets_all_marks() -> None:
    """An event that no handler was found for still says so: no attribute is empty."""
    delivery = Delivery(subscription="expert-bot-x", data=b"", attributes={})
    message = encode_dead_letter(delivery, CauseOfDeath(reason="expired", detail="", error_class="E"))
    assert (message.attributes["dl-handler"], message.attributes["dl-detail"]) == ("none", "no detail")
    assert "" not in message.attributes.values()


def test_a_replayed_letter_that_dies_again_keeps_its_history() -> None:
    """Marks of the earlier death are replaced, but the number of replays and the first publish time stay."""
    earlier = CE | {
        "dl-reason": "unknown-type",
        "dl-stale": "x",
        "dl-replays": "2",
        "dl-first-publish": "2023-05-01T00:00:00Z",
    }
    message = letter(earlier, published_at=PUBLISHED_AT)
    assert (message.attributes["dl-reason"], message.attributes["dl-replays"]) == ("expired", "2")
    assert message.attributes["dl-first-publish"] == "2023-05-01T00:00:00Z"
    assert "dl-stale" not in message.attributes
    assert "dl-dropped" not in message.attributes


def test_a_letter_says_where_the_error_came_from_and_in_which_order_the_event_stood() -> None:
    """Frame and ordering key are marks too, where there are any."""
    delivery = Delivery(subscription="expert-bot-x", data=b"", attributes=CE, ordering_key="conv-1")
    cause = CauseOfDeath(reason="r", detail="d", error_class="E", frame="expert_bot.x:f")
    marks = encode_dead_letter(delivery, cause).attributes
    assert (marks["dl-frame"], marks["dl-ordering-key"]) == ("expert_bot.x:f", "conv-1")
    assert {"dl-frame", "dl-ordering-key"}.isdisjoint(letter(CE).attributes)


@pytest.mark.parametrize("ordering_key", ["x" * 1025, "\udcff"], ids=["too long", "not UTF-8"])
def test_an_ordering_key_that_no_attribute_can_hold_is_left_out(ordering_key: str) -> None:
    """A push request's headers can hold keys that Pub/Sub cannot; the letter is published all the same."""
    delivery = Delivery(subscription="expert-bot-x", data=b"", attributes=CE, ordering_key=ordering_key)
    message = encode_dead_letter(delivery, CauseOfDeath(reason="r", detail="d", error_class="E"))
    check_limits(message)
    assert "dl-ordering-key" not in message.attributes


def test_marks_of_the_broker_and_of_a_replay_do_not_come_back() -> None:
    """An event that the broker had forwarded once, or that was replayed, dies as its sender made it, but for the count."""
    earlier = CE | {"CloudPubSubDeadLetterSourceDeliveryCount": "20", "replayfor": "expert-bot-x"}
    assert letter(earlier).attributes == letter(CE).attributes | {"dl-replays": "1"}


def caught(run: Callable[[], object]) -> Exception:
    """Return the error that a call ends with."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each case raises its own
        run()
    return raised.value


def test_the_first_frame_is_the_innermost_of_this_package() -> None:
    """Frames of libraries and callers do not count; the frame names no file and no line."""
    deep, broken = (caught(lambda data=data: strict_json.loads(data)) for data in (b"[" * 100, b"{"))
    assert first_frame("attempts-exhausted", deep) == "expert_bot.schemas.strict_json:_check_depth"
    assert first_frame("a-handlers-own", broken) == "expert_bot.schemas.strict_json:loads"
    assert first_frame("attempts-exhausted", caught(lambda: int("x"))) == ""
    assert first_frame("attempts-exhausted", PermanentError("r", "never raised")) == ""


@pytest.mark.parametrize("reason", sorted(set(REASONS) - {"attempts-exhausted"}))
def test_a_refusal_has_no_frame(reason: str) -> None:
    """Where the schema found the fault says nothing that the reason does not."""
    assert first_frame(reason, caught(lambda: strict_json.loads(b"{"))) == ""


@pytest.mark.parametrize(
    ("dropped", "others"),
    [
        pytest.param(None, 87, id="91 attributes fit"),
        pytest.param("1", 88, id="92 do not"),
        pytest.param("9", 96, id="a full message"),
    ],
)
def test_attributes_give_way_to_marks(dropped: str | None, others: int) -> None:
    """A message has at most 100 attributes; the event's own go last, and how many are gone is said."""
    message = letter({f"a{number:03}": "x" for number in range(others)} | CE)
    assert dropped == message.attributes.get("dl-dropped")
    assert len(message.attributes) <= 100
    assert message.attributes.items() >= CE.items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("ce-subject", "x" * 1025, id="long value"),
        pytest.param("ce-subject", "ñ" * 513, id="long value in bytes"),
        pytest.param("x" * 257, "x", id="long name"),
        pytest.param("", "x", id="empty name"),
        pytest.param("googclient_x", "x", id="reserved name"),
        pytest.param("ce-subject", "\udcff", id="value that is not UTF-8"),
        pytest.param("dl-replays", "9" * 1025, id="long mark"),
    ],
)
def test_what_no_message_can_carry_is_dropped(name: str, value: str) -> None:
    """An HTTP request can hold attributes that Pub/Sub cannot; the letter is published without them and says so."""
    message = letter(CE | {name: value})
    check_limits(message)
    assert message.attributes["dl-dropped"] == "1"
    assert value not in message.attributes.values()


@given(
    attributes=st.dictionaries(HOSTILE_TEXT | st.integers().map("ce-{}".format), HOSTILE_TEXT, max_size=110),
    detail=st.text(),
    data=st.binary(),
)
def test_every_dead_letter_can_be_published(attributes: dict[str, str], detail: str, data: bytes) -> None:
    """Whatever the message was, its dead letter keeps the bytes and stays within Pub/Sub's limits."""
    message = letter(attributes, detail=detail, data=data)
    check_limits(message)
    assert data == message.data


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param("a b c", " a\n\tb\r\n c ", id="one line"),
        pytest.param("Espa?a ?", "España 😀", id="ASCII"),
        pytest.param("a?b?", "a\x00b\x7f", id="printable"),
        pytest.param("no detail", " \n ", id="never empty"),
        pytest.param("x" * MAX_DETAIL_BYTES, "x" * 901, id="900 bytes"),
    ],
)
def test_a_detail_is_one_short_ascii_line(line: str, text: str) -> None:
    """Any text becomes one printable ASCII line of 1..900 bytes."""
    assert line == one_ascii_line(text)


@given(text=st.text(st.characters(), max_size=1200))
def test_every_detail_is_one_short_ascii_line(text: str) -> None:
    """No text escapes the rule."""
    line = one_ascii_line(text)
    assert line.isascii()
    assert line.isprintable()
    assert 1 <= len(line) <= MAX_DETAIL_BYTES


def test_reasons_are_described_for_people() -> None:
    """Every reason has its title and an error status; a handler's own reason gets a general one."""
    assert {"-"} >= {letter for reason in REASONS for letter in reason if not letter.isalnum()}
    assert all(reason.title and 400 <= reason.status <= 599 for reason in REASONS.values())
    assert (describe_reason("expired").retriable, describe_reason("unusable-time").status) == (True, 422)
