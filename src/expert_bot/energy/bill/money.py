"""The cents of a bill: each printed line is rounded, then lines are added."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

_CENT: Final = Decimal("0.01")
ZERO: Final = Decimal("0.00")


def cents(eur: Decimal) -> Decimal:
    """Round to the cent, half a cent away from zero, as invoices do; never minus zero."""
    return eur.quantize(_CENT, ROUND_HALF_UP) + ZERO


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add amounts of whole cents."""
    return sum(amounts, ZERO)
