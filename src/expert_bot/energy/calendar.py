"""The calendar a supply is billed by: 2.0TD periods, local hours of Europe/Madrid, months.

Days have 23, 24 or 25 hours. Instants are UTC; what people read (dates, hours, months) is the local clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final, Self
from zoneinfo import ZoneInfo

from expert_bot.energy.readings import Period

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
"""Years in which a reading or a question may lie; anything else is a mistake in the data."""

_HOUR: Final = timedelta(hours=1)
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DECEMBER: Final = 12
_SATURDAY: Final = 5


class TariffZone(StrEnum):
    """Where a supply point is, as far as the hours of 2.0TD depend on it."""

    PENINSULA = "peninsula"
    BALEARES = "baleares"
    CANARIAS = "canarias"
    CEUTA = "ceuta"
    MELILLA = "melilla"


_P1, _P2, _P3 = Period.P1, Period.P2, Period.P3
_COMMON_HOURS: Final = (_P3,) * 8 + (_P2,) * 2 + (_P1,) * 4 + (_P2,) * 4 + (_P1,) * 4 + (_P2,) * 2
_AFRICAN_HOURS: Final = (_P3,) * 8 + (_P2,) * 3 + (_P1,) * 4 + (_P2,) * 4 + (_P1,) * 4 + (_P2,) * 1
_WORKING_DAY: Final[Mapping[TariffZone, tuple[Period, ...]]] = {
    TariffZone.PENINSULA: _COMMON_HOURS,
    TariffZone.BALEARES: _COMMON_HOURS,
    TariffZone.CANARIAS: _COMMON_HOURS,
    TariffZone.CEUTA: _AFRICAN_HOURS,
    TariffZone.MELILLA: _AFRICAN_HOURS,
}
_VALLEY_DATES: Final = frozenset(
    {(1, 1), (1, 6), (5, 1), (8, 15), (10, 12), (11, 1), (12, 6), (12, 8), (12, 25)}
)


def period_of(local_date: date, local_hour: int, zone: TariffZone = TariffZone.PENINSULA) -> Period:
    """Return the 2.0TD energy period of the hour that starts at `local_hour` (0..23).

    Saturdays, Sundays and nine fixed dates are all P3; holidays without a fixed date (Good Friday), regional ones and
    moved Mondays are not. Source: Circular CNMC 3/2020, art. 7. Raises ValueError for an hour outside 0..23.
    """
    if not 0 <= local_hour < 24:  # noqa: PLR2004 # a clock has 24 hours
        raise ValueError(f"local_hour must be 0..23, not {local_hour}")
    if local_date.weekday() >= _SATURDAY or (local_date.month, local_date.day) in _VALLEY_DATES:
        return Period.P3
    return _WORKING_DAY[zone][local_hour]


@cache
def madrid() -> ZoneInfo:
    """Return the time zone that readings are labelled in."""
    return ZoneInfo("Europe/Madrid")


@cache
def time_zone_of(zone: TariffZone) -> ZoneInfo:
    """Return the wall clock of a zone: the Canaries have their own."""
    return ZoneInfo("Atlantic/Canary") if zone is TariffZone.CANARIAS else madrid()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHour:
    """One hour by the local clock: `hour` 0..23 is its start, `fold` 1 for the second 02:00 of the autumn change."""

    day: date
    hour: int
    fold: int = 0


def local_hour_of(starts_at: datetime) -> LocalHour:
    """Return the local label of the hour that starts at an aware instant."""
    local = starts_at.astimezone(madrid())
    return LocalHour(day=local.date(), hour=local.hour, fold=local.fold)


def instant_of(label: LocalHour) -> datetime:
    """Return the UTC instant a local hour starts at; the inverse of `local_hour_of`.

    Raises ValueError for an hour the clock skips that day, or a second one it does not repeat.
    """
    day, hour = label.day, label.hour
    local = datetime(day.year, day.month, day.day, hour, tzinfo=madrid(), fold=label.fold)
    instant = local.astimezone(UTC)
    if local_hour_of(instant) != label:
        raise ValueError(f"{label.day} has no hour {label.hour} (fold {label.fold}) in {madrid().key}")
    return instant


@lru_cache(maxsize=4096)
def hours_of_day(day: date) -> tuple[datetime, ...]:
    """Return the UTC instants at which the 23, 24 or 25 hours of a local day start, in order."""
    start, end = _midnight(day), _midnight(day + timedelta(days=1))
    return tuple(start + index * _HOUR for index in range((end - start) // _HOUR))


def end_of_hour_labels(day: date) -> tuple[int, ...]:
    """Return the labels 1..24 of a local day's hours by the clock at the END of each hour, in order.

    The last is 24. In autumn label 2 stands twice (02:00 summer time, then 02:00 winter time), in spring it is missing.
    """
    ends = [local_hour_of(start + _HOUR).hour for start in hours_of_day(day)]
    return tuple(hour or 24 for hour in ends)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A local calendar month. ValueError outside the years 1900..2999 or the months 1..12."""

    year: int
    number: int

    def __post_init__(self) -> None:
        if not (1900 <= self.year <= 2999 and 1 <= self.number <= _DECEMBER):  # noqa: PLR2004 # see docstring
            raise ValueError(f"not a month: {self.year}-{self.number} (years 1900..2999, months 1..12)")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `YYYY-MM`. Raises ValueError for anything else."""
        match = _MONTH.fullmatch(text)
        if match is None:
            raise ValueError(f"not a month: {text[:20]!r}; write YYYY-MM")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Self:
        """Return the month a day lies in."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def plus(self, months: int) -> Month:
        """Return the month that many months later, earlier if negative."""
        years, index = divmod(self.number - 1 + months, _DECEMBER)
        return Month(self.year + years, index + 1)

    @property
    def previous(self) -> Month:
        """The month before."""
        return self.plus(-1)

    @property
    def first_day(self) -> date:
        """The first day."""
        return date(self.year, self.number, 1)

    @property
    def end(self) -> date:
        """The first day after the month (exclusive end)."""
        return self.plus(1).first_day

    @property
    def hours(self) -> int:
        """How many hours the month has on the local clock of Europe/Madrid, clock changes included."""
        return (_midnight(self.end) - _midnight(self.first_day)) // _HOUR


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=madrid()).astimezone(UTC)
