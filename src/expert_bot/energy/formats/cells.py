"""What a cell may hold: dates, hour labels, energies, methods. Each function raises RowError with what is allowed."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.energy.formats.days import DAY_MIN, HOUR_MIN
from expert_bot.energy.formats.placing import QUARTER_MIN
from expert_bot.energy.readings import ReadingMethod

MAX_KWH_PER_HOUR: Final = 1000
MAX_DECIMALS: Final = 9
MAX_LABEL: Final = 25

_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", re.ASCII)
_DAY_FIRST: Final = re.compile(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})", re.ASCII)
_LABEL: Final = re.compile(r"\d{1,2}", re.ASCII)
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::00(?:\.0+)?)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:[.,](?P<decimals>\d*))?|[.,](?P<only>\d+))", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_METHODS: Final = {
    "real": ReadingMethod.REAL,
    "r": ReadingMethod.REAL,
    "estimado": ReadingMethod.ESTIMATED,
    "estimada": ReadingMethod.ESTIMATED,
    "e": ReadingMethod.ESTIMATED,
}
_SHOWN_CHARS: Final = 30


class RowError(ValueError):
    """A row that cannot be used; the message says what was wrong and what is allowed."""


def parse_date(text: str, *, name: str, iso_only: bool = False) -> date:
    """Read `YYYY-MM-DD`, unless `iso_only` also `YYYY/MM/DD` and `DD/MM/YYYY`; years 2000..2100."""
    if iso_only and not _ISO_DATE.fullmatch(text):
        raise RowError(f"{name} {shown(text)} is not a date YYYY-MM-DD")
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, number = match.groups()
    elif match := _DAY_FIRST.fullmatch(text):
        number, month, year = match.groups()
    else:
        raise RowError(f"{name} {shown(text)} is not a date YYYY/MM/DD or DD/MM/YYYY")
    try:
        day = date(int(year), int(month), int(number))
    except ValueError as error:  # 2023-02-30 has the right shape
        allowed = "YYYY-MM-DD" if iso_only else "YYYY/MM/DD or DD/MM/YYYY"
        raise RowError(f"{name} {shown(text)} is not a date {allowed}") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise RowError(f"{name} {day} is outside the years {FIRST_YEAR}..{LAST_YEAR}")
    return day


def parse_label(text: str, *, name: str, with_clock: bool = True) -> int:
    """Read `1`..`25` or, if `with_clock`, `00:00`..`25:00` on a quarter; return minutes of the day."""
    if _LABEL.fullmatch(text) and 1 <= int(text) <= MAX_LABEL:
        return int(text) * HOUR_MIN
    if with_clock and (match := _CLOCK.fullmatch(text)):
        minutes = int(match[1]) * HOUR_MIN + int(match[2])
        if int(match[2]) < HOUR_MIN and minutes % QUARTER_MIN == 0 and minutes <= DAY_MIN + HOUR_MIN:
            return minutes
        raise RowError(f"{name} {shown(text)} is not a time 00:00..25:00 on the hour or a quarter of it")
    raise RowError(f"{name} {shown(text)} is not a whole number 1..{MAX_LABEL}")


def parse_energy(text: str, *, name: str, in_wh: bool = False) -> Decimal:
    """Read an energy 0..1000 kWh with at most 9 decimals, decimal point or comma; return kWh."""
    unit = "Wh" if in_wh else "kWh"
    if _NOT_FINITE.fullmatch(text):
        raise RowError(f"{name} {shown(text)} is not a finite number")
    match = _NUMBER.fullmatch(text)
    if match is None:
        example = "123" if in_wh else "0.123 or 0,123"
        raise RowError(f"{name} {shown(text)} is not a number of {unit} such as {example}")
    most = MAX_DECIMALS - 3 if in_wh else MAX_DECIMALS
    if len(match["decimals"] or match["only"] or "") > most:
        raise RowError(f"{name} {shown(text)} has more than {most} decimals")
    number = Decimal(text.replace(",", "."))
    energy_kwh = number.scaleb(-3) if in_wh else number
    if energy_kwh < 0:
        raise RowError(f"{name} {shown(text)} is negative: 0..{MAX_KWH_PER_HOUR} kWh are possible")
    if energy_kwh > MAX_KWH_PER_HOUR:
        raise RowError(f"{name} {shown(text)} is more than {MAX_KWH_PER_HOUR} kWh in one hour")
    return energy_kwh.copy_abs()


def parse_method(text: str, *, name: str) -> ReadingMethod:
    """Read how a value was obtained."""
    method = _METHODS.get(text.casefold())
    if method is None:
        raise RowError(f"{name} {shown(text)} is not Real or Estimado")
    return method


def shown(text: str) -> str:
    """Return a cell as a message may hold it: ASCII, quoted, cut to 30 characters."""
    return ascii(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
