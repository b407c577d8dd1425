"""Our Pub/Sub binding against the CloudEvents SDK's HTTP binding: the same attributes are its `ce-` headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.delivery import Message
from expert_bot.errors import MalformedEventError
from expert_bot.schemas.envelope import CORE_ATTRIBUTES, CloudEvent
from expert_bot.schemas.pubsub import decode, encode_binary, encode_structured

# HTTP headers carry other characters percent-encoded, Pub/Sub attributes as they are: compared where both are the same.
PLAIN = st.from_regex(r"[A-Za-z0-9/:._~-]{1,40}", fullmatch=True)
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in {*CORE_ATTRIBUTES, "data"}
)
DOCUMENTS = st.dictionaries(
    st.text(max_size=10), st.text(max_size=10) | st.integers(-(10**9), 10**9) | st.none(), min_size=1
)
EVENTS = st.builds(
    CloudEvent,
    id=PLAIN,
    source=PLAIN,
    type=PLAIN,
    data=DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    time=st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # the strategy adds the zone
    subject=st.none() | PLAIN,
    dataschema=st.none() | PLAIN,
    extensions=st.dictionaries(NAMES, PLAIN, max_size=4),
)  # fmt: skip
FORMAT = JSONFormat()
encoders = pytest.mark.parametrize(
    "encode", [pytest.param(encode_binary, id="binary"), pytest.param(encode_structured, id="structured")]
)
writers = pytest.mark.parametrize(
    "write", [pytest.param(http.to_binary, id="binary"), pytest.param(http.to_structured, id="structured")]
)


def context(event: CloudEvent) -> dict[str, object]:
    """Return an event's context as the SDK holds it."""
    known = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time,
        "datacontenttype": event.datacontenttype,
        "dataschema": event.dataschema,
        "subject": event.subject,
    }
    return {name: value for name, value in known.items() if value is not None} | dict(event.extensions)


def as_http(message: Message) -> http.HTTPMessage:
    """Return a Pub/Sub message as the HTTP message it would be."""
    return http.HTTPMessage(headers=dict(message.attributes), body=message.data)


@encoders
@given(event=EVENTS)
def test_the_sdk_reads_what_we_write(encode: Callable[[CloudEvent, str], Message], event: CloudEvent) -> None:
    """Context and data of an event we encode are what the SDK finds."""
    read = http.from_http(as_http(encode(event, "t")), FORMAT)
    assert context(event) == read.get_attributes()
    assert json.loads(event.data) == read.get_data()


@writers
@given(event=EVENTS)
def test_we_read_what_the_sdk_writes(
    write: Callable[[SdkEvent, JSONFormat], http.HTTPMessage], event: CloudEvent
) -> None:
    """Context and data of an event the SDK encodes are what we find."""
    message = write(SdkEvent(attributes=context(event), data=json.loads(event.data)), FORMAT)
    read = decode(message.headers, message.body)
    assert replace(event, data=b"") == replace(read, data=b"")
    assert json.loads(event.data) == json.loads(read.data)


def test_bytes_pass_both_ways() -> None:
    """Data that are not JSON are base64 in structured mode, to the SDK and from it."""
    event = CloudEvent(
        id="e-1", source="//s", type="t", data=b"\x00\xff", time=datetime(2023, 5, 2, tzinfo=UTC), datacontenttype="image/png"
    )  # fmt: skip
    read = http.from_http(as_http(encode_structured(event, "t")), FORMAT)
    assert read.get_data() == b"\x00\xff"
    written = http.to_structured(SdkEvent(attributes=context(event), data=b"\x00\xff"), FORMAT)
    assert event == decode(written.headers, written.body)


def test_we_do_not_invent_the_id_that_the_sdk_invents() -> None:
    """The SDK makes an id for an event without one; here it is refused, because a redelivery would be a new event."""
    headers = {"ce-specversion": "1.0", "ce-source": "//s", "ce-type": "t"}
    assert http.from_http(http.HTTPMessage(headers=headers, body=b"{}"), FORMAT).get_id()
    with pytest.raises(MalformedEventError, match="id is missing"):
        decode(headers, b"{}")
