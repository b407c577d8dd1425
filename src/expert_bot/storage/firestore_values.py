"""Document fields to and from Firestore's protobuf values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.cloud.firestore_v1.types import document as wire
from google.protobuf import struct_pb2, timestamp_pb2

from expert_bot.ports import Fields, Value

_Value: Final[Any] = wire.Value.pb()
_ArrayValue: Final[Any] = wire.ArrayValue.pb()
_MapValue: Final[Any] = wire.MapValue.pb()


def encode_fields(fields: Mapping[str, Value]) -> dict[str, Any]:
    """Return the protobuf value of each field.

    Raises ValueError (naive datetime, integer beyond 64 bits, a list directly inside a list) or TypeError (a type no
    document may hold).
    """
    return {name: encode_value(value) for name, value in fields.items()}


def decode_fields(fields: Any) -> Fields:  # noqa: ANN401 - untyped protobuf map
    """Return the fields as plain Python values.

    Datetimes lose their nanoseconds; geo points become maps and references their paths (only others write those).
    """
    return {name: _decode(value) for name, value in fields.items()}


def encode_value(value: Value) -> Any:  # noqa: ANN401, PLR0911 - untyped generated class; one return per type
    """Return one value as protobuf; raises as `encode_fields`."""
    match value:
        case None:
            return _Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return _Value(boolean_value=value)
        case int():
            return _Value(integer_value=value)
        case float():
            return _Value(double_value=value)
        case str():
            return _Value(string_value=value)
        case bytes():
            return _Value(bytes_value=value)
        case datetime():
            return _Value(timestamp_value=_timestamp(value))
        case list():
            return _Value(array_value=_array(value))
        case dict():
            return _Value(map_value=_MapValue(fields=encode_fields(value)))
        case _:
            raise TypeError(f"a document cannot hold {type(value).__name__}; see ports.Value")


def _array(items: list[Value]) -> Any:  # noqa: ANN401 - untyped generated class
    if any(isinstance(item, list) for item in items):
        raise ValueError("a document cannot hold a list directly inside a list")
    return _ArrayValue(values=[encode_value(item) for item in items])


def _timestamp(instant: datetime) -> timestamp_pb2.Timestamp:
    if instant.tzinfo is None:
        raise ValueError(f"datetime {instant.isoformat()} has no time zone")
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def _decode(value: Any) -> Value:  # noqa: ANN401 - untyped generated class
    kind = value.WhichOneof("value_type")
    plain: Value
    match kind:
        case "null_value" | None:
            plain = None
        case "timestamp_value":
            plain = value.timestamp_value.ToDatetime(tzinfo=UTC)
        case "array_value":
            plain = [_decode(item) for item in value.array_value.values]
        case "map_value":
            plain = decode_fields(value.map_value.fields)
        case "geo_point_value":
            point = value.geo_point_value
            plain = {"latitude": point.latitude, "longitude": point.longitude}
        case _:
            plain = getattr(value, kind)
    return plain
