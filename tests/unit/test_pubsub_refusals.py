"""What is not a CloudEvent is refused with a reason that names the attribute, and nothing is made up for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.errors import MalformedEventError
from expert_bot.schemas.pubsub import decode

REQUIRED = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "//energy-ia",
    "type": "com.smarwatt.chat.requested.v1",
}
MEDIA_TYPE = "application/cloudevents+json"


def binary(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the Pub/Sub attributes of a binary event; None takes one away."""
    return {f"ce-{name}": value for name, value in {**REQUIRED, **changes}.items() if value is not None}


def structured(changes: Mapping[str, object]) -> bytes:
    """Return a structured event's bytes."""
    return json.dumps({**REQUIRED, **changes}).encode()


def without(name: str) -> bytes:
    """Return a structured event's bytes with one attribute taken away."""
    return json.dumps({each: value for each, value in REQUIRED.items() if each != name}).encode()


def refusal(attributes: Mapping[str, str], data: bytes) -> MalformedEventError:
    """Decode what must be refused, and return the error."""
    with pytest.raises(MalformedEventError) as refused:
        decode(attributes, data)
    return refused.value


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        pytest.param("attribute id is missing", {"id": None}, id="no id"),
        pytest.param("attribute source is missing", {"source": None}, id="no source"),
        pytest.param("attribute type is missing", {"type": None}, id="no type"),
        pytest.param("attribute specversion is missing", {"specversion": None}, id="no specversion"),
        pytest.param("attribute id must be", {"id": ""}, id="empty id"),
        pytest.param("attribute source must be", {"source": ""}, id="empty source"),
        pytest.param("attribute subject must be", {"subject": ""}, id="empty optional"),
        pytest.param("specversion must be 1.0, not '0.3'", {"specversion": "0.3"}, id="specversion 0.3"),
        pytest.param("specversion must be 1.0, not '1'", {"specversion": "1"}, id="specversion 1"),
        pytest.param("attribute time must be", {"time": "2023-05-02 09:30:00Z"}, id="time with a space"),
        pytest.param("attribute time must be", {"time": "2023-05-02T09:30:00"}, id="time without a zone"),
        pytest.param("attribute time must be", {"time": "2023-02-30T09:30:00Z"}, id="30 February"),
        pytest.param("attribute time must be", {"time": "2023-05-02T25:30:00Z"}, id="hour 25"),
        pytest.param("attribute time must be", {"time": "2023-05-02T09:30:00+25:00"}, id="zone of 25 hours"),
        pytest.param("attribute time must be", {"time": "1683019800"}, id="seconds since 1970"),
        pytest.param("attribute time must be", {"time": "٢٠٢٣-05-02T09:30:00Z"}, id="Arabic digits"),
        pytest.param("attribute name 'Trace'", {"Trace": "x"}, id="upper-case name"),
        pytest.param("attribute name 'trace-parent'", {"trace-parent": "x"}, id="name with a hyphen"),
        pytest.param("attribute name 'data_base64'", {"data_base64": "AP8="}, id="name with an underscore"),
        pytest.param("attribute name '\\xf1'", {"ñ": "x"}, id="name that is not ASCII"),
        pytest.param("attribute name ''", {"": "x"}, id="empty name"),
        pytest.param("attribute name 'aaaa", {"a" * 101: "x"}, id="101-character name"),
        pytest.param("attribute name data is reserved", {"data": "x"}, id="reserved name"),
        pytest.param("attribute id must be 1..1024", {"id": "a" * 1025}, id="1,025 bytes"),
        pytest.param("attribute subject must be 1..1024", {"subject": "ñ" * 513}, id="1,026 bytes of 513 characters"),
        pytest.param("attribute id must be", {"id": "a\nb"}, id="line end"),
        pytest.param("attribute id must be", {"id": "a\x00"}, id="NUL"),
        pytest.param("attribute id must be", {"id": "a\x7f"}, id="DEL"),
        pytest.param("attribute id must be", {"id": "a\x85"}, id="C1 control character"),
        pytest.param("attribute id must be", {"id": "a\udcff"}, id="lone surrogate"),
        pytest.param("attribute id must be", {"id": "a\uffff"}, id="noncharacter"),
    ],
)  # fmt: skip
def test_a_malformed_binary_event_is_refused_by_name(named: str, changes: dict[str, str | None]) -> None:
    """Binary mode: the reason is always `not-a-cloudevent`, and the detail names what is wrong."""
    error = refusal(binary(changes), b"{}")
    assert error.reason == "not-a-cloudevent"
    assert named in error.detail


@pytest.mark.parametrize(
    ("reason", "named", "data"),
    [
        pytest.param("not-a-cloudevent", "attribute id is missing", without("id"), id="no id"),
        pytest.param("not-a-cloudevent", "attribute source is missing", without("source"), id="no source"),
        pytest.param("not-a-cloudevent", "attribute type is missing", without("type"), id="no type"),
        pytest.param("not-a-cloudevent", "specversion is missing", without("specversion"), id="no specversion"),
        pytest.param("not-a-cloudevent", "attribute id is missing", structured({"id": None}), id="null id"),
        pytest.param("not-a-cloudevent", "attribute id must be a string", structured({"id": 1}), id="integer id"),
        pytest.param("not-a-cloudevent", "attribute id must be a string", structured({"id": True}), id="boolean id"),
        pytest.param("not-a-cloudevent", "attribute type must be a string", structured({"type": 1}), id="integer type"),
        pytest.param("not-a-cloudevent", "attribute specversion must", structured({"specversion": 1.0}), id="number"),
        pytest.param("not-a-cloudevent", "attribute time must be", structured({"time": 1683019800}), id="integer time"),
        pytest.param("not-a-cloudevent", "attribute 'x' must be", structured({"x": 1.5}), id="float"),
        pytest.param("not-a-cloudevent", "attribute 'x' must be", structured({"x": 2**31}), id="33-bit integer"),
        pytest.param("not-a-cloudevent", "attribute 'x' must be", structured({"x": -(2**31) - 1}), id="negative"),
        pytest.param("not-a-cloudevent", "attribute 'x' must be", structured({"x": {"a": 1}}), id="object"),
        pytest.param("not-a-cloudevent", "attribute 'x' must be", structured({"x": ["a"]}), id="array"),
        pytest.param("not-a-cloudevent", "attribute x must be", structured({"x": "a\nb"}), id="line end"),
        pytest.param("not-a-cloudevent", "attribute name 'ID'", structured({"ID": "x"}), id="upper-case name"),
        pytest.param("not-a-cloudevent", "not both", structured({"data": 1, "data_base64": "AA=="}), id="two data"),
        pytest.param("not-a-cloudevent", "not both", structured({"data_base64": 1}), id="base64 not a string"),
        pytest.param("not-a-cloudevent", "JSON object", b"[]", id="array of no events"),
        pytest.param("not-a-cloudevent", "JSON object", b'"e-1"', id="string"),
        pytest.param("invalid-json", "line 1", b"", id="empty"),
        pytest.param("invalid-json", "line 1", structured({})[:-1], id="truncated"),
        pytest.param("invalid-json", "twice", structured({})[:-1] + b', "id": "e-2"}', id="two ids"),
        pytest.param("invalid-encoding", "UTF-8", structured({})[:-1] + b', "x": "\xf1"}', id="Latin-1"),
        pytest.param("nesting-too-deep", "levels", structured({})[:-1] + b', "data": ' + b"[" * 100_000, id="deep"),
    ],
)  # fmt: skip
def test_a_malformed_structured_event_is_refused_by_name(reason: str, named: str, data: bytes) -> None:
    """Structured mode: the reason tells broken JSON from a broken event, and the detail names what is wrong."""
    error = refusal({"content-type": MEDIA_TYPE}, data)
    assert reason == error.reason
    assert named in error.detail


@pytest.mark.parametrize("encoded", ["AP8", "AP8=\n", "AP-_", "ñ", "AP8=AP8="])
def test_base64_that_is_not_is_refused(encoded: str) -> None:
    """Base64 is read strictly: nothing is skipped or padded."""
    error = refusal({"content-type": MEDIA_TYPE}, structured({"data_base64": encoded}))
    assert (error.reason, error.detail) == ("not-a-cloudevent", "data_base64 is not valid base64")


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("application/cloudevents-batch+json", id="batch"),
        pytest.param("application/cloudevents+avro", id="Avro"),
        pytest.param("application/cloudevents+protobuf", id="Protobuf"),
        pytest.param("application/cloudevents", id="no format"),
        pytest.param("APPLICATION/CLOUDEVENTS+XML; charset=utf-8", id="XML in upper case"),
    ],
)
def test_other_formats_are_refused(content_type: str) -> None:
    """A format we do not read is not taken for binary mode, not even with good attributes; the detail says what to use."""
    error = refusal(binary({}) | {"content-type": content_type}, structured({}))
    assert error.reason == "not-a-cloudevent"
    assert "use application/cloudevents+json" in error.detail


@pytest.mark.parametrize(
    ("attributes", "data"),
    [
        pytest.param({}, b"", id="nothing"),
        pytest.param({}, structured({}), id="structured without its content type"),
        pytest.param({"content-type": "application/json"}, structured({}), id="structured as JSON"),
        pytest.param({"id": "e-1", "source": "s", "type": "t", "specversion": "1.0"}, b"", id="no prefix"),
        pytest.param({"CE-ID": "e-1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"}, b"", id="CE-ID"),
        pytest.param({"ce_id": "e-1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"}, b"", id="ce_id"),
    ],
)  # fmt: skip
def test_an_id_is_never_made_up(attributes: dict[str, str], data: bytes) -> None:
    """Without its own id an event is refused: an invented one would make every redelivery a new event."""
    assert refusal(attributes, data).reason == "not-a-cloudevent"


@given(
    attributes=st.dictionaries(
        st.text(max_size=5) | st.sampled_from([f"ce-{name}" for name in REQUIRED]), st.text()
    ),
    content_type=st.sampled_from(["application/json", MEDIA_TYPE, "application/cloudevents-batch+json"]),
    data=st.binary(max_size=100),
)
def test_any_message_is_decoded_or_refused(
    attributes: dict[str, str], content_type: str, data: bytes
) -> None:
    """No message fails in another way than MalformedEventError."""
    try:
        event = decode(attributes | {"content-type": content_type}, data)
    except MalformedEventError:
        return
    assert event.id in attributes.values()
