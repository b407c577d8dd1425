"""Which end of its interval a label names: the layout says so, but some files of a layout are labelled the other way.

In layouts of END labels 00:00 is the end of the day before, for distributors that write it where others write 24:00. A
file that never writes 24:00 may as well hold whole days of START labels, 00:00..23:00. Its first and last day tell:

- START labels begin with the first day's 00:00 and lack nothing on the last day.
- END labels begin after the first day's 00:00, and their last midnight stands alone on the day after, or is not there.
- Where one of the two days speaks for each the file does not tell: it is read as its layout means it, and a note says so.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, NamedTuple, TypeVar

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats.days import (
    DAY_MIN,
    HOUR_MIN,
    Amount,
    Counting,
    Edge,
    local_day,
    slots_by_label,
)
from expert_bot.energy.formats.placing import Row, Rows

V = TypeVar("V", bound=Amount)

READ_AS_START: Final = (
    "no label is 24:00, the first day begins with 00:00 and the last day lacks nothing, so the labels are read as the "
    "START of their intervals; in other files of this layout they are the END"
)
NOT_TOLD: Final = (
    "00:00 is read as the end of the day before, as files of this layout mean it; the first and the last day do not "
    "tell whether the labels are the START of their intervals, which would be later by one interval"
)
_ONE_DAY: Final = timedelta(days=1)


class ShownEdge(NamedTuple):
    """Which end the labels of a file name. `note`: what is odd about it, or empty."""

    edge: Edge
    note: str = ""


def shown_edge(rows_by_day: Rows[V], usual: Edge, *, zone: TariffZone, step_min: int) -> ShownEdge:
    """Tell which end the labels of a whole file name; `usual`: what its layout says."""
    # Days on which the clock changes may count on to 24:00, or leave a label out, in files of either kind.
    ordinary = {
        row.label
        for day, rows in rows_by_day.items()
        if len(local_day(day, zone).starts_at) * HOUR_MIN == DAY_MIN
        for row in rows
    }
    if usual is Edge.START:
        return ShownEdge(Edge.END if DAY_MIN in ordinary and 0 not in ordinary else usual)
    has_midnight = any(not row.label for rows in rows_by_day.values() for row in rows)
    if not has_midnight or DAY_MIN in ordinary:
        return ShownEdge(usual)
    first, last = min(rows_by_day), max(rows_by_day)
    begins_at_midnight = any(not row.label for row in rows_by_day[first])
    ends_whole = _is_whole(last, {row.label for row in rows_by_day[last]}, zone, step_min)
    if begins_at_midnight and ends_whole:
        return ShownEdge(Edge.START, READ_AS_START)
    return ShownEdge(usual, NOT_TOLD if begins_at_midnight or ends_whole else "")


def put_midnights_last(rows_by_day: Rows[V]) -> None:
    """Move each 00:00 to the day before, as its 24:00, where labels are ENDs."""
    for day in sorted(rows_by_day):
        midnights = [row for row in rows_by_day[day] if not row.label]
        if midnights:
            _keep(rows_by_day, day, [row for row in rows_by_day[day] if row.label])
            before = day - _ONE_DAY
            moved = [row._replace(day=before, label=DAY_MIN) for row in midnights]
            _keep(rows_by_day, before, [*rows_by_day.get(before, ()), *moved])


def _keep(rows_by_day: Rows[V], day: date, rows: list[Row[V]]) -> None:
    """Replace a day's rows, by line: the first row for an hour is the one that is kept."""
    if rows:
        rows_by_day[day] = sorted(rows, key=lambda row: row.line)
    else:
        del rows_by_day[day]


def _is_whole(day: date, labels: set[int], zone: TariffZone, step_min: int) -> bool:
    """Tell whether START labels lack nothing on a day."""
    return any(
        slots_by_label(day, zone, Edge.START, step_min, counting).keys() <= labels for counting in Counting
    )
