"""An hourly curve as columns: what every analysis computes on.

Energy is held in whole nano-kWh (1e-9 kWh, the finest a reading can be), so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from expert_bot.energy.calendar import Month, TariffZone, period_of, time_zone_of
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

NANO: Final = 1_000_000_000
PERIODS: Final = tuple(Period)
"""Periods by the number that `Curve.periods` holds: 0 is P1, 1 is P2, 2 is P3."""

_NANO_DIGITS: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.date()
_HOUR: Final = timedelta(hours=1)
_HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Hours with a reading, each once, in order of time; all columns have the same length.

    `start_hours`: hours since 1970-01-01T00Z. `energy_nkwh`: 1e-9 kWh, 0 or more. `estimated`: by the distributor.
    `surplus_nkwh`: fed into the grid, 0 or more; None for a home that has no such readings (an hour without one is 0).
    By the wall clock of `zone`: `local_days` days since 1970-01-01 (never falling), `local_hours` 0..23 START of hour,
    `periods` the 2.0TD energy period, an index into `PERIODS`. Make one with `Curve.of` or `Curve.from_readings`.
    """

    zone: TariffZone
    start_hours: Ints
    energy_nkwh: Ints
    estimated: Bools
    surplus_nkwh: Ints | None
    local_days: Ints
    local_hours: Ints
    periods: Ints

    @classmethod
    def of(
        cls,
        start_hours: Ints,
        energy_nkwh: Ints,
        estimated: Bools,
        *,
        surplus_nkwh: Ints | None = None,
        zone: TariffZone = TariffZone.PENINSULA,
    ) -> Curve:
        """Label hours by the wall clock of `zone`. Raises ValueError if hours do not rise or lengths differ."""
        columns = (energy_nkwh, estimated, *(() if surplus_nkwh is None else (surplus_nkwh,)))
        if any(len(column) != len(start_hours) for column in columns):
            raise ValueError("all columns of a curve must have the same length")
        if np.any(np.diff(start_hours) <= 0):
            raise ValueError("the hours of a curve must rise, each once")
        local = start_hours + _offsets(start_hours, zone)
        local_days, local_hours = np.divmod(local, _HOURS_A_DAY)
        return cls(
            zone=zone,
            start_hours=start_hours,
            energy_nkwh=energy_nkwh,
            estimated=estimated,
            surplus_nkwh=surplus_nkwh,
            local_days=local_days,
            local_hours=local_hours,
            periods=_periods(local_days, local_hours, zone),
        )

    @classmethod
    def from_readings(
        cls, readings: Sequence[HourlyReading], *, zone: TariffZone = TariffZone.PENINSULA
    ) -> Curve:
        """Put readings, sorted by time, into columns. Raises ValueError if two have the same hour."""
        has_surplus = any(reading.surplus_kwh is not None for reading in readings)
        return cls.of(
            _ints((reading.starts_at - _EPOCH) // _HOUR for reading in readings),
            _ints(nano(reading.energy_kwh) for reading in readings),
            np.array([reading.method is ReadingMethod.ESTIMATED for reading in readings], dtype=np.bool_),
            surplus_nkwh=_ints(nano(reading.surplus_kwh or Decimal(0)) for reading in readings)
            if has_surplus
            else None,
            zone=zone,
        )

    def __len__(self) -> int:
        return len(self.start_hours)

    @property
    def energy_kwh(self) -> Floats:
        """Energy of each hour in kWh as floating point, for statistics; money is computed from the exact columns."""
        return self.energy_nkwh / NANO

    @property
    def first_day(self) -> date | None:
        """First local day with a reading."""
        return day_of(int(self.local_days[0])) if len(self) else None

    @property
    def last_day(self) -> date | None:
        """Last local day with a reading."""
        return day_of(int(self.local_days[-1])) if len(self) else None

    def between(self, first: date | None = None, until: date | None = None) -> Curve:
        """Return the hours of the local days from `first` to `until` (exclusive); None leaves that end open."""
        start = 0 if first is None else int(np.searchsorted(self.local_days, day_number(first)))
        stop = len(self) if until is None else int(np.searchsorted(self.local_days, day_number(until)))
        return self._cut(slice(start, max(start, stop)))

    def where(self, mask: Bools) -> Curve:
        """Return the hours where `mask` is true."""
        return self._cut(mask)

    def months(self) -> Iterator[tuple[Month, Curve]]:
        """Yield the hours of each local calendar month with readings, oldest first."""
        month = Month.of(self.first_day) if self.first_day else None
        last = Month.of(self.last_day) if self.last_day else None
        while month is not None and last is not None and month <= last:
            hours = self.between(month.first_day, month.end)
            if len(hours):
                yield month, hours
            month = month.plus(1)

    def kwh_by_period(self) -> dict[Period, Decimal]:
        """Return the exact kWh of each energy period, 0 where there is none."""
        return {
            period: kwh(int(self.energy_nkwh[self.periods == index].sum()))
            for index, period in enumerate(PERIODS)
        }

    def total_kwh(self) -> Decimal:
        """Return the exact sum, kWh."""
        return kwh(int(self.energy_nkwh.sum()))

    def surplus_kwh(self) -> Decimal:
        """Return the exact energy fed into the grid, kWh; 0 for a home without such readings."""
        return kwh(0 if self.surplus_nkwh is None else int(self.surplus_nkwh.sum()))

    def _cut(self, part: slice | Bools) -> Curve:
        return replace(
            self,
            start_hours=self.start_hours[part],
            energy_nkwh=self.energy_nkwh[part],
            estimated=self.estimated[part],
            surplus_nkwh=None if self.surplus_nkwh is None else self.surplus_nkwh[part],
            local_days=self.local_days[part],
            local_hours=self.local_hours[part],
            periods=self.periods[part],
        )


def nano(amount: Decimal) -> int:
    """Return an amount in whole billionths, exactly. Raises ValueError if it is finer than that."""
    scaled = amount.scaleb(_NANO_DIGITS)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{amount} has more than {_NANO_DIGITS} decimals")
    return whole


def kwh(amount_nkwh: int) -> Decimal:
    """Return nano-kWh as an exact Decimal of kWh, without trailing zeros after the point."""
    exact = Decimal(amount_nkwh).scaleb(-_NANO_DIGITS)
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact.normalize()


def day_number(day: date) -> int:
    """Return a day as `Curve.local_days` counts it: days since 1970-01-01."""
    return (day - _EPOCH_DAY).days


def day_of(number: int) -> date:
    """Return the day that `day_number` counts."""
    return _EPOCH_DAY + timedelta(days=number)


def hour_number(instant: datetime) -> int:
    """Return an aware instant as `Curve.start_hours` counts it: whole hours since 1970-01-01T00Z."""
    return (instant - _EPOCH) // _HOUR


def instant_of_hour(number: int) -> datetime:
    """Return the UTC instant that `hour_number` counts."""
    return _EPOCH + number * _HOUR


def expected_hours(first: date, until: date, zone: TariffZone = TariffZone.PENINSULA) -> int:
    """Return how many hours the local days from `first` to `until` (exclusive) have, clock changes included."""
    clock = time_zone_of(zone)
    start, end = (datetime(day.year, day.month, day.day, tzinfo=clock) for day in (first, until))
    return (end.astimezone(UTC) - start.astimezone(UTC)) // _HOUR


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _offsets(start_hours: Ints, zone: TariffZone) -> Ints:
    """Return how many hours the wall clock is ahead of UTC in each hour."""
    if not len(start_hours):
        return np.zeros(0, dtype=np.int64)
    first, last = (instant_of_hour(int(start_hours[index])).year for index in (0, -1))
    steps = [step for year in range(first, last + 1) for step in _clock_steps(zone, year)]
    positions = np.searchsorted(_ints(hour for hour, _ in steps), start_hours, side="right") - 1
    offsets: Ints = _ints(offset for _, offset in steps)[positions]
    return offsets


@lru_cache(maxsize=1024)
def _clock_steps(zone: TariffZone, year: int) -> tuple[tuple[int, int], ...]:
    """Return (hour number, offset) at the start of a UTC year and wherever the offset changes in it."""
    clock = time_zone_of(zone)
    start, end = (hour_number(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1))

    def offset(hour: int) -> int:
        ahead = instant_of_hour(hour).astimezone(clock).utcoffset() or timedelta()
        return ahead // _HOUR

    steps = [(start, offset(start))]
    for day in range(start, end, _HOURS_A_DAY):
        if offset(day + _HOURS_A_DAY - 1) != steps[-1][1]:
            changed = next(hour for hour in range(day, day + _HOURS_A_DAY) if offset(hour) != steps[-1][1])
            steps.append((changed, offset(changed)))
    return tuple(steps)


def _periods(local_days: Ints, local_hours: Ints, zone: TariffZone) -> Ints:
    """Return the energy period of each hour, from the table of each of its days."""
    if not len(local_days):
        return np.zeros(0, dtype=np.int64)
    first = int(local_days[0])
    table = np.array(
        [_periods_of_day(number, zone) for number in range(first, int(local_days[-1]) + 1)], dtype=np.int64
    )
    labelled: Ints = table[local_days - first, local_hours]
    return labelled


@lru_cache(maxsize=16384)
def _periods_of_day(number: int, zone: TariffZone) -> tuple[int, ...]:
    day = day_of(number)
    return tuple(PERIODS.index(period_of(day, hour, zone)) for hour in range(_HOURS_A_DAY))
