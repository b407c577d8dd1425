"""The day-ahead model: a day will go like the past days that resemble it.

Each past day gets a weight: recent days more, days of the same kind more, days whose eve used about as much as the eve
of the day to forecast more. The weighted distribution of an hour gives its median (the point that makes the mean
absolute error smallest) and its interval. What share of past actual values fell how deep into their own forecasts says
which quantiles are the ends of an 80 % interval. Nothing on or after the day to forecast is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import HOURS, DayGrid
from expert_bot.energy.analyses.ratios import ratios
from expert_bot.energy.curve import Floats, Ints

MIN_HISTORY_DAYS: Final = 28
MEMORY_DAYS: Final = 400
HALF_LIFE_DAYS: Final = 7.0
OLD_DAY_WEIGHT: Final = 0.02
"""What a day keeps however old it is; without it a home back from holidays would have nothing to resemble."""
OTHER_KIND_WEIGHT: Final = 0.15
EVE_BANDWIDTH: Final = 0.3
"""In logarithms: an eve that used 35 % more or less counts e^-0.5."""

CALIBRATION_DAYS: Final = 28
INTERVAL: Final = (0.1, 0.9)
_UNCALIBRATED: Final = (0.06, 0.94)
_ENOUGH_RANKS: Final = 7 * HOURS
_EVE_FLOOR: Final = 0.05
_UNKNOWN_EVE: Final = 1.0
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourlyForecast:
    """Forecasts of consecutive days, each from the days before it. All arrays (days, 24), kWh, low <= point <= high."""

    point_kwh: Floats
    low_kwh: Floats
    high_kwh: Floats


def forecast_hours(grid: DayGrid, first: int, until: int) -> HourlyForecast:
    """Forecast the rows `first` .. `until` - 1; row r uses rows before r only, and `until` may be one past the data.

    Raises ValueError if `first` has fewer than 28 rows before it.
    """
    if first < MIN_HISTORY_DAYS:
        raise ValueError(f"row {first} has fewer than {MIN_HISTORY_DAYS} days before it")
    start = max(MIN_HISTORY_DAYS, first - CALIBRATION_DAYS)
    oldest = max(0, start - MEMORY_DAYS)
    targets, past = np.arange(start, until), np.arange(oldest, until - 1)
    weights = analog_weights(grid, targets, past)
    values = grid.energy_kwh[oldest : until - 1]
    ranks = _ranks(values, weights[:-1], grid.energy_kwh[start : until - 1])
    levels = np.array(
        [_levels(ranks[max(0, row - CALIBRATION_DAYS) : row]) for row in range(first - start, until - start)]
    )
    low, point, high = _quantiles(values, weights[first - start :], levels)
    return HourlyForecast(point_kwh=point, low_kwh=low, high_kwh=high)


def analog_weights(grid: DayGrid, targets: Ints, past: Ints) -> Floats:
    """Return (targets, past): how much each past row counts for each target row, 0 for rows not before it."""
    kinds = grid.kinds_until(max(int(targets[-1]), int(past[-1])) + 1)
    age = targets[:, None] - past[None, :]
    recency = np.where(age > 0, np.exp2(-np.maximum(age, 0) / HALF_LIFE_DAYS) + OLD_DAY_WEIGHT, 0.0)
    recency[age > MEMORY_DAYS] = 0.0
    kind = np.where(kinds[targets][:, None] == kinds[past][None, :], 1.0, OTHER_KIND_WEIGHT)
    distance = _eve_distance(grid.total_kwh, targets, past) / EVE_BANDWIDTH
    weights: Floats = recency * kind * np.exp(-0.5 * distance**2)
    return weights


def _eve_distance(total_kwh: Floats, targets: Ints, past: Ints) -> Floats:
    """Return how far the totals of the days before are apart, in logarithms; a bandwidth where one is unknown."""
    known = ~np.isnan(total_kwh)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, total_kwh, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    # the offset keeps an empty house from being infinitely far away; it uses only days before the target
    offset = _EVE_FLOOR * sums[targets] / np.maximum(counts[targets], 1)
    offset = np.where(offset > 0, offset, 1.0)[:, None]
    eves = np.concatenate([[np.nan], total_kwh])
    distance: Floats = np.abs(np.log(eves[past][None, :] + offset) - np.log(eves[targets][:, None] + offset))
    return np.where(np.isnan(distance), _UNKNOWN_EVE * EVE_BANDWIDTH, distance)


def _levels(ranks: Floats) -> tuple[float, float, float]:
    """Return the quantiles that 80 % of these past actual values lay between, and the median."""
    known = ranks[~np.isnan(ranks)]
    low, high = np.quantile(known, INTERVAL) if len(known) >= _ENOUGH_RANKS else _UNCALIBRATED
    return min(float(low), 0.5), 0.5, max(float(high), 0.5)


def _ranks(values: Floats, weights: Floats, actual: Floats) -> Floats:
    """Return how deep in its own distribution each actual value lies, 0..1 (ties count half), NaN where unknown.

    `values`: (past, 24); `weights`: (targets, past); `actual` and the result: (targets, 24).
    """
    ranks = np.full(actual.shape, np.nan)
    total = weights @ (~np.isnan(values)).astype(np.float64)
    for hour in range(HOURS):
        one, column = actual[:, hour, None], values[:, hour]
        twice = (column < one).astype(np.float64) + (column <= one)
        below = np.einsum("tp,tp->t", weights, twice) / 2
        known = ~np.isnan(one[:, 0]) & (total[:, hour] > 0)
        ranks[:, hour] = ratios(below, total[:, hour], where=known, otherwise=np.nan)
    return ranks


def _quantiles(values: Floats, weights: Floats, levels: Floats) -> Floats:
    """Return (levels, targets, 24): the least value that has a target's own share of the weight at or below it.

    `levels`: (targets, levels), the shares. Days without weight are never chosen: no value between neighbours is
    formed, which a day still to come could be one of. An hour that no past day has is NaN.
    """
    result = np.full((levels.shape[1], len(weights), HOURS), np.nan)
    by_day = np.ascontiguousarray(weights.T)  # whole rows are gathered faster than columns
    for hour in range(HOURS):
        column = values[:, hour]
        order = np.argsort(column)[: np.count_nonzero(~np.isnan(column))]
        if not len(order):
            continue
        rising, cumulated = column[order], np.cumsum(by_day[order], axis=0)
        for index, level in enumerate(levels.T):
            # a level of 0 or 1 still lies inside the weight, whatever rounding did to the sum
            wanted = np.clip(level, _TINY, 1 - _TINY) * cumulated[-1]
            chosen = rising[np.count_nonzero(cumulated < wanted, axis=0)]
            result[index, :, hour] = np.where(cumulated[-1] > 0, chosen, np.nan)
    return result
