"""Hourly PVPC prices as columns, and what a curve costs at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import mul
from typing import Final

import numpy as np

from expert_bot.energy.calendar import TariffZone, time_zone_of
from expert_bot.energy.curve import Curve, Ints, hour_number, instant_of_hour, kwh
from expert_bot.energy.formats.days import local_day

AFRICAN_ZONES: Final = frozenset({TariffZone.CEUTA, TariffZone.MELILLA})
"""Zones with a PVPC of their own; Peninsula, Baleares and Canarias have one price by the hour of the local clock."""

_DIGITS_OF_BOTH: Final = 18  # kWh and EUR/kWh are both held in 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourlyPrices:
    """Prices of the PVPC's energy term in `zone`, tolls and charges inside, without taxes.

    `start_hours`: hours since 1970-01-01T00Z, rising, each once. `price_neur`: EUR/kWh in whole billionths (1e-9).
    The prices of Canarias stand at the hours of its own clock: published hour 10 is its 10:00 (see `on_clock_of`).
    """

    zone: TariffZone
    start_hours: Ints
    price_neur: Ints

    def __len__(self) -> int:
        return len(self.start_hours)

    @property
    def first_day(self) -> date | None:
        """First local day with a price."""
        return _local_date(self, 0) if len(self) else None

    @property
    def last_day(self) -> date | None:
        """Last local day with a price."""
        return _local_date(self, -1) if len(self) else None

    def between(self, first: date | None = None, until: date | None = None) -> HourlyPrices:
        """Return the prices of the local days from `first` to `until` (exclusive); None leaves that end open."""
        start = 0 if first is None else int(np.searchsorted(self.start_hours, _midnight(first, self.zone)))
        stop = (
            len(self)
            if until is None
            else int(np.searchsorted(self.start_hours, _midnight(until, self.zone)))
        )
        part = slice(start, max(start, stop))
        return replace(self, start_hours=self.start_hours[part], price_neur=self.price_neur[part])

    def on_clock_of(self, zone: TariffZone) -> HourlyPrices:
        """Return the same prices at the same hours of another zone's day: its 10:00 costs what 10:00 costs here.

        Where the clocks change the n-th hour of a day stays the n-th. Raises ValueError between the zones of Africa and
        the others: their prices differ.
        """
        if (zone in AFRICAN_ZONES) != (self.zone in AFRICAN_ZONES):
            raise ValueError(f"the PVPC of {self.zone} is not that of {zone}: load the prices of {zone}")
        if time_zone_of(zone) is time_zone_of(self.zone):
            return replace(self, zone=zone)
        moved = np.fromiter(
            (_same_hour(int(hour), self.zone, zone) for hour in self.start_hours), dtype=np.int64
        )
        return replace(self, zone=zone, start_hours=moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCost:
    """What hours cost by the hour: `eur` exact, unrounded, of `priced_hours` alone.

    `missing_hours`: hours of the curve without a price; their energy is not in `eur`. `missing_kwh`: that energy.
    """

    eur: Decimal
    priced_hours: int
    missing_hours: int
    missing_kwh: Decimal


def energy_cost(curve: Curve, prices: HourlyPrices) -> EnergyCost:
    """Return the exact cost of a curve, hour by hour, without taxes.

    Prices of a zone with another clock are matched by the hour of the local clock. Raises ValueError if the prices are
    not those of the curve's zone.
    """
    if curve.first_day is not None and curve.last_day is not None:
        prices = prices.between(curve.first_day, curve.last_day + timedelta(days=1))
    prices = prices.on_clock_of(curve.zone)
    if not len(prices):
        missing = int(curve.energy_nkwh.sum())
        return EnergyCost(eur=Decimal(0), priced_hours=0, missing_hours=len(curve), missing_kwh=kwh(missing))
    at = np.minimum(np.searchsorted(prices.start_hours, curve.start_hours), len(prices) - 1)
    has_price = prices.start_hours[at] == curve.start_hours
    energy_nkwh = curve.energy_nkwh[has_price].tolist()
    price_neur = prices.price_neur[at[has_price]].tolist()
    exact = sum(map(mul, energy_nkwh, price_neur))  # whole numbers of Python: a year overflows 64 bits
    missing = int(curve.energy_nkwh[~has_price].sum())
    return EnergyCost(
        eur=Decimal(exact).scaleb(-_DIGITS_OF_BOTH),
        priced_hours=len(energy_nkwh),
        missing_hours=len(curve) - len(energy_nkwh),
        missing_kwh=kwh(missing),
    )


def start_hour(day: date, position: int, zone: TariffZone) -> int:
    """Return the hour number of the n-th hour, from 0, of a local day of a zone."""
    return hour_number(local_day(day, zone).starts_at[position])


def _same_hour(number: int, source: TariffZone, target: TariffZone) -> int:
    day = instant_of_hour(number).astimezone(time_zone_of(source)).date()
    return start_hour(day, number - _midnight(day, source), target)


@lru_cache(maxsize=8192)
def _midnight(day: date, zone: TariffZone) -> int:
    return hour_number(datetime(day.year, day.month, day.day, tzinfo=time_zone_of(zone)).astimezone(UTC))


def _local_date(prices: HourlyPrices, index: int) -> date:
    return instant_of_hour(int(prices.start_hours[index])).astimezone(time_zone_of(prices.zone)).date()
