"""Forecast of a home: the next day by the hour, the month to its end, the next 30 days; each with its 80 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import DayGrid, empty_hours, first_open_day
from expert_bot.energy.analyses.forecasting.forecast_model import (
    MEMORY_DAYS,
    MIN_HISTORY_DAYS,
    HourlyForecast,
    forecast_hours,
)
from expert_bot.energy.analyses.forecasting.forecast_ranges import RangeForecaster, TotalForecast, watt_hours
from expert_bot.energy.analyses.forecasting.forecast_totals import TotalModel
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import PERIODS, Curve, Floats, instant_of_hour
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError

MEASURED_DAYS: Final = 28
NEXT_DAYS: Final = 30
_LATELY_DAYS: Final = 56
_MIN_LATE_DAYS: Final = 14
_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourForecast:
    """One hour, kWh to the watt-hour: `energy_kwh` is as likely too high as too low. `local_hour`: START, 0..23."""

    starts_at: datetime
    local_hour: int
    period: Period
    energy_kwh: Decimal
    low_kwh: Decimal
    high_kwh: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredError:
    """What the hourly forecast of the last `days` days, each made from the days before it, was worth.

    `wape`: sum of absolute errors over the energy used. `coverage_pct`: hours inside their interval.
    """

    days: int
    wape: Decimal | None
    coverage_pct: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected from the local day `day` on, known everything before it.

    `hours`: the 23, 24 or 25 hours of `day`. `total`: that day; `month`: the calendar month it lies in; `next_30_days`.
    """

    zone: TariffZone
    history_first: date
    day: date
    hours: tuple[HourForecast, ...]
    total: TotalForecast
    month: TotalForecast
    next_30_days: TotalForecast
    measured: MeasuredError | None


def forecast(
    curve: Curve,
    *,
    day: date | None = None,
    price_eur_per_kwh: Mapping[Period, Decimal] | None = None,
) -> Forecast:
    """Forecast from `day` on (default: the first day the readings do not reach the end of) from the days before it.

    `day` may lie days after the last reading, as today does: the days between count as unknown, in the month as
    expected.

    `price_eur_per_kwh`: for every period, of the energy term, as the caller wants EUR to be counted. Raises UsageError
    for fewer than 28 days of history, or fewer than 14 in the last eight weeks.
    """
    day, history, grid = history_before(curve, day)
    origin = grid.row_of(day)
    measured = max(MIN_HISTORY_DAYS, origin - MEASURED_DAYS)
    hourly = forecast_hours(grid, measured, origin + 1)
    ranges = RangeForecaster(history, grid, TotalModel.of(grid), day, price_eur_per_kwh)
    month = Month.of(day)
    assert history.first_day is not None  # noqa: S101 # history_before returns days only
    return Forecast(
        zone=curve.zone,
        history_first=history.first_day,
        day=day,
        hours=_hours(hourly, day, curve.zone),
        total=ranges.of(day, day + _ONE_DAY),
        month=ranges.of(month.first_day, month.end),
        next_30_days=ranges.of(day, day + timedelta(days=NEXT_DAYS)),
        measured=_measure(hourly, grid.energy_kwh[measured:origin]),
    )


def history_before(curve: Curve, day: date | None) -> tuple[date, Curve, DayGrid]:
    """Return the first day to forecast, the readings before it, and their grid. Raises UsageError for too little."""
    if not len(curve):
        raise UsageError(f"a forecast needs {MIN_HISTORY_DAYS} days of readings: there are none")
    day = first_open_day(curve) if day is None else day
    history = curve.between(None, day)
    grid = DayGrid.of(history, day) if len(history) else None
    origin = 0 if grid is None else grid.row_of(day)
    known = np.zeros(0, dtype=np.bool_) if grid is None else ~np.isnan(grid.total_kwh)
    days = int(known[max(0, origin - MEMORY_DAYS) :].sum())
    if grid is None or days < MIN_HISTORY_DAYS or origin < MIN_HISTORY_DAYS:
        raise UsageError(
            f"a forecast of {day} needs {MIN_HISTORY_DAYS} days of readings before it: there are {days}"
        )
    lately = int(known[max(0, origin - _LATELY_DAYS) :].sum())
    if lately < _MIN_LATE_DAYS:
        raise UsageError(
            f"a forecast of {day} needs {_MIN_LATE_DAYS} days of readings in the {_LATELY_DAYS} days before it: "
            f"there are {lately}, the last on {history.last_day}"
        )
    unknown = np.flatnonzero(np.isnan(grid.energy_kwh[max(0, origin - MEMORY_DAYS) : origin]).all(axis=0))
    if len(unknown):
        raise UsageError(f"a forecast of {day} needs readings of every hour: none began at {unknown[0]}:00")
    return day, history, grid


def percent(share: float) -> Decimal:
    """Return a share as percent with one decimal."""
    return Decimal(f"{share * 100:.1f}")


def _hours(hourly: HourlyForecast, day: date, zone: TariffZone) -> tuple[HourForecast, ...]:
    labels = empty_hours(day, day + _ONE_DAY, zone)
    low, point, high = hourly.low_kwh[-1], hourly.point_kwh[-1], hourly.high_kwh[-1]
    return tuple(
        HourForecast(
            starts_at=instant_of_hour(start),
            local_hour=hour,
            period=PERIODS[period],
            energy_kwh=watt_hours(point[hour]),
            low_kwh=watt_hours(low[hour]),
            high_kwh=watt_hours(high[hour]),
        )
        for start, hour, period in zip(
            labels.start_hours.tolist(), labels.local_hours.tolist(), labels.periods.tolist(), strict=True
        )
    )


def _measure(hourly: HourlyForecast, actual_kwh: Floats) -> MeasuredError | None:
    days = len(actual_kwh)
    known = ~np.isnan(actual_kwh + hourly.point_kwh[:days])
    if not known.any():
        return None
    point, low, high = (
        column[:days][known] for column in (hourly.point_kwh, hourly.low_kwh, hourly.high_kwh)
    )
    actual = actual_kwh[known]
    used = float(actual.sum())
    return MeasuredError(
        days=days,
        wape=Decimal(f"{np.abs(point - actual).sum() / used:.4f}") if used > 0 else None,
        coverage_pct=percent(float(((low <= actual) & (actual <= high)).mean())),
    )
