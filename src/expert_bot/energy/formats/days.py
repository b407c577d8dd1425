"""How files label the hours of a local day of 23, 24 or 25 hours.

A label names the START or the END of its interval. Where the clock changes there are three ways to count: by the clock
(a label stands twice, or is missing), through the day (1..25, 1..23), or by the clock at the start plus one hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from expert_bot.energy.calendar import TariffZone, period_of, time_zone_of
from expert_bot.energy.readings import Period

HOUR_MIN: Final = 60
DAY_MIN: Final = 24 * HOUR_MIN
_HOUR: Final = timedelta(hours=1)


class Edge(StrEnum):
    """Which end of an interval its label names."""

    START = "start"
    END = "end"


class Counting(Enum):
    """How a day's hours are counted; the order is that of preference where labels do not tell."""

    CLOCK = "clock"
    THROUGH = "through the day"
    START_PLUS_ONE = "start plus one"


class Amount(Hashable, Protocol):
    """What a row holds for its interval."""

    @property
    def is_nothing(self) -> bool:
        """Whether it is 0, as some programs write for an hour that does not exist."""


class LocalDay(NamedTuple):
    """The hours of a local day in order: UTC start, local hour 0..23 at the start, energy period."""

    starts_at: tuple[datetime, ...]
    local_hours: tuple[int, ...]
    periods: tuple[Period, ...]


@lru_cache(maxsize=8192)
def local_day(day: date, zone: TariffZone) -> LocalDay:
    """Return the 23, 24 or 25 hours of a day by the wall clock of a zone."""
    clock = time_zone_of(zone)
    start, end = (_midnight(each, zone) for each in (day, day + timedelta(days=1)))
    starts_at = tuple(start + index * _HOUR for index in range((end - start) // _HOUR))
    is_ordinary = len(starts_at) == 24  # noqa: PLR2004 # the clock changes on no other day
    hours = tuple(range(24)) if is_ordinary else tuple(each.astimezone(clock).hour for each in starts_at)
    return LocalDay(starts_at, hours, tuple(period_of(day, hour, zone) for hour in hours))


@lru_cache(maxsize=8192)
def slots_by_label(
    day: date, zone: TariffZone, edge: Edge, step_min: int, counting: Counting
) -> Mapping[int, tuple[int, ...]]:
    """Map each label of a day, in minutes, to the intervals it may mean: their positions from 0, `step_min` long."""
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(_labels(day, zone, edge, step_min, counting)):
        positions.setdefault(label, []).append(position)
    return {label: tuple(several) for label, several in positions.items()}


def counting_of(
    day: date,
    labelled: Sequence[tuple[int, Amount]],
    *,
    zone: TariffZone = TariffZone.PENINSULA,
    edge: Edge = Edge.END,
    step_min: int = HOUR_MIN,
) -> Counting:
    """Tell how a day's rows, (label, value) each, count its hours: the way in which fewest labels are impossible.

    Then the way in which fewest of these hold something, fewest hours have two different values, fewest rows are too
    many: where a program has filled the hour that spring leaves out with 0, that is the row to lose.
    """
    if len(local_day(day, zone).starts_at) == 24:  # noqa: PLR2004 # then all ways are the same
        return Counting.CLOCK
    rows = Counter(label for label, _ in labelled)
    distinct = Counter(label for label, _ in set(labelled))

    def cost(counting: Counting) -> tuple[int, int, int, int]:
        slots = slots_by_label(day, zone, edge, step_min, counting)
        impossible = [amount for label, amount in labelled if label not in slots]
        lost = sum(not amount.is_nothing for amount in impossible)
        return len(impossible), lost, _too_many(distinct, slots), _too_many(rows, slots)

    return min(Counting, key=cost)


def _too_many(counts: Mapping[int, int], slots: Mapping[int, tuple[int, ...]]) -> int:
    return sum(max(count - len(slots[label]), 0) for label, count in counts.items() if label in slots)


def _labels(day: date, zone: TariffZone, edge: Edge, step_min: int, counting: Counting) -> list[int]:
    count = len(local_day(day, zone).starts_at) * HOUR_MIN // step_min
    through = range(0, count * step_min, step_min)
    if counting is Counting.THROUGH or count * step_min == DAY_MIN:
        return [label + (step_min if edge is Edge.END else 0) for label in through]
    start = _midnight(day, zone)
    if edge is Edge.START:
        return [_clock_minute(start, label, zone) for label in through]
    if counting is Counting.START_PLUS_ONE:
        return [_clock_minute(start, label, zone) + step_min for label in through]
    return [_clock_minute(start, label + step_min, zone) or DAY_MIN for label in through]


def _clock_minute(midnight: datetime, elapsed_min: int, zone: TariffZone) -> int:
    local = (midnight + timedelta(minutes=elapsed_min)).astimezone(time_zone_of(zone))
    return local.hour * HOUR_MIN + local.minute


def _midnight(day: date, zone: TariffZone) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=time_zone_of(zone)).astimezone(UTC)
