"""What Firestore cannot hold is refused before it is sent; what others wrote there is still readable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.cloud.firestore_v1.types import document as wire
from google.protobuf import timestamp_pb2
from google.type import latlng_pb2

from expert_bot.storage.firestore_values import decode_fields, encode_fields

_Value: Any = wire.Value.pb()


@pytest.mark.parametrize(
    ("error", "value"),
    [
        pytest.param(ValueError, datetime(2026, 1, 1), id="naive-datetime"),  # noqa: DTZ001 - the point of the row
        pytest.param(ValueError, 2**63, id="integer-beyond-64-bits"),
        pytest.param(ValueError, [[1]], id="list-in-list"),
        pytest.param(ValueError, {"a": [[1]]}, id="list-in-list-in-map"),
        pytest.param(TypeError, object(), id="object"),
        pytest.param(TypeError, {1, 2}, id="set"),
    ],
)
def test_what_a_document_cannot_hold_is_refused(error: type[Exception], value: Any) -> None:
    """The mistake is the caller's and must not look like an outage."""
    with pytest.raises(error):
        encode_fields({"field": value})


@pytest.mark.parametrize(
    ("expected", "stored"),
    [
        pytest.param(
            datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
            _Value(timestamp_value=timestamp_pb2.Timestamp(seconds=1767225600, nanos=123456789)),
            id="nanoseconds",
        ),
        pytest.param(
            {"latitude": 40.4, "longitude": -3.7},
            _Value(geo_point_value=latlng_pb2.LatLng(latitude=40.4, longitude=-3.7)),
            id="geo-point",
        ),
        pytest.param("a/b", _Value(reference_value="a/b"), id="reference"),
        pytest.param(None, _Value(), id="nothing"),
    ],
)
def test_what_others_wrote_is_read(expected: Any, stored: Any) -> None:
    """Types that this service never writes come out as the nearest plain value."""
    assert decode_fields({"field": stored}) == {"field": expected}


def test_instants_are_stored_in_utc() -> None:
    """The zone of a datetime does not survive, its instant does."""
    madrid = datetime(2026, 7, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    [decoded] = decode_fields(encode_fields({"at": madrid})).values()
    assert isinstance(decoded, datetime)
    assert (decoded, decoded.tzinfo) == (madrid, UTC)
