"""What a home used: by month and period, on which days, in which hours, and beside the year before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import HOURS
from expert_bot.energy.analyses.day_kinds import DayKind, kinds_of
from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import Curve, instant_of_hour, kwh
from expert_bot.energy.quality import CurveQuality, period_of_curve, quality_of
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import Change, MonthUsage, change_between
from expert_bot.errors import UsageError

PEAK_HOURS: Final = 3
_YEAR: Final = 12
_ONE_DECIMAL: Final = Decimal("0.1")
_WATT_HOUR: Final = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthConsumption:
    """A calendar month, as far as it lies in the period asked for.

    `year_change`: from the whole same month a year before, None where either month is less than 90 % covered.
    """

    usage: MonthUsage
    year_change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakHour:
    """A clock hour (START, 0..23) and its mean, kWh to the watt-hour."""

    local_hour: int
    mean_kwh: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What the local days from `quality.first` to `quality.until` (exclusive) used.

    `total_kwh`, `by_period_kwh`: exact. `share_pct`: by period, one decimal, None if nothing was used. `mean_day_kwh`:
    total per 24 hours with a reading; `mean_day_by_kind_kwh`: the same for workdays, Saturdays, Sundays and holidays,
    of the kinds there are. `peak_hours`: the three clock hours with the highest mean, highest first. `highest_hour`:
    when, and how much.
    """

    quality: CurveQuality
    total_kwh: Decimal
    by_period_kwh: Mapping[Period, Decimal]
    share_pct: Mapping[Period, Decimal] | None
    mean_day_kwh: Decimal
    mean_day_by_kind_kwh: Mapping[DayKind, Decimal]
    peak_hours: tuple[PeakHour, ...]
    highest_hour: tuple[datetime, Decimal]
    months: tuple[MonthConsumption, ...]


def consumption(curve: Curve, first: date | None = None, until: date | None = None) -> Consumption:
    """Sum the local days from `first` to `until` (exclusive; None: where the curve begins or ends).

    Raises UsageError if there is no reading between them, ValueError if `until` is not after `first`.
    """
    if not len(curve):
        raise UsageError("there are no readings")
    first, until = period_of_curve(curve, first, until)
    part = curve.between(first, until)
    if not len(part):
        raise UsageError(
            f"no reading from {first} until {until}: there are {curve.first_day} .. {curve.last_day}"
        )
    total, by_period = part.total_kwh(), part.kwh_by_period()
    highest = int(part.energy_nkwh.argmax())
    return Consumption(
        quality=quality_of(curve, first, until),
        total_kwh=total,
        by_period_kwh=by_period,
        share_pct={
            period: _rounded(energy * 100 / total, _ONE_DECIMAL) for period, energy in by_period.items()
        }
        if total
        else None,
        mean_day_kwh=_mean_day(part),
        mean_day_by_kind_kwh=_mean_days(part),
        peak_hours=_peak_hours(part),
        highest_hour=(instant_of_hour(int(part.start_hours[highest])), kwh(int(part.energy_nkwh[highest]))),
        months=tuple(_month(curve, month, hours) for month, hours in part.months()),
    )


def usage_of(month: Month, hours: Curve) -> MonthUsage:
    """Return what these hours of a month used."""
    return MonthUsage(
        month=str(month),
        energy_kwh=hours.kwh_by_period(),
        hours=len(hours),
        estimated_hours=int(hours.estimated.sum()),
        first_day=str(hours.first_day or ""),
        last_day=str(hours.last_day or ""),
    )


def _month(curve: Curve, month: Month, hours: Curve) -> MonthConsumption:
    usage, before = usage_of(month, hours), month.plus(-_YEAR)
    then = curve.between(before.first_day, before.end)
    change = change_between(usage_of(before, then), usage) if len(then) else None
    return MonthConsumption(
        usage=usage, year_change=change if change is not None and change.is_reliable else None
    )


def _mean_day(part: Curve) -> Decimal:
    return _rounded(part.total_kwh() * HOURS / len(part), _WATT_HOUR)


def _mean_days(part: Curve) -> dict[DayKind, Decimal]:
    days = np.unique(part.local_days)
    kinds = kinds_of(days)[np.searchsorted(days, part.local_days)]
    return {kind: _mean_day(part.where(kinds == kind)) for kind in DayKind if np.any(kinds == kind)}


def _peak_hours(part: Curve) -> tuple[PeakHour, ...]:
    counts = np.bincount(part.local_hours, minlength=HOURS)
    means = [
        (_rounded(kwh(int(part.energy_nkwh[part.local_hours == hour].sum())) / count, _WATT_HOUR), hour)
        for hour, count in enumerate(counts.tolist())
        if count
    ]
    means.sort(key=lambda mean: (-mean[0], mean[1]))
    return tuple(PeakHour(local_hour=hour, mean_kwh=mean) for mean, hour in means[:PEAK_HOURS])


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return value.quantize(step, ROUND_HALF_UP)
