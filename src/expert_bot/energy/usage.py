"""Consumption summed by calendar month and tariff period, and what can be said of such sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final

from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period

ENOUGH_COVERAGE: Final = Decimal("0.9")
"""Share of a month's hours that must have a reading before conclusions are drawn from its total."""

_ONE_DECIMAL: Final = Decimal("0.1")
_YEAR: Final = 12


class Direction(StrEnum):
    """Which way consumption moved."""

    UP = "up"
    DOWN = "down"
    EQUAL = "equal"


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

    @property
    def expected_hours(self) -> int:
        """Hours the whole month has."""
        return Month.parse(self.month).hours

    @property
    def missing_hours(self) -> int:
        """Hours of the whole month without a reading."""
        return max(self.expected_hours - self.hours, 0)

    @property
    def is_well_covered(self) -> bool:
        """Whether at least 90 % of the whole month's hours have a reading."""
        return self.hours >= ENOUGH_COVERAGE * self.expected_hours

    @property
    def coverage_pct(self) -> Decimal:
        """Hours with a reading in percent of the month's, one decimal, rounded down: 100 means that none is missing."""
        return _percent(min(self.hours, self.expected_hours), self.expected_hours, ROUND_DOWN)

    @property
    def estimated_pct(self) -> Decimal:
        """Estimated hours in percent of the hours with a reading, one decimal, HALF_UP."""
        return _percent(self.estimated_hours, self.hours, ROUND_HALF_UP) if self.hours else Decimal("0.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a month differs from the one before.

    `energy_kwh`: exact, signed. `pct`: of the month before, signed, one decimal HALF_UP. `is_reliable`: both months
    are at least 90 % covered; where not, the difference may come from missing hours alone.
    """

    energy_kwh: Decimal
    pct: Decimal
    direction: Direction
    is_reliable: bool


def change_between(previous: MonthUsage | None, current: MonthUsage) -> Change | None:
    """Compare a month with the one before; None when that has no data or used nothing (no percentage exists)."""
    if previous is None or previous.total_kwh == 0:
        return None
    difference = current.total_kwh - previous.total_kwh
    return Change(
        energy_kwh=difference,
        pct=_percent(difference, previous.total_kwh, ROUND_HALF_UP),
        direction=_direction(difference),
        is_reliable=previous.is_well_covered and current.is_well_covered,
    )


def last_full_months(data_until: date) -> tuple[Month, ...]:
    """Return the 12 last months that are over on `data_until` (the last day with data), oldest first."""
    last = Month.of(data_until + timedelta(days=1)).previous
    return tuple(last.plus(-back) for back in reversed(range(_YEAR)))


def has_complete_year(months: Mapping[Month, MonthUsage], data_until: date | None) -> bool:
    """Tell whether each of the 12 last full months before `data_until` is at least 90 % covered."""
    if data_until is None:
        return False
    return all(
        (usage := months.get(month)) is not None and usage.is_well_covered
        for month in last_full_months(data_until)
    )


def dominant_period(months: Mapping[Month, MonthUsage], data_until: date | None) -> Period | None:
    """Return the period with most energy over the 12 last full months; None without any. P1, P2, P3 break ties."""
    if data_until is None:
        return None
    energy_kwh = _sum_periods(months[month] for month in last_full_months(data_until) if month in months)
    most = max(Period, key=lambda period: energy_kwh[period])
    return most if energy_kwh[most] > 0 else None


def _sum_periods(usages: Iterable[MonthUsage]) -> dict[Period, Decimal]:
    totals = dict.fromkeys(Period, Decimal(0))
    for usage in usages:
        for period, energy_kwh in usage.energy_kwh.items():
            totals[period] += energy_kwh
    return totals


def _direction(difference: Decimal) -> Direction:
    if difference == 0:
        return Direction.EQUAL
    return Direction.UP if difference > 0 else Direction.DOWN


def _percent(part: Decimal | int, whole: Decimal | int, rounding: str) -> Decimal:
    exact = Decimal(part) * 100 / Decimal(whole)
    return exact.quantize(_ONE_DECIMAL, rounding) + 0  # + 0: -0.04 rounds to 0.0, not to -0.0
