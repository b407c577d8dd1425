"""A dead letter read back: why it died, what it was, and which copies are the same letter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot import __version__
from expert_bot.deadletters.record import DeadLetterRecord, read_record
from expert_bot.delivery import Delivery
from expert_bot.schemas.dead_letter import CauseOfDeath, encode_dead_letter, one_ascii_line

PUBLISHED_AT = datetime(2023, 5, 2, 9, 30, tzinfo=UTC)
DIED_AT = datetime(2023, 5, 2, 9, 31, tzinfo=UTC)
ARCHIVED_AT = datetime(2023, 5, 2, 9, 32, tzinfo=UTC)
CE = {
    "ce-id": "e-1",
    "ce-source": "//s",
    "ce-type": "t",
    "ce-specversion": "1.0",
    "ce-correlationid": "c-1",
    "custom": "kept",
}
REQUEST = Delivery(
    subscription="expert-bot-x",
    data=b"\x00\xff",
    attributes=CE,
    ordering_key="conv-1",
    published_at=PUBLISHED_AT,
)
CAUSE = CauseOfDeath(
    reason="attempts-exhausted",
    detail="10 attempts failed",
    error_class="KeyError",
    handler="chat_requested",
    frame="expert_bot.handlers.chat_requested:answer",
    attempts=10,
)
BROKER = {
    "CloudPubSubDeadLetterSourceSubscription": "expert-bot-x",
    "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
    "CloudPubSubDeadLetterSourceDeliveryCount": "20",
    "CloudPubSubDeadLetterSourceTopicPublishTime": "2023-05-02T09:30:00.000Z",
}
STRUCTURED = {"content-type": "application/cloudevents+json"}


def archived(attributes: Mapping[str, str], data: bytes = REQUEST.data, **changes: Any) -> DeadLetterRecord:
    """Read a message of the dead-letter topic."""
    delivery = Delivery(
        subscription="expert-bot-dead-letters", data=data, attributes=attributes, published_at=DIED_AT
    )
    return read_record(replace(delivery, **changes), ARCHIVED_AT)


def died(request: Delivery = REQUEST, **changes: Any) -> DeadLetterRecord:
    """Read our own letter about a request."""
    letter = encode_dead_letter(request, replace(CAUSE, **changes))
    return archived(letter.attributes, letter.data)


def test_our_own_letter_is_read_whole() -> None:
    """Every mark, the event's context, and the attributes and bytes exactly as the sender gave them."""
    record = died()
    facts = record.facts
    assert (record.attributes, record.data) == (CE, b"\x00\xff")
    assert (facts.state, facts.reason, facts.error_class, facts.detail) == (
        "new",
        "attempts-exhausted",
        "KeyError",
        "10 attempts failed",
    )
    assert (facts.handler, facts.frame) == ("chat_requested", "expert_bot.handlers.chat_requested:answer")
    assert (facts.attempts, facts.replays, facts.previous, facts.dropped) == (10, 0, "", 0)
    assert (facts.version, facts.subscription) == (__version__, "expert-bot-x")
    assert (facts.event_type, facts.event_id, facts.event_source) == ("t", "e-1", "//s")
    assert (facts.correlation_id, facts.ordering_key) == ("c-1", "conv-1")
    assert (facts.first_publish_at, facts.published_at, facts.archived_at) == (
        PUBLISHED_AT,
        DIED_AT,
        ARCHIVED_AT,
    )
    assert (facts.data_bytes, facts.data_sha256) == (2, hashlib.sha256(b"\x00\xff").hexdigest())


def test_the_brokers_forward_is_explained_by_its_own_attributes() -> None:
    """Subscription, attempts and first publish come from the broker; its attributes are not the sender's."""
    record = archived(CE | BROKER, ordering_key="conv-1")
    facts = record.facts
    assert record.attributes == CE
    assert (facts.reason, facts.subscription) == ("broker-attempts-exhausted", "expert-bot-x")
    assert (facts.attempts, facts.first_publish_at) == (20, PUBLISHED_AT)
    assert (facts.event_id, facts.ordering_key) == ("e-1", "conv-1")


def test_a_senders_own_marks_do_not_explain_a_forward() -> None:
    """Whoever puts `dl-*` on a request does not decide what its letter says."""
    facts = archived(CE | BROKER | {"dl-reason": "expired", "dl-handler": "h"}).facts
    assert (facts.reason, facts.handler) == ("broker-attempts-exhausted", "")


@pytest.mark.parametrize(
    "attributes", [{}, CE, {"dl-reason": ""}], ids=["nothing", "an event", "an empty reason"]
)
def test_a_message_without_marks_is_archived_as_unexplained(attributes: dict[str, str]) -> None:
    """What somebody publishes to the topic by hand is kept too."""
    facts = archived(attributes).facts
    assert (facts.reason, facts.subscription, facts.attempts, facts.first_publish_at) == (
        "unexplained",
        "",
        0,
        None,
    )


def test_a_letter_without_a_handler_has_none() -> None:
    """`none` on the wire is nothing in the archive."""
    assert died(handler="").facts.handler == ""


@pytest.mark.parametrize("value", ["-1", "1e3", "x", "9" * 10, "٣"])
def test_a_count_that_is_no_number_counts_as_none(value: str) -> None:
    """Marks of strangers may say anything."""
    facts = archived(CE | {"dl-reason": "expired", "dl-attempts": value, "dl-replays": value}).facts
    assert (facts.attempts, facts.replays, facts.previous) == (0, 0, "")


def test_the_context_of_a_structured_event_is_read() -> None:
    """Id, source, type and correlation come from inside."""
    data = b'{"specversion":"1.0","id":"e-2","source":"//s","type":"t","correlationid":"c-2","data":{}}'
    facts = archived(STRUCTURED | {"dl-reason": "expired"}, data).facts
    assert (facts.event_id, facts.event_source, facts.event_type, facts.correlation_id) == (
        "e-2",
        "//s",
        "t",
        "c-2",
    )


def test_a_huge_structured_event_is_not_parsed() -> None:
    """A letter of 10 MB must not hold up the worker; it is kept without its context."""
    data = b'{"specversion":"1.0","id":"e-2","source":"//s","type":"t","data":"%s"}' % (b"x" * 2_000_000)
    record = archived(STRUCTURED | {"dl-reason": "payload-too-large"}, data)
    assert (record.facts.event_id, record.data) == ("", data)


def test_what_can_be_read_of_a_broken_event_is_read() -> None:
    """An event without a source still shows its id and type."""
    attributes = {name: value for name, value in CE.items() if name != "ce-source"}
    facts = archived(attributes | {"dl-reason": "not-a-cloudevent"}).facts
    assert (facts.event_id, facts.event_type, facts.event_source) == ("e-1", "t", "")


# Identity: which messages are one letter


@pytest.mark.parametrize("attributes", [CE, {"a": "b"}], ids=["event", "no event"])
def test_copies_of_one_death_are_one_letter(attributes: dict[str, str]) -> None:
    """Ours published again, ours with another attempt count, and the broker's forward: the same id."""
    request = replace(REQUEST, attributes=attributes)
    ids = {
        died(request).facts.id,
        archived(encode_dead_letter(request, CAUSE).attributes, message_id="another").facts.id,
        died(request, attempts=11, detail="other words", reason="schema-violation").facts.id,
        archived(attributes | BROKER, ordering_key="conv-1").facts.id,
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(REQUEST, attributes=CE | {"ce-id": "e-2"}), id="another id"),
        pytest.param(replace(REQUEST, attributes=CE | {"ce-source": "//t"}), id="another source"),
        pytest.param(replace(REQUEST, data=b"other"), id="the same id with other bytes"),
        pytest.param(replace(REQUEST, subscription="expert-bot-y"), id="another subscription"),
        pytest.param(replace(REQUEST, attributes={}), id="no event"),
        pytest.param(replace(REQUEST, attributes=CE | {"dl-replays": "1"}), id="replayed"),
    ],
)
def test_another_death_is_another_letter(other: Delivery) -> None:
    """Nothing is taken for a copy of what it is not."""
    assert died(other).facts.id != died().facts.id


def test_messages_that_are_no_events_differ_by_their_attributes() -> None:
    """However names and values are cut, different attributes are different letters."""
    attributes: list[dict[str, str]] = [{"a": "bc"}, {"ab": "c"}, {"a": "b"}, {"a": "b", "c": ""}, {}]
    assert len({archived(each).facts.id for each in attributes}) == len(attributes)


def test_a_replayed_event_that_dies_again_points_to_its_earlier_letter() -> None:
    """Each replay is a generation of its own, linked to the one before, whoever reports the death."""
    first = died().facts
    replay = CE | {"dl-replays": "1", "replayfor": "expert-bot-x"}
    second = died(replace(REQUEST, attributes=replay)).facts
    by_broker = archived(replay | BROKER).facts
    third = died(replace(REQUEST, attributes=CE | {"dl-replays": "2"})).facts
    assert (second.replays, second.previous, third.previous) == (1, first.id, second.id)
    assert (by_broker.id, by_broker.previous) == (second.id, first.id)


def test_a_replay_that_does_not_say_how_often_is_the_first() -> None:
    """Its letter never passes for a copy of the earlier death, whoever reports it."""
    replay = CE | {"replayfor": "expert-bot-x"}
    ours, by_broker = died(replace(REQUEST, attributes=replay)).facts, archived(replay | BROKER).facts
    assert (ours.replays, by_broker.replays) == (1, 1)
    assert ours.id == by_broker.id != ours.previous == died().facts.id


def test_the_fingerprint_is_the_cause() -> None:
    """Reason, handler and frame group letters; event, attempts and words do not."""
    same = died(replace(REQUEST, data=b"other"), attempts=1, detail="other words")
    assert same.facts.fingerprint == died().facts.fingerprint
    different = [died(reason="other"), died(handler="other"), died(frame="other")]
    assert len({each.facts.fingerprint for each in [*different, same]}) == 4


HOSTILE_TEXT = st.text(st.characters(), max_size=30) | st.integers(900, 1100).map("x".__mul__)
NAMES = HOSTILE_TEXT | st.sampled_from(
    [*CE, *BROKER, *encode_dead_letter(REQUEST, CAUSE).attributes, "content-type"]
)


@given(
    attributes=st.dictionaries(NAMES, HOSTILE_TEXT | st.sampled_from(["1", "application/cloudevents+json"])),
    data=st.binary() | st.sampled_from([b"{}", b"[" * 5000, b'{"id":1}']),
    key=HOSTILE_TEXT,
)
def test_anything_is_read_as_a_letter(attributes: dict[str, str], data: bytes, key: str) -> None:
    """Whatever comes over the topic has an id, a reason, and its bytes; marks never reach a terminal unprintable."""
    record = archived(attributes, data, ordering_key=key)
    facts = record.facts
    assert (record.data, len(facts.id), bool(facts.reason)) == (data, 32, True)
    assert record.attributes.items() <= attributes.items()
    for text in (
        facts.reason,
        facts.error_class,
        facts.detail,
        facts.handler,
        facts.frame,
        facts.subscription,
    ):
        assert text in {"", one_ascii_line(text)}
