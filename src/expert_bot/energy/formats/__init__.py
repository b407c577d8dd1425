"""Consumption files: each layout a module, found by its content."""

from __future__ import annotations

from collections.abc import Iterable

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.household_csv import ParsedCurve, parse_household_csv


def parse_curve(source: Iterable[bytes], *, zone: TariffZone = TariffZone.PENINSULA) -> ParsedCurve:  # noqa: ARG001
    """Read a file in any known layout."""
    return parse_household_csv(source)
