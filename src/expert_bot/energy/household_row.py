"""One row of the household CSV layout: columns, and what each may hold."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.energy.readings import ReadingMethod

COLUMNS: Final = ("fecha", "hora", "consumo", "met_obtencion", "datetime")
MAX_KWH_PER_HOUR: Final = 1000
MAX_DECIMALS: Final = 9
MAX_LABEL: Final = 25

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LABEL: Final = re.compile(r"\d{1,2}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:[.,](?P<decimals>\d*))?|[.,](?P<only>\d+))", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_METHODS: Final = {"real": ReadingMethod.REAL, "estimado": ReadingMethod.ESTIMATED}
_SHOWN_CHARS: Final = 30


class RowError(ValueError):
    """A row that cannot be used; the message says what was wrong and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row whose date and label are possible. `fault`: why its value cannot be used, or `""`; the rest is then 0 kWh.

    `label`: `hora` as written, 1..25. A row with a fault still shows which hour labels its day uses.
    """

    line: int
    day: date
    label: int
    energy_kwh: Decimal = Decimal(0)
    method: ReadingMethod = ReadingMethod.REAL
    fault: str = ""


def split_columns(content: bytes, separator: str) -> list[str]:
    """Split one line into its columns, quotes removed. Raises RowError if it is not text or a quote stays open."""
    if b"\0" in content:
        raise RowError("holds a NUL byte: the file must be UTF-8 text")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} of the line is not UTF-8") from error
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as error:
        raise RowError("quotes are not closed, or a column is too long") from error


def parse_row(line: int, content: bytes, *, width: int, separator: str) -> Row:
    """Read one row. Raises RowError if its columns, date or label are wrong; a wrong value becomes the row's `fault`."""
    columns = [column.strip() for column in split_columns(content, separator)]
    if len(columns) != width:
        raise RowError(f"has {len(columns)} columns, not {width}")
    day, label = _parse_date(columns[0]), _parse_label(columns[1])
    try:
        energy_kwh, method = _parse_energy(columns[2]), _parse_method(columns[3])
    except RowError as error:
        return Row(line=line, day=day, label=label, fault=str(error))
    return Row(line=line, day=day, label=label, energy_kwh=energy_kwh, method=method)


def _parse_date(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None  # 2023-02-30 has the right shape
    if day is None:
        raise RowError(f"fecha {_shown(text)} is not a date YYYY-MM-DD")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise RowError(f"fecha {day} is outside the years {FIRST_YEAR}..{LAST_YEAR}")
    return day


def _parse_label(text: str) -> int:
    label = int(text) if _LABEL.fullmatch(text) else 0
    if not 1 <= label <= MAX_LABEL:
        raise RowError(f"hora {_shown(text)} is not a whole number 1..{MAX_LABEL}")
    return label


def _parse_energy(text: str) -> Decimal:
    if _NOT_FINITE.fullmatch(text):
        raise RowError(f"consumo {_shown(text)} is not a finite number")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise RowError(f"consumo {_shown(text)} is not a number of kWh such as 0.123 or 0,123")
    if len(match["decimals"] or match["only"] or "") > MAX_DECIMALS:
        raise RowError(f"consumo {_shown(text)} has more than {MAX_DECIMALS} decimals")
    energy_kwh = Decimal(text.replace(",", "."))
    if energy_kwh < 0:
        raise RowError(f"consumo {_shown(text)} is negative: 0..{MAX_KWH_PER_HOUR} kWh are possible")
    if energy_kwh > MAX_KWH_PER_HOUR:
        raise RowError(f"consumo {_shown(text)} is more than {MAX_KWH_PER_HOUR} kWh in one hour")
    return energy_kwh.copy_abs()


def _parse_method(text: str) -> ReadingMethod:
    method = _METHODS.get(text.casefold())
    if method is None:
        raise RowError(f"met_obtencion {_shown(text)} is not Real or Estimado")
    return method


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
