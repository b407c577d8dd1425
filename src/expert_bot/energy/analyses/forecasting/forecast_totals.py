"""Totals of the days ahead: level of the last weeks, kind of day, a little of last year's season.

Here the mean counts, not the median: hours that are each most likely small do not add up to a month. Everything is
computed for all origins at once (an origin is the first day to forecast; it uses earlier days only), because the errors
at past origins are the interval of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.day_kinds import DayKind
from expert_bot.energy.analyses.ratios import ratios
from expert_bot.energy.curve import Floats, Ints

RECENT_HALF_LIFE_DAYS: Final = 7.0
LEVEL_DAYS: Final = 42
KIND_DAYS: Final = 84
KIND_PRIOR_DAYS: Final = 14.0
"""A kind of day is taken to differ from the mean only as far as more than this many such days say so."""
SEASON_DAYS: Final = 28
SEASON_SHARE: Final = 0.25
"""How much of last year's change over the same dates is expected again (as an exponent)."""
OTHER_HOME: Final = 2.0
"""A home that used more than twice or less than half as much a year ago lives differently: its season says nothing."""
YEAR_DAYS: Final = 364
"""A year of whole weeks, so that weekdays meet weekdays."""

RESIDUAL_DAYS: Final = 365
_ENOUGH_OF_WINDOW: Final = 0.8
_SEASON_LIMITS: Final = (0.75, 4 / 3)
_PRIOR_WINDOWS: Final = 2.0
_PRIOR_SPREAD: Final = (0.1, 0.4)
_LOG_FLOOR: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalRange:
    """A total with its 80 % interval, kWh."""

    energy_kwh: float
    low_kwh: float
    high_kwh: float


@dataclass(frozen=True, slots=True, eq=False)
class TotalModel:
    """What is expected of each day from each origin. Row o of every array uses days before row o of the grid.

    `level_kwh`: (origins,) a mean day. `factors`: (origins, kinds) how a kind of day differs from it. `kinds`: of the
    days, those after the data too. Arrays have one origin more than the grid has days.
    """

    grid: DayGrid
    level_kwh: Floats
    factors: Floats

    @classmethod
    def of(cls, grid: DayGrid) -> TotalModel:
        """Learn from a grid."""
        factors = _factors(grid.total_kwh, grid.kinds)
        plain = grid.total_kwh / np.take_along_axis(factors[:-1], grid.kinds[:, None], axis=1)[:, 0]
        level = (_recent_mean(plain) + _mean_before(plain, LEVEL_DAYS)) / 2
        return cls(grid, level, factors)

    def expected_days(self, origin: int, days: int) -> Floats:
        """Return (days,) kWh expected of each day from the origin on."""
        expected: Floats = self._expected(np.array([origin]), days)[0]
        return expected

    def expected_totals(self, origins: Ints, days: int) -> Floats:
        """Return (origins,) kWh expected of that many days from each origin on."""
        totals: Floats = self._expected(origins, days).sum(axis=1)
        return totals

    def range_of(self, origin: int, days: int) -> TotalRange:
        """Return the total of the days from the origin on, its interval from what happened at earlier origins."""
        energy_kwh = float(self.expected_totals(np.array([origin]), days)[0])
        low, high = self.interval(origin, days)
        return TotalRange(energy_kwh=energy_kwh, low_kwh=energy_kwh * low, high_kwh=energy_kwh * high)

    def interval(self, origin: int, days: int) -> tuple[float, float]:
        """Return the factors that lead from a total of so many days to the ends of its 80 % interval."""
        past = np.arange(max(1, origin - days - RESIDUAL_DAYS), origin - days + 1)
        errors = np.log(self.errors(past, days)) if len(past) else np.zeros(0)
        errors = errors[~np.isnan(errors)]
        windows = len(errors) / days
        spread = _PRIOR_SPREAD[0] + (_PRIOR_SPREAD[1] - _PRIOR_SPREAD[0]) / np.sqrt(days)
        low, high = np.quantile(errors, (0.1, 0.9)) if len(errors) else (0.0, 0.0)
        share = windows / (windows + _PRIOR_WINDOWS)
        return (
            float(np.exp(min(0.0, share * low - (1 - share) * spread))),
            float(np.exp(max(0.0, share * high + (1 - share) * spread))),
        )

    def errors(self, origins: Ints, days: int) -> Floats:
        """Return (origins,) actual over expected total of so many days, NaN where days are missing."""
        actual = _sums_after(self.grid.total_kwh, origins, days)
        expected = self.expected_totals(origins, days)
        ratio = ratios(actual, expected, where=expected > 0, otherwise=np.nan)
        errors: Floats = np.maximum(ratio, _LOG_FLOOR)
        return errors

    def _expected(self, origins: Ints, days: int) -> Floats:
        kinds = self.grid.kinds_until(int(origins.max()) + days)
        ahead = origins[:, None] + np.arange(days)[None, :]
        season = _season(self.grid.total_kwh, origins, days)
        factors = np.take_along_axis(self.factors[origins], kinds[ahead], axis=1)
        expected: Floats = factors * (self.level_kwh[origins] * season)[:, None]
        return expected


def _factors(total_kwh: Floats, kinds: Ints) -> Floats:
    """Return (days + 1, kinds): mean of a kind over mean of all in the 12 weeks before, drawn towards 1."""
    known = ~np.isnan(total_kwh)
    everything = _mean_before(total_kwh, KIND_DAYS)
    columns = []
    for kind in DayKind:
        chosen = known & (kinds == kind)
        count = _window_sums(chosen.astype(np.float64), KIND_DAYS)
        energy = _window_sums(np.where(chosen, total_kwh, 0.0), KIND_DAYS)
        pulled = (energy + KIND_PRIOR_DAYS * everything) / (count + KIND_PRIOR_DAYS)
        columns.append(ratios(pulled, everything, where=everything > 0, otherwise=1.0))
    return np.stack(columns, axis=1)


def _window_sums(values: Floats, days: int) -> Floats:
    """Return (days + 1,): the sum of up to that many values before each position."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    starts = np.maximum(np.arange(len(sums)) - days, 0)
    window: Floats = sums - sums[starts]
    return window


def _mean_before(values: Floats, days: int) -> Floats:
    """Return (days + 1,): the mean of the known values in the window before each position, 0 without any."""
    known = ~np.isnan(values)
    count = _window_sums(known.astype(np.float64), days)
    return ratios(_window_sums(np.where(known, values, 0.0), days), count, where=count > 0, otherwise=0.0)


def _recent_mean(values: Floats) -> Floats:
    """Return (days + 1,): the exponentially weighted mean of the known values before each position."""
    keep = float(np.exp2(-1 / RECENT_HALF_LIFE_DAYS))
    energy = weight = 0.0
    means = [0.0]
    for value in values.tolist():
        energy, weight = energy * keep, weight * keep
        if value == value:  # noqa: PLR0124 # false for NaN alone
            energy, weight = energy + value, weight + 1.0
        means.append(energy / weight if weight else 0.0)
    return np.array(means)


def _season(total_kwh: Floats, origins: Ints, days: int) -> Floats:
    """Return (origins,): a damped share of how last year went on from the same date, 1 where last year is unknown."""
    then = origins - YEAR_DAYS
    usable = (then >= SEASON_DAYS) & (then + days <= origins)
    starts = np.where(usable, then, SEASON_DAYS)
    after = _sums_after(total_kwh, starts, days) / days
    before = _sums_after(total_kwh, starts - SEASON_DAYS, SEASON_DAYS) / SEASON_DAYS
    now = _sums_after(total_kwh, np.maximum(origins - SEASON_DAYS, 0), SEASON_DAYS) / SEASON_DAYS
    usable &= (before > 0) & (after > 0) & (now < OTHER_HOME * before) & (before < OTHER_HOME * now)
    ratio = ratios(after, before, where=usable, otherwise=1.0)
    season: Floats = np.clip(ratio, *_SEASON_LIMITS) ** SEASON_SHARE
    return season


def _sums_after(total_kwh: Floats, starts: Ints, days: int) -> Floats:
    """Return (starts,): the total of the window that starts there, scaled to all its days; NaN if too few are known."""
    known = ~np.isnan(total_kwh)
    counts, sums = (
        np.concatenate([[0.0], np.cumsum(column)])
        for column in (known.astype(np.float64), np.where(known, total_kwh, 0.0))
    )
    ends = np.minimum(starts + days, len(total_kwh))
    starts = np.minimum(starts, len(total_kwh))
    count = counts[ends] - counts[starts]
    return ratios(
        (sums[ends] - sums[starts]) * days,
        count,
        where=count >= _ENOUGH_OF_WINDOW * days,
        otherwise=np.nan,
    )
