"""Consumption files: the layout is found by the content, never by the name."""

from __future__ import annotations

from collections.abc import Iterable

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats.cells import RowError
from expert_bot.energy.formats.csv_layouts import find_header, layout_of
from expert_bot.energy.formats.csv_rows import RowReader
from expert_bot.energy.formats.datadis_json import parse_datadis
from expert_bot.energy.formats.hours import parsed_curve
from expert_bot.energy.formats.lines import MAX_BYTES, Content
from expert_bot.energy.formats.parsed import Layout, Maximum, ParsedCurve, RejectedRow, SupplyContract
from expert_bot.energy.formats.rows import MAX_ROWS, RowBook

__all__ = [
    "MAX_BYTES",
    "MAX_ROWS",
    "Layout",
    "Maximum",
    "ParsedCurve",
    "RejectedRow",
    "SupplyContract",
    "parse_curve",
]

_JSON_STARTS = (b"{", b"[")


def parse_curve(source: Iterable[bytes], *, zone: TariffZone = TariffZone.PENINSULA) -> ParsedCurve:
    """Read a file in any known layout, holding only its rows in memory.

    `source`: a binary stream or the bytes of a file in pieces. UTF-8 (byte order mark or not) or Latin-1; lines end with
    LF, CRLF or CR.
    Labels are read by the wall clock of `zone`. Bad rows are rejected one by one, the first row for an hour is kept.
    Raises UsageError for a file of no known layout, of several supply points, larger than 32 MiB or with more rows than
    five years have hours.
    """
    content = Content(source)
    first = content.first_byte()
    if first in _JSON_STARTS:
        return parse_datadis(content.whole(), zone=zone)
    return _parse_csv(content, zone)


def _parse_csv(content: Content, zone: TariffZone) -> ParsedCurve:
    lines = content.lines()
    layout = find_header(lines)
    reader, book = RowReader(layout), RowBook()
    for number, line in lines:
        book.count_row()
        try:
            book.add(reader.read(number, line))
        except RowError as error:
            book.reject(number, _reason(line, error))
    book.cups = reader.cups
    book.notes.append(reader.panels.note)
    return parsed_curve(book, layout=layout.layout, zone=zone, edge=layout.edge)


def _reason(line: bytes, error: RowError) -> str:
    if b"total" in line.lower():
        return "a row of totals, not of an hour"
    return "the header again" if layout_of(line) is not None else str(error)
