"""How complete a curve is: coverage, estimated hours, gaps, runs of zeros."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.calendar import time_zone_of
from expert_bot.energy.curve import Bools, Curve, Ints, expected_hours, hour_number, instant_of_hour
from expert_bot.schemas.fact import DataQuality

ENOUGH_COVERAGE_PCT: Final = Decimal(90)
"""Below this, conclusions carry a warning."""
ZERO_RUN_HOURS: Final = 24
"""So many hours without any energy in a row are worth a look: a power cut, or a meter that did not answer."""

_ONE_DECIMAL: Final = Decimal("0.1")
_DUPLICATE: Final = ("duplicate", "conflicting")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRange:
    """Consecutive hours: `starts_at` of the first, `ends_at` of the last, both UTC; `hours` between them."""

    starts_at: datetime
    ends_at: datetime
    hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveQuality:
    """How good the hours of the local days from `first` to `until` (exclusive) are.

    `coverage_pct`: hours with a reading in percent of all, `estimated_pct`: estimated ones in percent of those with a
    reading; one decimal, rounded down, so that 100 means all. `gaps`: hours without a reading. `zero_runs`: 24 or more
    hours of 0 kWh in a row. `duplicates`: rows of the file that had an hour of another row. `data_until`: last local
    day with a reading before `until`.
    """

    first: date
    until: date
    hours_expected: int
    hours: int
    estimated_hours: int
    coverage_pct: Decimal
    estimated_pct: Decimal
    gaps: tuple[HourRange, ...]
    zero_runs: tuple[HourRange, ...]
    duplicates: int
    data_until: date | None

    @property
    def is_enough(self) -> bool:
        """Whether at least 90 % of the hours have a reading."""
        return self.hours * 100 >= ENOUGH_COVERAGE_PCT * self.hours_expected

    def as_data_quality(self) -> DataQuality:
        """Return the part that every result carries."""
        return DataQuality(
            coverage_pct=str(self.coverage_pct),
            estimated_pct=str(self.estimated_pct),
            data_until=None if self.data_until is None else self.data_until.isoformat(),
        )


def quality_of(
    curve: Curve, first: date | None = None, until: date | None = None, *, duplicates: int = 0
) -> CurveQuality:
    """Judge the hours of the local days from `first` to `until` (exclusive); None is where the curve begins or ends.

    `duplicates`: as the parser counted them. Raises ValueError if `until` is not after `first`, or for an empty curve
    without both.
    """
    first, until = period_of_curve(curve, first, until)
    part = curve.between(first, until)
    expected = expected_hours(first, until, curve.zone)
    begin = _hour_of(first, curve)
    numbers = np.arange(begin, begin + expected, dtype=np.int64)
    estimated = int(part.estimated.sum())
    last_day = part.last_day
    return CurveQuality(
        first=first,
        until=until,
        hours_expected=expected,
        hours=len(part),
        estimated_hours=estimated,
        coverage_pct=_percent(len(part), expected),
        estimated_pct=_percent(estimated, len(part)),
        gaps=_ranges(numbers, ~np.isin(numbers, part.start_hours), at_least=1),
        zero_runs=_ranges(part.start_hours, part.energy_nkwh == 0, at_least=ZERO_RUN_HOURS),
        duplicates=duplicates,
        data_until=last_day,
    )


def period_of_curve(curve: Curve, first: date | None, until: date | None) -> tuple[date, date]:
    """Return a period, its open ends closed by the curve's first and last day. Raises ValueError."""
    begin = first or curve.first_day
    end = until or (curve.last_day + timedelta(days=1) if curve.last_day else None)
    if begin is None or end is None:
        raise ValueError("a curve without hours has no period: name the first and the last day")
    if end <= begin:
        raise ValueError(
            f"the period from {begin} until {end} has no day: its end must be later than its start"
        )
    return begin, end


def count_duplicates(reasons: list[str]) -> int:
    """Return how many of a parser's reasons say that a row had an hour of another row."""
    return sum(reason.startswith(_DUPLICATE) for reason in reasons)


def _ranges(numbers: Ints, mask: Bools, *, at_least: int) -> tuple[HourRange, ...]:
    """Return the runs of consecutive hours where `mask` is true, `at_least` so many long, oldest first."""
    chosen = numbers[mask]
    if not len(chosen):
        return ()
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    return tuple(
        HourRange(
            starts_at=instant_of_hour(int(run[0])),
            ends_at=instant_of_hour(int(run[-1]) + 1),
            hours=len(run),
        )
        for run in runs
        if len(run) >= at_least
    )


def _hour_of(day: date, curve: Curve) -> int:
    return hour_number(datetime(day.year, day.month, day.day, tzinfo=time_zone_of(curve.zone)))


def _percent(part: int, whole: int) -> Decimal:
    if whole == 0:
        return Decimal("0.0")
    return (Decimal(part) * 100 / Decimal(whole)).quantize(_ONE_DECIMAL, ROUND_DOWN)
