"""Files of PVPC prices: CSV by the hour, JSON of the ESIOS indicator 1001, JSON of the daily archive PVPC_CURV_DD.

Labels are the local clock of Europe/Madrid at the START of the hour, whatever the zone: the prices of Canarias are
published for the same hours of the day and are put at those of its own clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np

from expert_bot.energy.calendar import TariffZone, madrid
from expert_bot.energy.curve import nano
from expert_bot.energy.formats.cells import RowError, parse_date, shown
from expert_bot.energy.formats.csv_layouts import (
    check_width,
    decode,
    split_columns,
    without_trailing,
)
from expert_bot.energy.formats.days import HOUR_MIN, Edge
from expert_bot.energy.formats.json_numbers import Number, number_text
from expert_bot.energy.formats.lines import Content
from expert_bot.energy.formats.parsed import RejectedRow
from expert_bot.energy.formats.placing import Row, Rows, place
from expert_bot.energy.hourly_prices import AFRICAN_ZONES, HourlyPrices, start_hour
from expert_bot.errors import UsageError

MAX_PRICE_EUR_PER_KWH: Final = 10
MAX_ROWS: Final = 20 * 366 * 24
"""Twenty years of hours."""

GEOS: Final = {
    TariffZone.PENINSULA: 8741,
    TariffZone.CANARIAS: 8742,
    TariffZone.BALEARES: 8743,
    TariffZone.CEUTA: 8744,
    TariffZone.MELILLA: 8745,
}
INDICATOR: Final = 1001
"""ESIOS indicator of the PVPC's energy term, 2.0TD, EUR/MWh."""

_STAMP: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}):00(?::00(?:\.0+)?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_SPAN: Final = re.compile(r"(\d{2})-(\d{2})", re.ASCII)
_PRICE: Final = re.compile(r"[+-]?\d{1,9}(?:[.,]\d{0,9})?", re.ASCII)
_COLUMNS: Final = {
    "price": 0,
    "precio": 0,
    "price_eur_per_kwh": 0,
    "price_eur_mwh": -3,
    "price_eur_per_mwh": -3,
}
"""Names of a price column with the power of ten that makes it EUR/kWh."""
_TIMES: Final = ("datetime", "starts_at", "fecha")
_KNOWN: Final = (
    "known: CSV datetime,price (START of the hour, local time of Madrid or with its offset, EUR/kWh; price_eur_per_mwh "
    "for EUR/MWh), JSON of the ESIOS indicator 1001, JSON of the archive PVPC_CURV_DD"
)


class _Price(NamedTuple):
    eur_per_kwh: Decimal

    @property
    def is_nothing(self) -> bool:
        """Whether the hour costs nothing."""
        return not self.eur_per_kwh

    def __str__(self) -> str:
        return f"{self.eur_per_kwh:f} EUR/kWh"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPrices:
    """What a file of prices held: `rejected` by line (in JSON by element, from 1); `rows_read` = prices and rejected."""

    prices: HourlyPrices
    rejected: tuple[RejectedRow, ...]
    rows_read: int


def parse_prices(source: Iterable[bytes], *, zone: TariffZone = TariffZone.PENINSULA) -> HourlyPrices:
    """Return the prices of a file for a zone. Raises UsageError for an unknown file, and if no row of it can be used."""
    parsed = read_prices(source, zone=zone)
    if not len(parsed.prices):
        first = f"; row {parsed.rejected[0].line}: {parsed.rejected[0].reason}" if parsed.rejected else ""
        raise UsageError(f"none of the {parsed.rows_read} prices of the file can be used{first}")
    return parsed.prices


def read_prices(source: Iterable[bytes], *, zone: TariffZone = TariffZone.PENINSULA) -> ParsedPrices:
    """Read a file of prices; bad rows are rejected one by one, the first price of an hour is kept.

    `source`: a binary stream or the bytes of a file in pieces, at most 32 MiB. Raises UsageError for a file that is none
    of the known ones, or has no prices of the zone.
    """
    content = Content(source)
    if content.first_byte() in (b"{", b"["):
        rows = _json_rows(content.whole(), zone)
    else:
        rows = _csv_rows(content.lines())
    by_day: Rows[_Price] = {}
    rejected: list[RejectedRow] = []
    rows_read = 0
    for row in rows:
        rows_read += 1
        if rows_read > MAX_ROWS:
            raise UsageError(f"the file has more than {MAX_ROWS} prices (20 years): split it")
        if isinstance(row, RejectedRow):
            rejected.append(row)
        else:
            by_day.setdefault(row.day, []).append(row)
    hours: list[tuple[int, int]] = []
    for day in place(by_day, zone=TariffZone.PENINSULA, edge=Edge.START):
        rejected.extend(day.rejected)
        hours.extend(
            (start_hour(day.day, position, zone), nano(row.value.eur_per_kwh))
            for position, row in day.rows.items()
        )
    columns = np.array(hours, dtype=np.int64).reshape(-1, 2)
    return ParsedPrices(
        prices=HourlyPrices(zone=zone, start_hours=columns[:, 0].copy(), price_neur=columns[:, 1].copy()),
        rejected=tuple(sorted(rejected, key=lambda row: row.line)),
        rows_read=rows_read,
    )


def _csv_rows(lines: Iterator[tuple[int, bytes]]) -> Iterator[Row[_Price] | RejectedRow]:
    _, header = next(lines, (0, b""))
    separator = ";" if b";" in header else ","
    names = _header_names(header, separator)
    at_time = next((names.index(name) for name in _TIMES if name in names), None)
    at_price = next((names.index(name) for name in _COLUMNS if name in names), None)
    if at_time is None or at_price is None:
        raise UsageError(f"the file is no file of prices; {_KNOWN}")
    exponent = _COLUMNS[names[at_price]]
    for number, line in lines:
        try:
            cells = split_columns(line, separator)
            check_width(cells, len(names))
            price = _price(cells[at_price].strip(), exponent)
            yield _stamped(number, cells[at_time].strip(), price)
        except RowError as error:
            yield RejectedRow(number, str(error))


def _header_names(header: bytes, separator: str) -> list[str]:
    try:
        return without_trailing([name.strip().casefold() for name in split_columns(header, separator)])
    except RowError:  # no text, or a quote that stays open: no name is known
        return []


def _json_rows(content: bytes, zone: TariffZone) -> Iterator[Row[_Price] | RejectedRow]:
    try:
        root = json.loads(decode(content), parse_float=Number, parse_int=Number)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError("the file begins like JSON, but is not") from error
    indicator = root.get("indicator") if isinstance(root, dict) else None
    archive = root.get("PVPC") if isinstance(root, dict) else None
    if isinstance(indicator, dict) and isinstance(indicator.get("values"), list):
        if str(indicator.get("id")) != str(INDICATOR):
            raise UsageError(
                f"the file holds ESIOS indicator {shown(str(indicator.get('id')))}, not {INDICATOR} (PVPC 2.0TD)"
            )
        return _indicator_rows(indicator["values"], zone)
    if isinstance(archive, list):
        return _archive_rows(archive, "CYM" if zone in AFRICAN_ZONES else "PCB")
    raise UsageError(f"the file is JSON, but holds no prices; {_KNOWN}")


def _indicator_rows(values: list[object], zone: TariffZone) -> Iterator[Row[_Price] | RejectedRow]:
    geos = {str(each.get("geo_id")) for each in values if isinstance(each, dict)}
    if values and str(GEOS[zone]) not in geos:
        raise UsageError(f"the file has no prices of {zone} (geo_id {GEOS[zone]})")
    for number, element in enumerate(values, start=1):
        if not isinstance(element, dict):
            yield RejectedRow(number, "is not an object")
        elif str(element.get("geo_id")) == str(GEOS[zone]):
            try:
                price = _price(number_text(element.get("value"), "value"), -3)
                yield _stamped(number, str(element.get("datetime")), price)
            except RowError as error:
                yield RejectedRow(number, str(error))


def _archive_rows(elements: list[object], column: str) -> Iterator[Row[_Price] | RejectedRow]:
    for number, element in enumerate(elements, start=1):
        try:
            if not isinstance(element, dict):
                raise RowError("is not an object")  # noqa: TRY301 # one place rejects
            day = parse_date(str(element.get("Dia")), name="Dia")
            span = _SPAN.fullmatch(str(element.get("Hora")))
            if span is None or int(span[2]) != int(span[1]) + 1:
                raise RowError(f"Hora {shown(str(element.get('Hora')))} is not hours such as 00-01")  # noqa: TRY301
            price = _price(number_text(element.get(column), column), -3)
            yield Row(number, day, int(span[1]) * HOUR_MIN, price)
        except RowError as error:
            yield RejectedRow(number, str(error))


def _stamped(number: int, text: str, price: _Price) -> Row[_Price]:
    """Return a row for a time stamp; one with an offset also says whether it is summer time."""
    match = _STAMP.fullmatch(text)
    if match is None or int(match[2]) > 23:  # noqa: PLR2004 # hours of a clock
        raise RowError(f"{shown(text)} is not a time YYYY-MM-DD HH:00:00, on the hour")
    if match[3] is None:
        return Row(
            number, parse_date(match[1], name="datetime", iso_only=True), int(match[2]) * HOUR_MIN, price
        )
    try:
        local = datetime.fromisoformat(text).astimezone(madrid())
    except (ValueError, OverflowError) as error:
        raise RowError(f"{shown(text)} is not a time that exists") from error
    day = parse_date(f"{local:%Y-%m-%d}", name="datetime", iso_only=True)
    if local.minute:
        raise RowError(f"{shown(text)} is not on the hour by the clock of Madrid: its offset has minutes")
    return Row(number, day, local.hour * HOUR_MIN, price, "", bool(local.dst()))


def _price(text: str, exponent: int) -> _Price:
    if not _PRICE.fullmatch(text):
        raise RowError(f"price {shown(text)} is not a number such as 0.11633")
    price = Decimal(text.replace(",", ".")).scaleb(exponent)
    if abs(price) > MAX_PRICE_EUR_PER_KWH:
        raise RowError(f"price {price:f} EUR/kWh is beyond {MAX_PRICE_EUR_PER_KWH}: is it in EUR/MWh?")
    if price != round(price, 9):
        raise RowError(f"price {shown(text)} has more than 9 decimals of EUR/kWh")
    return _Price(price)
