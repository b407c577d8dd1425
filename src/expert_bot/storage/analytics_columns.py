"""Readings and prices as whole columns of integers, the form in which both engines take and return them in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from expert_bot.energy.calendar import TariffZone, time_zone_of
from expert_bot.energy.curve import PERIODS, Curve, Ints, day_number, instant_of_hour, nano
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.energy.usage import MonthUsage
from expert_bot.ports_analytics import MAX_DAYS

NONE: Final = -1
"""Stands for a missing amount: amounts are 0 or more."""

Columns = dict[str, Ints]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_MOST_NKWH: Final = 2**63 - 1


def reading_columns(readings: Sequence[HourlyReading]) -> Columns:
    """Return readings as columns of equal length.

    `start_hour` since 1970-01-01T00Z; `energy_nkwh`, `surplus_nkwh`, `generation_nkwh`, `self_consumption_nkwh` in 1e-9
    kWh, NONE where there is none; `is_estimated` 0 or 1; `local_day` since 1970-01-01; `local_hour`; `period` 1 to 3.
    Raises ValueError (an hour twice, naive or not on the hour; too many days; an amount below 0 or beyond nine decimals).
    """
    start_hours = _hours([reading.starts_at for reading in readings])
    numbers_of_days = {day: day_number(day) for day in {reading.local_date for reading in readings}}
    local_days = _ints([numbers_of_days[reading.local_date] for reading in readings])
    _check(start_hours, local_days)
    numbers = {period: index + 1 for index, period in enumerate(PERIODS)}
    return {
        "start_hour": start_hours,
        "energy_nkwh": _amounts("energy_kwh", [reading.energy_kwh for reading in readings]),
        "is_estimated": _ints([reading.method is ReadingMethod.ESTIMATED for reading in readings]),
        "local_day": local_days,
        "local_hour": _ints([reading.local_hour for reading in readings]),
        "period": _ints([numbers[reading.period] for reading in readings]),
        "surplus_nkwh": _amounts("surplus_kwh", [reading.surplus_kwh for reading in readings]),
        "generation_nkwh": _amounts("generation_kwh", [reading.generation_kwh for reading in readings]),
        "self_consumption_nkwh": _amounts(
            "self_consumption_kwh", [reading.self_consumption_kwh for reading in readings]
        ),
    }


def price_columns(prices: HourlyPrices) -> Columns:
    """Return prices as columns: `start_hour` since 1970-01-01T00Z, `price_neur` per kWh in 1e-9 EUR, `local_day`.

    Raises ValueError (an hour twice, too many days, columns of unequal length).
    """
    if len(prices.start_hours) != len(prices.price_neur):
        raise ValueError("prices must have as many hours as values")
    clock = time_zone_of(prices.zone)
    days = [
        day_number(instant_of_hour(hour).astimezone(clock).date()) for hour in prices.start_hours.tolist()
    ]
    local_days = _ints(days)
    _check(prices.start_hours, local_days)
    return {"start_hour": prices.start_hours, "price_neur": prices.price_neur, "local_day": local_days}


def curve_of(columns: Iterable[Ints], zone: TariffZone) -> Curve:
    """Return start hours, nano-kWh, 1 for estimated, surplus in nano-kWh or NONE, in order of time, as a curve."""
    start_hours, energy_nkwh, estimated, surplus_nkwh = columns
    has_surplus = bool(np.any(surplus_nkwh != NONE))
    return Curve.of(
        start_hours,
        energy_nkwh,
        estimated.astype(np.bool_),
        surplus_nkwh=np.maximum(surplus_nkwh, 0) if has_surplus else None,
        zone=zone,
    )


def day_range(first: date | None, until: date | None) -> tuple[date, date]:
    """Return first and last stored day to look at: one more at each end, as zones do not have the same midnight."""
    return (date.min if first in (None, date.min) else first - _DAY, date.max if until is None else until)


def month_usage(row: Sequence[Any]) -> MonthUsage:
    """Return a month from month, kWh of P1, P2 and P3 (None: none), hours, estimated hours, first and last day."""
    month, p1, p2, p3, hours, estimated_hours, first_day, last_day = row
    return MonthUsage(
        month=month,
        energy_kwh={Period.P1: trimmed(p1), Period.P2: trimmed(p2), Period.P3: trimmed(p3)},
        hours=hours,
        estimated_hours=estimated_hours,
        first_day=first_day,
        last_day=last_day,
    )


def trimmed(stored: Decimal | None) -> Decimal:
    """Drop the zeros that the column's scale adds: 47.546, not 47.546000000; nothing is 0."""
    if stored is None:
        return Decimal(0)
    text = f"{stored:f}"
    return Decimal(text.rstrip("0").rstrip(".")) if "." in text else stored


def _hours(instants: Sequence[datetime]) -> Ints:
    if any(instant.tzinfo is None for instant in instants):
        raise ValueError("starts_at of a reading must be aware")
    parts = [divmod(instant - _EPOCH, _HOUR) for instant in instants]
    if any(rest for _, rest in parts):
        raise ValueError("starts_at of a reading must be on the hour")
    return _ints([hour for hour, _ in parts])


def _check(hours: Ints, local_days: Ints) -> None:
    if len(np.unique(hours)) != len(hours):
        raise ValueError("what is stored must have each hour once")
    if (days := len(np.unique(local_days))) > MAX_DAYS:
        raise ValueError(f"at most {MAX_DAYS} days can be stored at once, not {days}")


def _amounts(name: str, amounts: Sequence[Decimal | None]) -> Ints:
    whole = [NONE if amount is None else nano(amount) for amount in amounts]
    for amount, scaled in zip(amounts, whole, strict=True):
        if amount is not None and not 0 <= scaled <= _MOST_NKWH:
            raise ValueError(f"{name} must be 0 to {_MOST_NKWH // 10**9} kWh, not {amount}")
    return _ints(whole)


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)
