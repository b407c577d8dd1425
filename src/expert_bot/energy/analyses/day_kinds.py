"""Which days are alike: workdays, Saturdays, Sundays together with national holidays."""

from __future__ import annotations

from datetime import date, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np

from expert_bot.energy.calendar import period_of
from expert_bot.energy.curve import Ints, day_of
from expert_bot.energy.readings import Period

_SATURDAY: Final = 5
_NOON: Final = 12
_GOOD_FRIDAY: Final = timedelta(days=-2)
_LEAP_DAY: Final = (2, 29)
_SOME_YEARS: Final = (2021, 2022, 2023)


class DayKind(IntEnum):
    """How people live on a day, which is not how it is billed: Good Friday is a holiday here."""

    WORKDAY = 0
    SATURDAY = 1
    REST_DAY = 2


@lru_cache(maxsize=16384)
def kind_of(day: date) -> DayKind:
    """Return the kind of a local day; holidays are the nine dates of 2.0TD and Good Friday, not regional ones."""
    if day.weekday() > _SATURDAY or _is_holiday(day):
        return DayKind.REST_DAY
    return DayKind.SATURDAY if day.weekday() == _SATURDAY else DayKind.WORKDAY


def kinds_of(day_numbers: Ints) -> Ints:
    """Return the kind of each day, given as days since 1970-01-01."""
    return np.array([kind_of(day_of(int(number))) for number in day_numbers], dtype=np.int64)


def easter_sunday(year: int) -> date:
    """Return Easter Sunday of a Gregorian year (Meeus/Jones/Butcher)."""
    century, rest = divmod(year, 100)
    golden = year % 19
    skipped = century - century // 4 - (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + skipped + 15) % 30
    to_sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _is_holiday(day: date) -> bool:
    """Tell a holiday: in a year where it falls on a weekday its date is P3 at noon (Circular CNMC 3/2020, art. 7)."""
    if day.month in (3, 4) and day == easter_sunday(day.year) + _GOOD_FRIDAY:
        return True
    if (day.month, day.day) == _LEAP_DAY:
        return False
    dates = (day.replace(year=year) for year in _SOME_YEARS)
    weekday = next(other for other in dates if other.weekday() < _SATURDAY)
    return period_of(weekday, _NOON) is Period.P3
