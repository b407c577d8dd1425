"""Energy and cost of a range of days, part read and part expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import HOURS, DayGrid, empty_hours
from expert_bot.energy.analyses.day_kinds import DayKind
from expert_bot.energy.analyses.forecasting.forecast_totals import KIND_DAYS, TotalModel
from expert_bot.energy.analyses.ratios import ratios
from expert_bot.energy.curve import PERIODS, Curve, Floats
from expert_bot.energy.readings import Period

_CENT: Final = Decimal("0.01")
_SHAPE_PRIOR_DAYS: Final = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalForecast:
    """The days from `first` to `until` (exclusive), kWh to the watt-hour, EUR to the cent where prices were given.

    `known_kwh`: what readings say already (exact). `energy_kwh`: that and what is expected, its mean; `by_period`: the
    same split. `low_kwh`, `high_kwh`: 80 % interval of `energy_kwh`. `eur` and its interval: energy at the prices
    given.
    """

    first: date
    until: date
    known_kwh: Decimal
    energy_kwh: Decimal
    low_kwh: Decimal
    high_kwh: Decimal
    by_period: Mapping[Period, Decimal]
    eur: Decimal | None = None
    low_eur: Decimal | None = None
    high_eur: Decimal | None = None


@dataclass(frozen=True)
class RangeForecaster:
    """Totals of ranges that end after `day` (the first day to forecast) and may begin before it."""

    history: Curve
    grid: DayGrid
    model: TotalModel
    day: date
    price_eur_per_kwh: Mapping[Period, Decimal] | None

    def of(self, first: date, until: date) -> TotalForecast:
        """Add readings and, for every hour without one (gaps since the first reading too), what is expected."""
        readings = self.history.between(first, until)
        known = readings.kwh_by_period()
        rest = self._expected_by_period(first, until, readings)
        low, high = (
            Decimal(f"{factor:.6f}")
            for factor in self.model.interval(self.grid.row_of(self.day), (until - self.day).days)
        )
        return TotalForecast(
            first=first,
            until=until,
            known_kwh=readings.total_kwh(),
            energy_kwh=_at(known, rest, Decimal(1)),
            low_kwh=_at(known, rest, low),
            high_kwh=_at(known, rest, high),
            by_period={period: known[period] + rest[period] for period in Period},
            eur=self._eur(known, rest, Decimal(1)),
            low_eur=self._eur(known, rest, low),
            high_eur=self._eur(known, rest, high),
        )

    def _eur(
        self, known: Mapping[Period, Decimal], rest: Mapping[Period, Decimal], factor: Decimal
    ) -> Decimal | None:
        prices = self.price_eur_per_kwh
        if prices is None:
            return None
        eur = sum((prices[period] * (known[period] + rest[period] * factor) for period in Period), Decimal(0))
        return eur.quantize(_CENT, ROUND_HALF_UP)

    def _expected_by_period(self, first: date, until: date, readings: Curve) -> dict[Period, Decimal]:
        """Return the kWh expected in the hours that have no reading."""
        start = max(first, self.grid.day(0))
        hours = empty_hours(start, until, self.history.zone)
        hours = hours.where(~np.isin(hours.start_hours, readings.start_hours, assume_unique=True))
        rows = hours.local_days - self.grid.first
        origin = self.grid.row_of(self.day)
        kinds = self.grid.kinds_until(self.grid.row_of(until))[rows]
        # a gap in the past is filled as if it lay ahead: level of today, kind of its day
        ahead = self.model.expected_days(origin, int(max(rows.max(initial=0) - origin + 1, 1)))
        past = self.model.level_kwh[origin] * self.model.factors[origin][kinds]
        days_kwh = np.where(rows >= origin, ahead[np.maximum(rows - origin, 0)], past)
        expected = days_kwh * self.shapes[kinds, hours.local_hours]
        sums = np.bincount(hours.periods, weights=expected, minlength=len(PERIODS))
        return {period: watt_hours(float(total)) for period, total in zip(PERIODS, sums, strict=True)}

    @cached_property
    def shapes(self) -> Floats:
        """(kinds, 24): how a day's energy is spread over its hours in the last 12 weeks; rows sum to 1."""
        until = self.grid.row_of(self.day)
        recent = slice(max(0, until - KIND_DAYS), until)
        energy, kinds = self.grid.energy_kwh[recent], self.grid.kinds[recent]
        known = ~np.isnan(energy)
        energy = np.where(known, energy, 0.0)
        counts = known.sum(axis=0)
        everything = ratios(energy.sum(axis=0), counts, where=counts > 0, otherwise=0.0)
        rows = []
        for kind in DayKind:
            chosen = kinds == kind
            rows.append(
                (energy[chosen].sum(axis=0) + _SHAPE_PRIOR_DAYS * everything)
                / (known[chosen].sum(axis=0) + _SHAPE_PRIOR_DAYS)
            )
        table = np.stack(rows)
        totals = table.sum(axis=1, keepdims=True)
        return ratios(table, totals, where=np.broadcast_to(totals > 0, table.shape), otherwise=1 / HOURS)


def watt_hours(energy_kwh: float) -> Decimal:
    """Return kWh to the watt-hour."""
    return Decimal(f"{energy_kwh:.3f}")


def _at(known: Mapping[Period, Decimal], rest: Mapping[Period, Decimal], factor: Decimal) -> Decimal:
    """Return known energy and a multiple of what is expected, to the watt-hour where the expectation counts."""
    expected = sum(rest.values(), Decimal(0)) * factor
    return sum(known.values(), Decimal(0)) + expected.quantize(Decimal("0.001"), ROUND_HALF_UP)
