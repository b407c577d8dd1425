"""Push requests become deliveries: wrapped in either spelling, unwrapped in either mode, or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from expert_bot.delivery import Delivery
from expert_bot.errors import MalformedEventError
from expert_bot.http.push import BadPushError, decode_push
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.pubsub import decode, encode_binary, encode_structured

SUBSCRIPTION = "expert-bot-chat-requests"
JSON = {"Content-Type": "application/json"}
PUBLISHED_AT = datetime(2023, 5, 2, 9, 30, 0, 123000, tzinfo=UTC)
EVENT = CloudEvent(
    id="e-1",
    source="//energy-ia",
    type="com.smarwatt.chat.requested.v1",
    time=datetime(2023, 5, 2, 9, 30, tzinfo=UTC),
    data=b'{"message":"hola"}',
    subject="user/ana",
    extensions={"partitionkey": "conv-1", "traceparent": "00-1-2-01"},
)
BINARY = encode_binary(EVENT, "chat-requests")
STRUCTURED = encode_structured(EVENT, "chat-requests")


def push(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Decode a push request."""
    return decode_push(SUBSCRIPTION, headers, body, 1e9)


def wrapped(message: object, **members: object) -> bytes:
    """Return a wrapped push request's body."""
    return json.dumps(
        {"message": message, "subscription": f"projects/p/subscriptions/{SUBSCRIPTION}", **members}
    ).encode()


def encoded(data: bytes) -> str:
    """Return data as a wrapper carries them."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("messageId", "publishTime", "orderingKey"), id="camel case"),
        pytest.param(("message_id", "publish_time", "ordering_key"), id="snake case"),
    ],
)
def test_a_wrapped_push_is_a_delivery(names: tuple[str, str, str]) -> None:
    """Pub/Sub writes the metadata in either spelling; the attempt stands outside the message."""
    metadata = dict(zip(names, ("77", "2023-05-02T09:30:00.123Z", "conv-1"), strict=True))
    message = {"data": encoded(b"\x00\xff"), "attributes": {"ce-id": "e-1"}, **metadata}
    assert push(JSON, wrapped(message, deliveryAttempt=3)) == Delivery(
        subscription=SUBSCRIPTION,
        data=b"\x00\xff",
        attributes={"ce-id": "e-1"},
        message_id="77",
        ordering_key="conv-1",
        published_at=PUBLISHED_AT,
        attempt=3,
        deadline_s=1e9,
    )


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({}, id="empty"),
        pytest.param({"data": ""}, id="empty data"),
        pytest.param({"attributes": None}, id="null attributes"),
        pytest.param({"attributes": {}, "messageId": 7, "unknown": [1]}, id="members of other types"),
    ],
)
def test_what_a_wrapped_push_leaves_out_is_empty(message: dict[str, object]) -> None:
    """Every member of the message may be missing."""
    assert push(JSON, wrapped(message)) == Delivery(
        subscription=SUBSCRIPTION, data=b"", attributes={}, deadline_s=1e9
    )


def test_an_unwrapped_push_is_a_delivery() -> None:
    """Attributes are headers, metadata are `x-goog-pubsub-*` headers, the client's own headers are no attributes."""
    headers = {
        "Content-Type": "application/json",
        "Ce-Id": "e-1",
        "CE-SOURCE": "//s",
        "replayfor": "x",
        "dl-replays": "1",
        "User-Agent": "APIs-Google",
        "X-Goog-Pubsub-Message-Id": "77",
        "x-goog-pubsub-publish-time": "2023-05-02T09:30:00.123Z",
        "x-goog-pubsub-ordering-key": "conv-1",
        "x-goog-pubsub-subscription-name": "projects/p/subscriptions/s",
    }
    assert push(headers, b"{}") == Delivery(
        subscription=SUBSCRIPTION,
        data=b"{}",
        attributes={
            "content-type": "application/json",
            "ce-id": "e-1",
            "ce-source": "//s",
            "replayfor": "x",
            "dl-replays": "1",
        },
        message_id="77",
        ordering_key="conv-1",
        published_at=PUBLISHED_AT,
        deadline_s=1e9,
    )


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(JSON, wrapped({"attributes": dict(BINARY.attributes), "data": encoded(BINARY.data)}), id="wrapped binary"),
        pytest.param(JSON, wrapped({"attributes": dict(STRUCTURED.attributes), "data": encoded(STRUCTURED.data)}), id="wrapped structured"),
        pytest.param(BINARY.attributes, BINARY.data, id="unwrapped binary"),
        pytest.param(BINARY.attributes | {"x-goog-pubsub-message-id": "1"}, BINARY.data, id="unwrapped binary with metadata"),
        pytest.param(BINARY.attributes | {"content-type": "application/octet-stream"}, BINARY.data, id="unwrapped binary without media type"),
        pytest.param(STRUCTURED.attributes, STRUCTURED.data, id="unwrapped structured"),
        pytest.param(STRUCTURED.attributes | {"x-goog-pubsub-message-id": "1"}, STRUCTURED.data, id="unwrapped structured with metadata"),
        pytest.param(JSON, STRUCTURED.data, id="structured without its media type"),
    ],
)  # fmt: skip
def test_every_form_of_a_push_is_the_event_that_pull_gives(headers: Mapping[str, str], body: bytes) -> None:
    """One event, whatever way it came."""
    pulled = Delivery(subscription=SUBSCRIPTION, data=BINARY.data, attributes=BINARY.attributes)
    delivery = push(headers, body)
    assert decode(pulled.attributes, pulled.data) == decode(delivery.attributes, delivery.data) == EVENT


@pytest.mark.parametrize(
    ("said", "body"),
    [
        pytest.param("body is empty", b"", id="empty"),
        pytest.param("`message` must", wrapped(None), id="null message"),
        pytest.param("`message` must", wrapped("text"), id="message is a string"),
        pytest.param("`message` must", wrapped([]), id="message is a list"),
        pytest.param("not valid base64", wrapped({"data": "AP8"}), id="broken base64"),
        pytest.param("not valid base64", wrapped({"data": "ñ"}), id="base64 that is not ASCII"),
        pytest.param("must be a base64 string", wrapped({"data": 1}), id="data is a number"),
        pytest.param("must be a base64 string", wrapped({"data": {"a": 1}}), id="data is an object"),
        pytest.param("object of strings", wrapped({"attributes": {"a": 1}}), id="attribute is a number"),
        pytest.param("object of strings", wrapped({"attributes": {"a": None}}), id="attribute is null"),
        pytest.param("object of strings", wrapped({"attributes": ["a"]}), id="attributes are a list"),
        pytest.param("RFC 3339", wrapped({"publishTime": "yesterday"}), id="publish time"),
    ],
)
def test_a_broken_wrapper_is_refused(said: str, body: bytes) -> None:
    """What no Pub/Sub sends is not a delivery; the error says what one looks like."""
    with pytest.raises(BadPushError, match=said):
        push(JSON, body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"hello", id="text"),
        pytest.param(b"\xff\xfe", id="bytes"),
        pytest.param(b'{"a": 1}', id="another JSON object"),
        pytest.param(b'["message"]', id="a list"),
        pytest.param(b'{"message": {}, "message": {}}', id="two messages in one wrapper"),
        pytest.param(b'{"message":' + b"[" * 1000 + b"]" * 1000 + b"}", id="deep nesting"),
        pytest.param(b'{"specversion": "1.0"}', id="half a structured event"),
    ],
)
def test_anything_else_is_delivered_as_it_is(body: bytes) -> None:
    """Somebody published it, so it ends as a dead letter that keeps its bytes, not as an endless retry."""
    delivery = push(JSON, body)
    assert body == delivery.data
    with pytest.raises(MalformedEventError):
        decode(delivery.attributes, delivery.data)
