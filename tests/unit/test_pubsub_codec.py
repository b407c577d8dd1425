"""CloudEvents on Pub/Sub: both modes, both directions, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json
from expert_bot.schemas.envelope import CORE_ATTRIBUTES, CloudEvent, is_json_media_type
from expert_bot.schemas.pubsub import decode, encode_binary, encode_structured

REQUIRED = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "//energy-ia",
    "type": "com.smarwatt.chat.requested.v1",
}
STRUCTURED = {"content-type": "application/cloudevents+json"}
EVENT = CloudEvent(
    id="e-1",
    source="//energy-ia",
    type="com.smarwatt.chat.requested.v1",
    time=datetime(2023, 5, 2, 9, 30, tzinfo=UTC),
    data='{"message":"¿Cuánto?"}'.encode(),
    subject="user/ana",
    dataschema="urn:smarwatt:schema:1",
    extensions={"partitionkey": "conv-1", "correlationid": "root", "replay": "true"},
)
TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="".join(map(chr, (*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF)))),
    min_size=1,
    max_size=60,
)  # fmt: skip
EXTENSION_NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in {*CORE_ATTRIBUTES, "data"}
)
EVENTS = st.builds(
    CloudEvent,
    id=TEXT,
    source=TEXT,
    type=TEXT,
    data=st.binary(max_size=200),
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    datacontenttype=st.sampled_from(
        ["application/json", "text/plain; charset=utf-8", "application/octet-stream"]
    ),
    dataschema=st.none() | TEXT,
    subject=st.none() | TEXT,
    extensions=st.dictionaries(EXTENSION_NAMES, TEXT, max_size=6),
)
JSON_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


def binary(changes: Mapping[str, str | None] = {}, content_type: str | None = None) -> dict[str, str]:
    """Return the Pub/Sub attributes of a binary event; None takes one away."""
    attributes = {f"ce-{name}": value for name, value in {**REQUIRED, **changes}.items() if value is not None}
    return attributes | ({"content-type": content_type} if content_type else {})


def structured(changes: Mapping[str, object], *, without: str = "") -> bytes:
    """Return a structured event's bytes."""
    return json.dumps(
        {name: value for name, value in {**REQUIRED, **changes}.items() if name != without}
    ).encode()


def test_binary_mode_is_the_bindings_own_form() -> None:
    """Context goes to `ce-*` attributes, the media type to `content-type`, data stay as they are, the key is the partition key."""
    message = encode_binary(EVENT, "chat-requests")
    assert message.attributes == {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "//energy-ia",
        "ce-type": "com.smarwatt.chat.requested.v1",
        "ce-time": "2023-05-02T09:30:00Z",
        "content-type": "application/json",
        "ce-dataschema": "urn:smarwatt:schema:1",
        "ce-subject": "user/ana",
        "ce-partitionkey": "conv-1",
        "ce-correlationid": "root",
        "ce-replay": "true",
    }
    assert ("chat-requests", EVENT.data, "conv-1") == (message.topic, message.data, message.ordering_key)


def test_structured_mode_is_one_json_document() -> None:
    """The whole event is JSON with JSON data inside, and `content-type` is the only attribute."""
    message = encode_structured(EVENT, "chat-requests")
    assert message.attributes == {"content-type": "application/cloudevents+json; charset=utf-8"}
    document = json.loads(message.data)
    assert document.pop("data") == {"message": "¿Cuánto?"}
    assert (
        document["id"],
        document["partitionkey"],
        document["datacontenttype"],
    ) == ("e-1", "conv-1", "application/json")
    assert message.ordering_key == "conv-1"


@given(event=EVENTS)
def test_any_event_survives_binary_mode(event: CloudEvent) -> None:
    """Decoding undoes encoding, for every event."""
    message = encode_binary(event, "t")
    assert event == decode(message.attributes, message.data)


@given(event=EVENTS)
def test_any_event_without_json_survives_structured_mode(event: CloudEvent) -> None:
    """Data that are not JSON travel as base64 and come back byte by byte."""
    opaque = replace(event, datacontenttype="application/octet-stream")
    message = encode_structured(opaque, "t")
    assert opaque == decode(message.attributes, message.data)


@given(event=EVENTS, value=JSON_DATA)
def test_json_data_survive_structured_mode_as_json(event: CloudEvent, value: strict_json.JsonValue) -> None:
    """JSON data come back equal as JSON, with every context attribute."""
    sent = replace(event, data=strict_json.dumps(value), datacontenttype="application/json")
    message = encode_structured(sent, "t")
    received = decode(message.attributes, message.data)
    assert replace(sent, data=b"") == replace(received, data=b"")
    assert value == strict_json.loads(received.data)


def test_data_may_be_as_deep_in_structured_mode_as_in_binary_mode() -> None:
    """The envelope does not count as a level of the data."""
    deepest = b"[" * strict_json.MAX_DEPTH + b"]" * strict_json.MAX_DEPTH
    message = encode_structured(replace(EVENT, data=deepest), "t")
    assert deepest == decode(message.attributes, message.data).data


def test_data_that_are_not_the_json_they_claim_are_not_embedded() -> None:
    """Structured mode cannot be used to pass broken JSON on."""
    with pytest.raises(MalformedEventError, match="invalid-json"):
        encode_structured(replace(EVENT, data=b"{"), "t")


@pytest.mark.parametrize(
    ("data", "members"),
    [
        pytest.param(b"", {}, id="no data"),
        pytest.param(b"null", {"data": None}, id="null data"),
        pytest.param(b"false", {"data": False}, id="false data"),
        pytest.param(b'"text"', {"data": "text"}, id="a string is JSON"),
        pytest.param(b'{"a":1}', {"data": {"a": 1}, "datacontenttype": "application/vnd.x+json"}, id="+json"),
        pytest.param(b"text", {"data": "text", "datacontenttype": "text/plain"}, id="text as it is"),
        pytest.param(
            b'{"a":1}', {"data": {"a": 1}, "datacontenttype": "text/plain"}, id="object called text"
        ),
        pytest.param(b"\x00\xff", {"data_base64": "AP8="}, id="base64"),
        pytest.param(b"", {"data_base64": None}, id="null base64"),
        pytest.param(b"", {"data_base64": ""}, id="empty base64"),
    ],
)
def test_structured_data_become_bytes(data: bytes, members: dict[str, object]) -> None:
    """`data` is JSON unless its media type says text; `data_base64` is bytes; neither is no data."""
    assert data == decode(STRUCTURED, structured(members)).data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("true", True, id="true"),
        pytest.param("false", False, id="false"),
        pytest.param("0", 0, id="zero"),
        pytest.param("-2147483648", -(2**31), id="smallest"),
        pytest.param("2147483647", 2**31 - 1, id="largest"),
        pytest.param("1.5", "1.5", id="a number as text"),
    ],
)
def test_extensions_become_their_canonical_text(text: str, value: object) -> None:
    """CloudEvents' Boolean and Integer have one text form, so that both modes give the same event."""
    assert text == decode(STRUCTURED, structured({"sampled": value})).extensions["sampled"]


def test_a_null_attribute_is_an_absent_one() -> None:
    """JSON null means that the attribute is not there."""
    event = decode(STRUCTURED, structured({"subject": None, "sampled": None, "time": None}))
    assert (event.subject, event.time, event.extensions) == (None, None, {})


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("application/cloudevents+json", id="plain"),
        pytest.param("Application/CloudEvents+JSON", id="upper case"),
        pytest.param("application/cloudevents+json; charset=utf-8", id="parameter"),
        pytest.param("application/cloudevents+json ;charset=UTF-8", id="parameter after a space"),
    ],
)
def test_structured_mode_shows_by_its_media_type(content_type: str) -> None:
    """Case and parameters of the media type do not matter."""
    assert decode({"content-type": content_type}, structured({})).id == "e-1"


@pytest.mark.parametrize(
    ("media_type", "attributes"),
    [
        pytest.param("application/json", binary(), id="none: JSON"),
        pytest.param("text/plain", binary(content_type="text/plain"), id="content-type"),
        pytest.param("text/plain", binary({"datacontenttype": "text/plain"}), id="ce-datacontenttype"),
        pytest.param(
            "text/csv", binary({"datacontenttype": "text/plain"}, "text/csv"), id="content-type wins"
        ),
    ],
)
def test_binary_data_have_the_media_type_of_content_type(media_type: str, attributes: dict[str, str]) -> None:
    """`content-type` says what the data are; `ce-datacontenttype` where that is missing; otherwise JSON."""
    assert media_type == decode(attributes, b"").datacontenttype


def test_other_attributes_are_not_the_events() -> None:
    """Attributes of the bus or of dead letters do not become extensions."""
    event = decode(binary() | {"dl-reason": "expired", "replayfor": "x", "traceparent": "y"}, b"")
    assert event.extensions == {}


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        pytest.param(datetime(2023, 5, 2, 9, 30, tzinfo=UTC), "2023-05-02T09:30:00Z", id="UTC"),
        pytest.param(datetime(2023, 5, 2, 9, 30, tzinfo=UTC), "2023-05-02t09:30:00z", id="lower case"),
        pytest.param(
            datetime(2023, 5, 2, 9, 30, tzinfo=timezone(timedelta(hours=2))),
            "2023-05-02T09:30:00+02:00",
            id="offset",
        ),
        pytest.param(
            datetime(2023, 5, 2, 9, 30, 0, 123456, tzinfo=UTC),
            "2023-05-02T09:30:00.123456789Z",
            id="nanoseconds cut",
        ),
        pytest.param(
            datetime(2023, 5, 2, 9, 30, 0, 500000, tzinfo=UTC), "2023-05-02T09:30:00.5Z", id="tenths"
        ),
    ],
)
def test_time_is_read_as_rfc_3339(instant: datetime, text: str) -> None:
    """Every RFC 3339 form of an instant is that instant."""
    assert instant == decode(binary({"time": text}), b"").time


@pytest.mark.parametrize(
    ("is_json", "media_type"),
    [
        pytest.param(True, "application/json", id="json"),
        pytest.param(True, "Application/JSON; charset=utf-8", id="case and parameter"),
        pytest.param(True, "application/problem+json", id="suffix"),
        pytest.param(False, "application/jsonlines", id="longer word"),
        pytest.param(False, "text/plain; x=+json", id="suffix in a parameter"),
    ],
)
def test_json_is_told_by_the_media_type_alone(is_json: bool, media_type: str) -> None:  # noqa: FBT001  # a table's expected value
    """Only the media type itself counts, not its parameters."""
    assert is_json == is_json_media_type(media_type)


def test_base64_is_what_the_standard_says() -> None:
    """What the standard encoder writes is read."""
    encoded = base64.b64encode(bytes(range(256))).decode()
    assert bytes(range(256)) == decode(STRUCTURED, structured({"data_base64": encoded})).data
