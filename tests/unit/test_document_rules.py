"""What the embedded document stores refuse, so that nothing works on a laptop only."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from expert_bot.ports import Create, DocKey, Put, Where
from expert_bot.storage.document_rules import check_writes, checked_copy, condition


class Colour(StrEnum):
    """An enumeration whose members are text."""

    RED = "red"


@pytest.mark.parametrize(
    ("error", "value"),
    [
        pytest.param(ValueError, [[1]], id="list-in-list"),
        pytest.param(ValueError, {"a": -(2**63) - 1}, id="65-bit-integer"),
        pytest.param(TypeError, Decimal(1), id="decimal"),
        pytest.param(TypeError, (1, 2), id="tuple"),
        pytest.param(TypeError, [{1: "a"}], id="integer-key"),
    ],
)
def test_value_firestore_cannot_hold_is_refused(error: type[Exception], value: Any) -> None:
    """Values of no Firestore type raise at once, however deep they are."""
    with pytest.raises(error):
        checked_copy({"field": {"deep": value}})


def test_enumerated_text_is_stored_as_text() -> None:
    """A member of a text enumeration becomes plain text, as it will be when it is read back."""
    copy = checked_copy({"colour": Colour.RED})["colour"]
    assert (type(copy), copy) == (str, "red")


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param([Create(DocKey("a", "1"), {}), Put(DocKey("a", "1"), {})], id="same-document-twice"),
        pytest.param([Create(DocKey("a", "1"), {"a.b": 1})], id="dotted-name"),
        pytest.param([Create(DocKey("a", "1"), {"": 1})], id="empty-name"),
        pytest.param([Create(DocKey("a", "1"), {"1a": 1})], id="leading-digit"),
    ],
)
def test_malformed_commit_is_refused(writes: list[Any]) -> None:
    """A commit that breaks the port's rules raises ValueError before anything is written."""
    with pytest.raises(ValueError, match=r"must match|appears twice"):
        check_writes(writes)


def test_unknown_operator_is_refused() -> None:
    """A condition with an operator that the port does not name raises ValueError."""
    with pytest.raises(ValueError, match="!="):
        condition([Where("a", "!=", 1)])
