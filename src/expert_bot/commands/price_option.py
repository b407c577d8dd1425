"""The option `--price`: what a kWh costs, one price or one for each period."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import typer

from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError

Price = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="EUR[,EUR,EUR]",
        help="EUR/kWh of energy, taxes in if they shall count: one price, or P1,P2,P3. Adds EUR to the result.",
    ),
]

_MOST: Final = 10


def parse_price(text: str | None) -> Mapping[Period, Decimal] | None:
    """Read EUR/kWh by period; None stays None. Raises UsageError for anything but one or three numbers 0..10."""
    if text is None:
        return None
    try:
        prices = [Decimal(part.strip()) for part in text.split(",")]
    except InvalidOperation as error:
        raise UsageError(f"--price {text[:40]!r}: write EUR/kWh such as 0.15, or 0.20,0.15,0.10") from error
    if len(prices) not in (1, len(Period)) or not all(
        price.is_finite() and 0 <= price <= _MOST for price in prices
    ):
        raise UsageError(f"--price {text[:40]!r}: one or three prices of 0..{_MOST} EUR/kWh")
    return dict(zip(Period, prices * (len(Period) // len(prices)), strict=True))
