"""A simulated household for demonstrations and tests: plausible, and the same for the same seed everywhere.

Whole watt-hours and `Random.random()` only (the one generator whose sequence Python promises to keep), so that neither
the Python version nor the platform's mathematics changes a digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from expert_bot.energy.calendar import Month, hours_of_day, local_hour_of, period_of
from expert_bot.energy.readings import HourlyReading, ReadingMethod

DEMO_SEED: Final = 20230415
_SATURDAY: Final = 5
_BASE_WH: Final = 90
_WORKDAY_WH: Final = (20, 10, 0, 0, 0, 10, 60, 180, 150, 90, 80, 90, 130, 220, 240, 170, 120, 130, 180, 260, 380, 450, 330, 130)  # fmt: skip
_WEEKEND_WH: Final = (50, 30, 10, 0, 0, 0, 10, 50, 130, 220, 250, 240, 270, 360, 340, 250, 190, 180, 210, 280, 370, 420, 320, 160)  # fmt: skip
_SEASON_PCT: Final = (135, 128, 112, 98, 88, 96, 122, 118, 95, 92, 110, 132)
_EXTRA_WH: Final = 900
_EXTRA_CHANCE: Final = 0.03
_ESTIMATED_DAY_CHANCE: Final = 0.01


def simulate_household(*, until: date, months: int = 24, seed: int = DEMO_SEED) -> tuple[HourlyReading, ...]:
    """Return every hour from the first day of the month `months - 1` months before that of `until`, through `until`.

    Base load, evening peak, longer mornings at weekends, more in winter and midsummer, appliances at random, a rare
    day estimated by the distributor. Raises ValueError for fewer than one month.
    """
    if months < 1:
        raise ValueError(f"months must be at least 1, not {months}")
    random = Random(seed)  # noqa: S311 # a repeatable curve, not a secret
    first_day = Month.of(until).plus(1 - months).first_day
    return tuple(reading for day in _days(first_day, until) for reading in _simulate_day(day, random))


def _days(first: date, last: date) -> Iterator[date]:
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def _simulate_day(day: date, random: Random) -> Iterator[HourlyReading]:
    method = ReadingMethod.ESTIMATED if random.random() < _ESTIMATED_DAY_CHANCE else ReadingMethod.REAL
    mood_pct = 85 + int(random.random() * 31)
    for starts_at in hours_of_day(day):
        yield _simulate_hour(day, starts_at, method, mood_pct, random)


def _simulate_hour(
    day: date, starts_at: datetime, method: ReadingMethod, mood_pct: int, random: Random
) -> HourlyReading:
    hour = local_hour_of(starts_at).hour
    shape = _WEEKEND_WH if day.weekday() >= _SATURDAY else _WORKDAY_WH
    noise_pct = 70 + int(random.random() * 61)
    active_wh = shape[hour] * _SEASON_PCT[day.month - 1] * mood_pct * noise_pct // 1_000_000
    appliance_wh = int(random.random() * _EXTRA_WH) if random.random() < _EXTRA_CHANCE else 0
    return HourlyReading(
        starts_at=starts_at,
        energy_kwh=Decimal(_BASE_WH + active_wh + appliance_wh).scaleb(-3),
        method=method,
        local_date=day,
        local_hour=hour,
        period=period_of(day, hour),
    )
