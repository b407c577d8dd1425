"""Consumption summed by calendar month and tariff period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from expert_bot.energy.readings import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthUsage:
    """What one local calendar month used.

    `month`: `YYYY-MM`. `energy_kwh`: exact kWh for each of P1, P2, P3 (0 where none). `hours`: hours with a reading.
    `estimated_hours`: those of them that the distributor estimated. `first_day`, `last_day` (ISO dates): first and
    last local day with a reading.
    """

    month: str
    energy_kwh: Mapping[Period, Decimal]
    hours: int
    estimated_hours: int
    first_day: str
    last_day: str

    @property
    def total_kwh(self) -> Decimal:
        """Exact sum of the three periods, kWh."""
        return sum(self.energy_kwh.values(), Decimal(0))
