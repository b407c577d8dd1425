"""Numbers of a JSON document as they are written, so that none loses a digit or takes the space of its exponent."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from expert_bot.energy.formats.cells import RowError, shown

_FARTHEST_EXPONENT: Final = 20


class Number(str):
    """A number as the document writes it."""

    __slots__ = ()


def number_text(value: object, name: str) -> str:
    """Return a number, or a text, as plain digits. Raises RowError for anything else (null, true, an object)."""
    if not isinstance(value, str):
        written = "null" if value is None else type(value).__name__
        raise RowError(f"{name} {written} is not a number")
    if not isinstance(value, Number) or not {"e", "E"} & set(value):
        return value
    try:
        exact = Decimal(value)
    except InvalidOperation as error:  # an exponent beyond the range of decimals
        raise RowError(f"{name} {shown(value)} is not a plausible number") from error
    if abs(exact.adjusted()) > _FARTHEST_EXPONENT:
        raise RowError(f"{name} {shown(value)} is not a plausible number")
    return f"{exact:f}"
