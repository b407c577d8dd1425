"""Unusual days and nights: each against the days of its own kind in the weeks before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from expert_bot.energy.analyses.anomaly_detection.anomaly import (
    MAD_TO_SIGMA,
    MIN_STRENGTH,
    SMALLEST_SCATTER,
    Anomaly,
    AnomalyKind,
)
from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.day_kinds import DayKind
from expert_bot.energy.analyses.forecasting.forecast_ranges import watt_hours
from expert_bot.energy.analyses.use.base_load import NIGHT_HOURS
from expert_bot.energy.curve import Bools, Floats

REFERENCES: Final = {DayKind.WORKDAY: 40, DayKind.SATURDAY: 10, DayKind.REST_DAY: 10}
"""How many earlier days of its kind a day is compared with: eight weeks of workdays, ten of the others."""
ENOUGH_REFERENCES: Final = 8
HIGH_FACTOR: Final = 1.5
HIGH_DAY_KWH: Final = 2.0
HIGH_NIGHT_KW: Final = 0.5
AWAY_FACTOR: Final = 0.75
AWAY_Z: Final = -1.5
AWAY_DAYS: Final = 3
_OFFSET_SHARE: Final = 0.05
_SMALLEST_OFFSET: Final = 0.02
_NIGHT_H: Final = NIGHT_HOURS.stop - NIGHT_HOURS.start
_KIND_NAMES: Final = {
    DayKind.WORKDAY: "a workday",
    DayKind.SATURDAY: "a Saturday",
    DayKind.REST_DAY: "a Sunday or holiday",
}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Values beside what is usual for their days, all (days,).

    `usual`: the median of earlier days of its kind; `z`: how many times the usual scatter (of logarithms) a value lies
    above it; NaN where fewer than eight are known.
    """

    values: Floats
    usual: Floats
    z: Floats

    @classmethod
    def of(cls, values: Floats, grid: DayGrid) -> Compared:
        """Compare each day's value with those before it."""
        usual, z = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for kind, references in REFERENCES.items():
            rows = np.flatnonzero((grid.kinds == kind) & ~np.isnan(values))
            if len(rows) <= ENOUGH_REFERENCES:
                continue
            padded = np.concatenate([np.full(references, np.nan), values[rows]])
            windows = sliding_window_view(padded, references)[ENOUGH_REFERENCES:-1]
            rows = rows[ENOUGH_REFERENCES:]
            usual[rows] = _medians(windows)
            z[rows] = _robust_z(values[rows], windows, usual[rows])
        return cls(values, usual, z)


def day_findings(grid: DayGrid) -> Iterator[Anomaly]:
    """Yield days and nights far above the usual, and absences of three days or more."""
    days = Compared.of(grid.total_kwh, grid)
    nights = Compared.of(grid.energy_kwh[:, NIGHT_HOURS].mean(axis=1), grid)
    high_days = _is_high(days, HIGH_DAY_KWH)
    for row in np.flatnonzero(high_days).tolist():
        yield _high_day(grid, days, row)
    # a day that is high as a whole says all that its night could
    for row in np.flatnonzero(_is_high(nights, HIGH_NIGHT_KW) & ~high_days).tolist():
        yield _high_night(grid, nights, row)
    yield from _absences(grid, days)


def _medians(windows: Floats) -> Floats:
    """Return the median of each row's known values, of which it must have one."""
    ordered = np.sort(windows, axis=1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=1)
    rows = np.arange(len(ordered))
    medians: Floats = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return medians


def _robust_z(values: Floats, windows: Floats, usual: Floats) -> Floats:
    offset = np.maximum(_OFFSET_SHARE * usual, _SMALLEST_OFFSET)
    logs = np.log(windows + offset[:, None])
    middle = _medians(logs)
    scatter = MAD_TO_SIGMA * _medians(np.abs(logs - middle[:, None]))
    z: Floats = (np.log(values + offset) - middle) / np.maximum(scatter, SMALLEST_SCATTER)
    return z


def _is_high(compared: Compared, at_least: float) -> Bools:
    excess = compared.values - compared.usual
    high: Bools = (
        (compared.z >= MIN_STRENGTH)
        & (compared.values >= HIGH_FACTOR * compared.usual)
        & (excess >= at_least)
    )
    return high


def _high_day(grid: DayGrid, days: Compared, row: int) -> Anomaly:
    actual, usual, day = watt_hours(days.values[row]), watt_hours(days.usual[row]), grid.day(row)
    return Anomaly(
        kind=AnomalyKind.HIGH_DAY,
        first=day,
        until=grid.day(row + 1),
        told_on=day,
        strength=float(days.z[row]),
        unit="kWh",
        actual=actual,
        usual=usual,
        excess_kwh=actual - usual,
        reason=f"{actual:.1f} kWh on {day}; usual for {_kind(grid, row)} lately: {usual:.1f} kWh",
    )


def _high_night(grid: DayGrid, nights: Compared, row: int) -> Anomaly:
    actual, usual, day = watt_hours(nights.values[row]), watt_hours(nights.usual[row]), grid.day(row)
    return Anomaly(
        kind=AnomalyKind.HIGH_NIGHT,
        first=day,
        until=grid.day(row + 1),
        told_on=day,
        strength=float(nights.z[row]),
        unit="kW",
        actual=actual,
        usual=usual,
        excess_kwh=(actual - usual) * _NIGHT_H,
        reason=f"{actual:.2f} kW from 2:00 to 5:00 on {day}; usual for the night of {_kind(grid, row)}: {usual:.2f} kW",
    )


def _absences(grid: DayGrid, days: Compared) -> Iterator[Anomaly]:
    """Yield runs of days that are all clearly below their usual."""
    low = (days.z <= AWAY_Z) & (days.values <= AWAY_FACTOR * days.usual)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], low.astype(np.int8), [0]])))
    for start, end in edges.reshape(-1, 2).tolist():
        if end - start < AWAY_DAYS:
            continue
        # what could be known on the third day; the run itself is told to its end
        strength = float(-days.z[start : start + AWAY_DAYS].mean() * np.sqrt(AWAY_DAYS))
        if strength < MIN_STRENGTH:
            continue
        actual = watt_hours(float(days.values[start:end].mean()))
        usual = watt_hours(float(days.usual[start:end].mean()))
        yield Anomaly(
            kind=AnomalyKind.VACANCY,
            first=grid.day(start),
            until=grid.day(end),
            told_on=grid.day(start + AWAY_DAYS - 1),
            strength=strength,
            unit="kWh",
            actual=actual,
            usual=usual,
            excess_kwh=(actual - usual) * Decimal(end - start),
            reason=f"{actual:.1f} kWh a day for {end - start} days from {grid.day(start)}, usual {usual:.1f} kWh: as if away",
        )


def _kind(grid: DayGrid, row: int) -> str:
    return _KIND_NAMES[DayKind(int(grid.kinds[row]))]
