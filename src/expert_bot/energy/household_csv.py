"""Hourly curve of one household: the CSV layout `fecha,hora,consumo,met_obtencion[,datetime]`.

`hora` labels the END of the hour, 1..24 by the local clock: on the autumn day label 2 stands twice (summer time first),
on the spring day it is missing. A day that shows the ordinal convention instead (1..25, 1..23) is read by it.
Bad rows are rejected one by one, the first row for an hour is kept, and the rest of the file is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from io import IOBase
from typing import Final

from expert_bot.energy.calendar import end_of_hour_labels, hours_of_day, local_hour_of, madrid, period_of
from expert_bot.energy.household_row import COLUMNS, Row, RowError, parse_row, split_columns
from expert_bot.energy.readings import HourlyReading, ReadingMethod
from expert_bot.errors import UsageError

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_ROWS: Final = (5 * 365 + 2) * 24
"""Five years of hours, two leap days included."""

_HEADERS: Final = (COLUMNS[:-1], COLUMNS)
_BOM: Final = b"\xef\xbb\xbf"
_METHOD_NAMES: Final = {ReadingMethod.REAL: "Real", ReadingMethod.ESTIMATED: "Estimado"}


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not used. `line`: number in the file, from 1. `reason`: what was wrong and what is allowed."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCurve:
    """What a file held: `readings` by time, each hour once; `rejected` by line; `rows_read` = both together.

    Blank lines and the header are not rows.
    """

    readings: tuple[HourlyReading, ...]
    rejected: tuple[RejectedRow, ...]
    rows_read: int


def parse_household_csv(source: Iterable[bytes]) -> ParsedCurve:
    """Read the lines of a file (binary stream or any iterable of lines), holding only its rows in memory.

    UTF-8 with or without byte order mark, `,` or `;` between columns, LF or CRLF. Raises UsageError for a file without
    the header, larger than 32 MiB or with more rows than five years have hours.
    """
    rows_by_day: dict[date, list[Row]] = {}
    rejected: list[RejectedRow] = []
    lines = _numbered_lines(source)
    width, separator = _read_header(lines)
    rows_read = 0
    for number, line in lines:
        rows_read += 1
        if rows_read > MAX_ROWS:
            raise UsageError(f"the file has more than {MAX_ROWS} rows (5 years of hours): split it")
        try:
            row = parse_row(number, line, width=width, separator=separator)
        except RowError as error:
            rejected.append(RejectedRow(number, str(error)))
        else:
            rows_by_day.setdefault(row.day, []).append(row)
    readings: list[HourlyReading] = []
    for day in sorted(rows_by_day):
        kept, refused = _place_day(day, rows_by_day[day])
        readings.extend(kept)
        rejected.extend(refused)
    rejected.sort(key=lambda row: row.line)
    return ParsedCurve(readings=tuple(readings), rejected=tuple(rejected), rows_read=rows_read)


def write_household_csv(readings: Iterable[HourlyReading]) -> Iterator[bytes]:
    """Yield the lines of a file that `parse_household_csv` reads back exactly.

    Readings must be in order of time and of whole days in autumn: there the order tells the two hours 2 apart.
    """
    yield (",".join(COLUMNS) + "\n").encode()
    for reading in readings:
        end = (reading.starts_at + timedelta(hours=1)).astimezone(madrid())
        yield (
            f"{reading.local_date},{end.hour or 24},{reading.energy_kwh:f},"
            f"{_METHOD_NAMES[reading.method]},{end:%Y-%m-%d %H:%M:%S}\n"
        ).encode()


def _numbered_lines(source: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers, within the size limit even if there is no line end."""
    left = MAX_BYTES
    chunks = iter(lambda: source.readline(left + 1), b"") if isinstance(source, IOBase) else iter(source)
    for number, line in enumerate(chunks, start=1):
        left -= len(line)
        if left < 0:
            raise UsageError(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB: split it")
        content = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if content:
            yield number, content


def _read_header(lines: Iterator[tuple[int, bytes]]) -> tuple[int, str]:
    """Return the number of columns and the separator that the header announces."""
    expected = f"the first line must be {','.join(COLUMNS)} (datetime may be missing, ';' may separate)"
    first = next(lines, None)
    if first is None:
        raise UsageError(f"the file is empty: {expected}")
    separator = ";" if b";" in first[1] else ","
    try:
        names = tuple(name.strip().lower() for name in split_columns(first[1], separator))
    except RowError as error:
        raise UsageError(f"the file has no header: {expected}") from error
    if names not in _HEADERS:
        raise UsageError(f"the file has no header: {expected}")
    return len(names), separator


@lru_cache(maxsize=4096)
def _hours_by_label(day: date, *, ordinal: bool) -> dict[int, tuple[int, ...]]:
    """Map each label of a day to the positions (0-based) of the hours it may mean."""
    labels = end_of_hour_labels(day)
    if ordinal:
        labels = tuple(range(1, len(labels) + 1))
    return {
        label: tuple(position for position, other in enumerate(labels) if other == label) for label in labels
    }


def _is_ordinal(day: date, rows: list[Row]) -> bool:
    """Tell whether a day of 23 or 25 hours counts its hours instead of reading the clock."""
    labels = {row.label for row in rows}
    match len(hours_of_day(day)):
        case 25:
            return 25 in labels  # noqa: PLR2004 # a label the clock never shows
        case 23:
            return 2 in labels and 24 not in labels  # noqa: PLR2004 # as the day's 23 hours would be counted
        case _:
            return False


def _place_day(day: date, rows: list[Row]) -> tuple[list[HourlyReading], list[RejectedRow]]:
    hours = _hours_by_label(day, ordinal=_is_ordinal(day, rows))
    placed: dict[int, Row] = {}
    rejected: list[RejectedRow] = []
    for row in rows:
        reason = row.fault or _place(row, hours.get(row.label, ()), placed)
        if reason:
            rejected.append(RejectedRow(row.line, reason))
    return [_reading(day, position, placed[position]) for position in sorted(placed)], rejected


def _place(row: Row, positions: tuple[int, ...], placed: dict[int, Row]) -> str:
    """Give a row the first free hour its label may mean; return why not, or the empty string."""
    if not positions:
        length = len(hours_of_day(row.day))
        return f"hora {row.label} does not exist on {row.day}, a day of {length} hours"
    for position in positions:
        if position not in placed:
            placed[position] = row
            return ""
    for position in positions:
        first = placed[position]
        if (first.energy_kwh, first.method) == (row.energy_kwh, row.method):
            return f"duplicate: line {first.line} has the same hour with the same value"
    first = placed[positions[0]]
    return (
        f"conflicting: line {first.line} has the same hour with {first.energy_kwh:f} kWh "
        f"({_METHOD_NAMES[first.method]}), which is kept"
    )


def _reading(day: date, position: int, row: Row) -> HourlyReading:
    starts_at = hours_of_day(day)[position]
    local_hour = position if len(hours_of_day(day)) == 24 else local_hour_of(starts_at).hour  # noqa: PLR2004
    return HourlyReading(
        starts_at=starts_at,
        energy_kwh=row.energy_kwh,
        method=row.method,
        local_date=day,
        local_hour=local_hour,
        period=period_of(day, local_hour),
    )
