"""How good the forecast would have been: each day of a window forecast from the days before it, beside two baselines.

MASE(168) = mean absolute error of the hourly forecasts in the window / mean absolute error, in the history BEFORE the
window, of "as in the same clock hour a week before" (Hyndman and Koehler 2006). `mase_168_window` divides by that
baseline's error IN the window instead: below 1 the forecast beats it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.forecasting.forecast import history_before, percent
from expert_bot.energy.analyses.forecasting.forecast_model import MIN_HISTORY_DAYS, forecast_hours
from expert_bot.energy.analyses.forecasting.forecast_totals import TotalModel
from expert_bot.energy.analyses.ratios import ratios
from expert_bot.energy.curve import Bools, Curve, Floats, Ints
from expert_bot.errors import UsageError

MIN_WINDOW_DAYS: Final = 7
MAX_WINDOW_DAYS: Final = 366
MONTH_DAYS: Final = 30
_WEEK: Final = 7
_FOUR_WEEKS: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of one method. None where nothing can be divided by (no use at all), or the window is under 30 days.

    `mase_168`, `mase_168_window`: ratios, see the module. `wape`: sum of absolute hourly errors over the energy.
    `month_total_error_pct`: mean absolute error, in percent of the actual, of the next 30 days' total as expected on
    each day of the window that has 30 days of it after it; `month_blocks_error_pct`: the same over the disjoint 30 days
    counted back from the window's end only.
    """

    mase_168: Decimal | None
    mase_168_window: Decimal | None
    wape: Decimal | None
    month_total_error_pct: Decimal | None
    month_blocks_error_pct: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Scores over the local days from `first` to `until` (exclusive): `days`, of `requested_days`.

    `interval_coverage_pct`: hours inside their 80 % interval; `month_coverage_pct`: 30-day totals inside theirs, None
    if the window is shorter. `baselines`: `naive_168` repeats the week before, `mean_28d` the mean of each hour of 28
    days.
    """

    first: date
    until: date
    days: int
    requested_days: int
    forecast: Score
    interval_coverage_pct: Decimal
    month_coverage_pct: Decimal | None
    baselines: Mapping[str, Score]


def backtest(curve: Curve, days: int = 90) -> Backtest:
    """Score the last `days` days, or as many as have 28 days of history before them.

    Hours without a reading, or without one that a baseline needs, count for no method; the hour that autumn repeats
    counts once, as the mean of both. Raises UsageError for fewer than 35 days of readings, or `days` outside 7..366.
    """
    if not MIN_WINDOW_DAYS <= days <= MAX_WINDOW_DAYS:
        raise UsageError(f"a backtest covers {MIN_WINDOW_DAYS}..{MAX_WINDOW_DAYS} days, not {days}")
    _, _, grid = history_before(curve, None)
    end = len(grid)
    first = max(MIN_HISTORY_DAYS, end - days)
    if end - first < MIN_WINDOW_DAYS:
        needed = MIN_HISTORY_DAYS + MIN_WINDOW_DAYS
        raise UsageError(f"a backtest needs {needed} days of readings: there are {end}")
    hourly = forecast_hours(grid, first, end)
    actual = grid.energy_kwh[first:]
    baselines = {
        "naive_168": grid.energy_kwh[first - _WEEK : end - _WEEK],
        "mean_28d": _hourly_means(grid, first),
    }
    counted = ~np.isnan(actual + sum(baselines.values(), hourly.point_kwh))
    if not counted.any():
        raise UsageError(
            f"no hour from {grid.day(first)} on has a reading, and one a week before: nothing to score"
        )
    scale = _Scale.of(grid, first, counted)
    inside = (hourly.low_kwh <= actual) & (actual <= hourly.high_kwh)
    months = _Months.of(grid, first)
    return Backtest(
        first=grid.day(first),
        until=grid.day(end),
        days=end - first,
        requested_days=days,
        forecast=scale.score(hourly.point_kwh, months, months.expected_kwh),
        interval_coverage_pct=percent(float(inside[counted].mean())),
        month_coverage_pct=months.coverage_pct(),
        baselines={
            "naive_168": scale.score(baselines["naive_168"], months, months.repeated(_WEEK)),
            "mean_28d": scale.score(baselines["mean_28d"], months, months.repeated(_FOUR_WEEKS)),
        },
    )


def _hourly_means(grid: DayGrid, first: int) -> Floats:
    """Return (window, 24): the mean of each clock hour over the 28 days before each day, NaN where none is known."""
    known = ~np.isnan(grid.energy_kwh)
    before = np.zeros((1, known.shape[1]))
    sums = np.concatenate([before, np.cumsum(np.where(known, grid.energy_kwh, 0.0), axis=0)])
    counts = np.concatenate([before, np.cumsum(known, axis=0)])
    rows = np.arange(first, len(grid))
    energy, count = (column[rows] - column[rows - _FOUR_WEEKS] for column in (sums, counts))
    return ratios(energy, count, where=count > 0, otherwise=np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """What absolute errors are divided by. `counted`: (window, 24), the hours every method has."""

    actual: Floats
    counted: Bools
    before: float
    within: float

    @classmethod
    def of(cls, grid: DayGrid, first: int, counted: Bools) -> _Scale:
        weekly = np.abs(grid.energy_kwh[_WEEK:] - grid.energy_kwh[:-_WEEK])
        before = weekly[: first - _WEEK]
        return cls(
            actual=grid.energy_kwh[first:],
            counted=counted,
            before=_mean(before[~np.isnan(before)]),
            within=float(weekly[first - _WEEK :][counted].mean()),
        )

    def score(self, point_kwh: Floats, months: _Months, month_kwh: Floats) -> Score:
        errors = np.abs(point_kwh - self.actual)[self.counted]
        error, used = float(errors.mean()), float(self.actual[self.counted].mean())
        return Score(
            mase_168=_ratio(error, self.before),
            mase_168_window=_ratio(error, self.within),
            wape=_ratio(error, used),
            month_total_error_pct=months.error_pct(month_kwh),
            month_blocks_error_pct=months.error_pct(month_kwh, every=MONTH_DAYS),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Months:
    """The 30-day totals that begin on each day of the window: all (origins,)."""

    grid: DayGrid
    origins: Ints
    expected_kwh: Floats
    actual_to_expected: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, grid: DayGrid, first: int) -> _Months:
        model = TotalModel.of(grid)
        origins = np.arange(first, len(grid) - MONTH_DAYS + 1)
        if not len(origins):
            nothing = np.zeros(0)
            return cls(grid, origins, nothing, nothing, nothing, nothing)
        low, high = np.array([model.interval(int(origin), MONTH_DAYS) for origin in origins]).T
        return cls(
            grid=grid,
            origins=origins,
            expected_kwh=model.expected_totals(origins, MONTH_DAYS),
            actual_to_expected=model.errors(origins, MONTH_DAYS),
            low=low,
            high=high,
        )

    def repeated(self, days: int) -> Floats:
        """Return the totals if the mean day of that many days went on."""
        rows = [self.grid.total_kwh[origin - days : origin] for origin in self.origins.tolist()]
        means = [row[~np.isnan(row)].mean() if not np.isnan(row).all() else np.nan for row in rows]
        return np.array(means) * MONTH_DAYS

    def error_pct(self, month_kwh: Floats, *, every: int = 1) -> Decimal | None:
        actual = self.actual_to_expected * self.expected_kwh
        errors = ratios(np.abs(month_kwh - actual), actual, where=actual > 0, otherwise=np.nan)
        errors = errors[::-1][::every]
        errors = errors[~np.isnan(errors)]
        return percent(float(errors.mean())) if len(errors) else None

    def coverage_pct(self) -> Decimal | None:
        known = ~np.isnan(self.actual_to_expected)
        if not known.any():
            return None
        ratio = self.actual_to_expected
        return percent(float(((self.low <= ratio) & (ratio <= self.high))[known].mean()))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _ratio(error: float, scale: float) -> Decimal | None:
    return Decimal(f"{error / scale:.4f}") if scale > 0 else None
