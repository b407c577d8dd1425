"""Lasting changes: of what runs all night (a failing fridge), and of the days as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from expert_bot.energy.analyses.anomaly_detection.anomaly import (
    MIN_STRENGTH,
    SMALLEST_SCATTER,
    Anomaly,
    AnomalyKind,
    Unit,
)
from expert_bot.energy.analyses.day_grid import HOURS, DayGrid
from expert_bot.energy.analyses.forecasting.forecast_ranges import watt_hours
from expert_bot.energy.analyses.use.base_load import night_base_kw
from expert_bot.energy.curve import Floats, Ints

MONTH_DAYS: Final = 30
QUIET_DAYS: Final = 28
"""After a change was told, the new level is the usual one; so long none of the same kind is told again."""
_KNOWN_SHARE: Final = 0.75
_OFFSET: Final = 0.01
_IQR_TO_SIGMA: Final = 0.7413
"""Distance of the quartiles to standard deviation, for normal scatter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """When `recent` days differ from the `before` days for good: all but `exceptions` beyond the middle half of those.

    `factor`: least ratio of the medians, `difference`: least difference, in the unit of the values.
    """

    up: AnomalyKind
    down: AnomalyKind
    recent: int
    before: int
    exceptions: int
    factor: float
    difference: float
    unit: Unit
    name: str
    kwh_a_day: int


_BASE: Final = _Rule(
    up=AnomalyKind.BASE_UP,
    down=AnomalyKind.BASE_DOWN,
    recent=7,
    before=28,
    exceptions=1,
    factor=1.3,
    difference=0.03,
    unit="kW",
    name="base load from 2:00 to 5:00",
    kwh_a_day=HOURS,
)
_DAYS: Final = _Rule(
    up=AnomalyKind.LEVEL_UP,
    down=AnomalyKind.LEVEL_DOWN,
    recent=14,
    before=56,
    exceptions=2,
    factor=1.5,
    difference=1.5,
    unit="kWh",
    name="energy of a day",
    kwh_a_day=1,
)


def level_findings(grid: DayGrid) -> Iterator[Anomaly]:
    """Yield lasting changes of the base load (a week against four) and of whole days (two weeks against eight)."""
    low, high = night_base_kw(grid)
    yield from _changes(grid, (low + high) / 2, _BASE)
    yield from _changes(grid, grid.total_kwh, _DAYS)


def _changes(grid: DayGrid, values: Floats, rule: _Rule) -> Iterator[Anomaly]:
    span = rule.recent + rule.before
    if len(values) < span:
        return
    windows = sliding_window_view(values, span)
    before, recent = _Sorted.of(windows[:, : rule.before]), _Sorted.of(windows[:, rule.before :])
    missing = rule.recent - recent.known
    usable = (before.known >= _KNOWN_SHARE * rule.before) & (missing <= rule.exceptions)
    usual, now = before.at(0.5), recent.at(0.5)
    logs = np.log(now + _OFFSET) - np.log(usual + _OFFSET)
    spread = np.log(before.at(0.75) + _OFFSET) - np.log(before.at(0.25) + _OFFSET)
    strength = np.abs(logs) / np.maximum(spread * _IQR_TO_SIGMA, SMALLEST_SCATTER) * np.sqrt(rule.recent)
    far = usable & (strength >= MIN_STRENGTH) & (np.abs(now - usual) >= rule.difference)
    spared = np.maximum(rule.exceptions - missing, 0)
    up = far & (now >= rule.factor * usual) & (recent.nth(spared) >= before.at(0.75))
    down = far & (now * rule.factor <= usual) & (recent.nth(recent.known - 1 - spared) <= before.at(0.25))
    for kind, found in ((rule.up, up), (rule.down, down)):
        quiet_until = 0
        for index in np.flatnonzero(found).tolist():
            if index >= quiet_until:
                quiet_until = index + QUIET_DAYS
                change = _Change(
                    start=index
                    + rule.before
                    + _first_beyond(windows[index, rule.before :], usual[index], now[index]),
                    end=index + span,
                    usual=float(usual[index]),
                    now=float(now[index]),
                    strength=float(strength[index]),
                )
                yield _finding(grid, rule, kind, change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Rows `start` .. `end` - 1 lie at the new level `now` instead of `usual`."""

    start: int
    end: int
    usual: float
    now: float
    strength: float


def _first_beyond(recent: Floats, usual: float, now: float) -> int:
    """Return where the values first lie nearer to the new level than to the old one."""
    return int(np.argmax(np.abs(recent - now) < np.abs(recent - usual)))


def _finding(grid: DayGrid, rule: _Rule, kind: AnomalyKind, change: _Change) -> Anomaly:
    usual, actual = watt_hours(change.usual), watt_hours(change.now)
    first = grid.day(change.start)
    return Anomaly(
        kind=kind,
        first=first,
        until=grid.day(change.end),
        told_on=grid.day(change.end - 1),
        strength=change.strength,
        unit=rule.unit,
        actual=actual,
        usual=usual,
        excess_kwh=(actual - usual) * rule.kwh_a_day * MONTH_DAYS,
        reason=f"{rule.name}: {actual:.2f} {rule.unit} since {first}, in the {rule.before} days before {usual:.2f} {rule.unit}",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """Windows with their values rising and unknown ones last; `known`: (windows,), how many are known."""

    values: Floats
    known: Ints

    @classmethod
    def of(cls, windows: Floats) -> _Sorted:
        values = np.sort(windows, axis=1)
        return cls(values, (~np.isnan(values)).sum(axis=1))

    def nth(self, positions: Ints) -> Floats:
        """Return (windows,): the value at each window's position."""
        chosen: Floats = self.values[
            np.arange(len(self.values)), np.clip(positions, 0, self.values.shape[1] - 1)
        ]
        return chosen

    def at(self, level: float) -> Floats:
        """Return (windows,): the known value nearest to a quantile."""
        return self.nth(np.rint(level * (self.known - 1)).astype(np.int64))
