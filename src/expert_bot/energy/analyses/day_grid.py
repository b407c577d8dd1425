"""A curve as days of 24 clock hours: what statistics of daily life are computed on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_kinds import kinds_of
from expert_bot.energy.analyses.ratios import ratios
from expert_bot.energy.calendar import TariffZone, time_zone_of
from expert_bot.energy.curve import (
    Bools,
    Curve,
    Floats,
    Ints,
    day_number,
    day_of,
    expected_hours,
    hour_number,
)

HOURS: Final = 24
ENOUGH_HOURS: Final = 18
"""Hours a day must have for its total to count; the missing ones are taken as its mean hour."""

_LAST_HOUR: Final = 23


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayGrid:
    """Consecutive local days from the first with a reading on.

    `first`: day number (days since 1970-01-01) of row 0. `energy_kwh`: (days, 24) by local hour, NaN where no reading
    is (also the hour the clock skips); the hour it repeats holds the mean of both. `estimated`: (days, 24).
    `total_kwh`: (days,), NaN for a day with fewer than 18 hours. `kinds`: (days,), `DayKind`.
    """

    first: int
    energy_kwh: Floats
    estimated: Bools
    total_kwh: Floats
    kinds: Ints

    @classmethod
    def of(cls, curve: Curve, until: date | None = None) -> DayGrid:
        """Lay out a curve, with empty days up to `until` (exclusive) if it ends before.

        Raises ValueError without readings.
        """
        if not len(curve):
            raise ValueError("the curve has no readings")
        first = int(curve.local_days[0])
        end = int(curve.local_days[-1]) + 1
        days = max(end, end if until is None else day_number(until)) - first
        cells = (curve.local_days - first) * HOURS + curve.local_hours
        size = days * HOURS
        sums, counts, guesses = (
            np.bincount(cells, weights=weights, minlength=size).astype(np.float64)
            for weights in (curve.energy_kwh, None, curve.estimated)
        )
        energy_kwh = ratios(sums, counts, where=counts > 0, otherwise=np.nan)
        grid = energy_kwh.reshape(days, HOURS)
        return cls(
            first=first,
            energy_kwh=grid,
            estimated=(guesses > 0).reshape(days, HOURS),
            total_kwh=_totals(grid),
            kinds=kinds_of(np.arange(first, first + days)),
        )

    def __len__(self) -> int:
        return len(self.energy_kwh)

    def row_of(self, day: date) -> int:
        """Return the row of a day, which may lie outside the grid."""
        return day_number(day) - self.first

    def day(self, row: int) -> date:
        """Return the day of a row, which may lie outside the grid."""
        return day_of(self.first + row)

    def kinds_until(self, rows: int) -> Ints:
        """Return the kinds of rows 0 .. `rows` - 1, days after the data included."""
        more = np.arange(self.first + len(self), self.first + rows)
        return np.concatenate([self.kinds[:rows], kinds_of(more)])


def first_open_day(curve: Curve) -> date:
    """Return the first local day that the readings do not reach the end of. Raises ValueError without readings."""
    if not len(curve):
        raise ValueError("the curve has no readings")
    ended = int(curve.local_hours[-1]) == _LAST_HOUR
    return day_of(int(curve.local_days[-1]) + ended)


def empty_hours(first: date, until: date, zone: TariffZone) -> Curve:
    """Return every hour of the local days from `first` to `until` (exclusive), labelled, with no energy."""
    midnight = datetime(first.year, first.month, first.day, tzinfo=time_zone_of(zone)).astimezone(UTC)
    count = expected_hours(first, until, zone)
    hours = np.arange(count, dtype=np.int64) + hour_number(midnight)
    return Curve.of(hours, np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_), zone=zone)


def _totals(energy_kwh: Floats) -> Floats:
    known = ~np.isnan(energy_kwh)
    hours = known.sum(axis=1)
    sums = np.where(known, energy_kwh, 0.0).sum(axis=1)
    # a day of 23 hours has a hole at 2: it is scaled to 24 like any other day with a hole
    return ratios(sums * HOURS, hours, where=hours >= ENOUGH_HOURS, otherwise=np.nan)
