"""Rows onto the hours of their days: each hour once, the first row for it is kept, the others are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final, Generic, NamedTuple, TypeVar

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats.days import (
    DAY_MIN,
    HOUR_MIN,
    Amount,
    Edge,
    counting_of,
    local_day,
    slots_by_label,
)
from expert_bot.energy.formats.parsed import RejectedRow

V = TypeVar("V", bound=Amount)

QUARTER_MIN: Final = 15


class Row(NamedTuple, Generic[V]):
    """A row whose date and label are possible. `label`: minutes of its day as written. `value`: compared for duplicates.

    `fault`: why its value cannot be used, or `""`; such a row still shows which way its day is labelled. `is_summer`:
    whether the row says that it is summer time, None if it does not say.
    """

    line: int
    day: date
    label: int
    value: V
    fault: str = ""
    is_summer: bool | None = None


Rows = dict[date, list[Row[V]]]


class Placed(NamedTuple, Generic[V]):
    """The rows of one day by the position of their interval, from 0, in order, and those that found none."""

    day: date
    rows: Mapping[int, Row[V]]
    rejected: list[RejectedRow]


def place(
    rows_by_day: Rows[V], *, zone: TariffZone, edge: Edge, step_min: int = HOUR_MIN
) -> Iterator[Placed[V]]:
    """Give each row the interval that its label means, day by day. A day of 23 or 25 hours is read as it is labelled.

    Takes the days out of `rows_by_day` as it goes, so that rows and what is made of them are never all held at once.
    """
    if edge is Edge.START:
        _take_back_the_25th_hour(rows_by_day, zone)
    for day in sorted(rows_by_day):
        yield _place_day(day, rows_by_day.pop(day), zone, edge, step_min)


def step_of(rows_by_day: Rows[V]) -> int:
    """Tell whether the rows are quarters of hours or hours, in minutes. A stray quarter does not make a file of them."""
    labels = [row.label % HOUR_MIN for rows in rows_by_day.values() for row in rows]
    return QUARTER_MIN if 2 * sum(map(bool, labels)) > len(labels) else HOUR_MIN


def clock_text(label_min: int) -> str:
    """Write a label as people do: 24:00 is the end of the day."""
    return f"{label_min // HOUR_MIN:02d}:{label_min % HOUR_MIN:02d}"


def _place_day(day: date, rows: list[Row[V]], zone: TariffZone, edge: Edge, step_min: int) -> Placed[V]:
    labelled = [(row.label, row.value) for row in rows]
    counting = counting_of(day, labelled, zone=zone, edge=edge, step_min=step_min)
    slots = slots_by_label(day, zone, edge, step_min, counting)
    has_twice = any(len(positions) > 1 for positions in slots.values())
    said = _seasons_that_differ(rows) if has_twice else frozenset()
    placed: dict[int, Row[V]] = {}
    rejected: list[RejectedRow] = []
    for row in rows:
        positions = slots.get(row.label, ())
        if row.label in said and row.is_summer is False:
            positions = positions[::-1]  # the second of the two hours
        reason = row.fault or _place_row(row, positions, placed, zone)
        if reason:
            rejected.append(RejectedRow(row.line, reason))
    return Placed(day, dict(sorted(placed.items())), rejected)


def _seasons_that_differ(rows: list[Row[V]]) -> frozenset[int]:
    """Return the labels whose rows say different seasons: there the season, not the order, tells the hours apart."""
    summer, winter = ({row.label for row in rows if row.is_summer is season} for season in (True, False))
    return frozenset(summer & winter)


def _place_row(row: Row[V], positions: tuple[int, ...], placed: dict[int, Row[V]], zone: TariffZone) -> str:
    """Give a row the first free interval its label may mean; return why not, or the empty string."""
    if not positions:
        length = len(local_day(row.day, zone).starts_at)
        return f"hora {_label_text(row.label)} does not exist on {row.day}, a day of {length} hours"
    for position in positions:
        if position not in placed:
            placed[position] = row
            return ""
    for position in positions:
        first = placed[position]
        if first.value == row.value:
            return f"duplicate: line {first.line} has the same hour with the same value"
    first = placed[positions[0]]
    return f"conflicting: line {first.line} has the same hour with {first.value}, which is kept"


def _label_text(label_min: int) -> str:
    return clock_text(label_min) if label_min % HOUR_MIN else str(label_min // HOUR_MIN)


def _take_back_the_25th_hour(rows_by_day: Rows[V], zone: TariffZone) -> None:
    """Move an autumn day's last hour back to it, where a file counts on from midnight and so writes 0:00 of the next day.

    Only where the autumn day has no hour twice and the next day has two different rows for its first hour.
    """
    for day in list(rows_by_day):
        next_day = day + timedelta(days=1)
        if len(local_day(day, zone).starts_at) != 25 or next_day not in rows_by_day:  # noqa: PLR2004 # autumn
            continue
        labels = [row.label for row in rows_by_day[day]]
        first_hours = [row for row in rows_by_day[next_day] if row.label == 0]
        if len(set(labels)) == len(labels) and len({row.value for row in first_hours}) > 1:
            overflow = first_hours[0]
            rows_by_day[next_day].remove(overflow)
            rows_by_day[day].append(overflow._replace(day=day, label=DAY_MIN))
