"""Numbers, months and days as a Spanish reader expects them, and decimals as the wire carries them."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from babel.dates import format_date
from babel.numbers import format_decimal

from expert_bot.energy.calendar import Month

LOCALE: Final = "es_ES"
_WH: Final = Decimal("0.001")
_TENTH: Final = Decimal("0.1")


def decimal_text(value: Decimal) -> str:
    """Write a decimal exactly and in one way only, whatever its trailing zeros: `47.546`, `100`, `-13.9`, `0`."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def format_kwh(energy_kwh: Decimal) -> str:
    """Write kWh to the watt-hour, HALF_UP: `1.620,984 kWh`."""
    return f"{format_energy(energy_kwh)} kWh"


def format_energy(energy_kwh: Decimal) -> str:
    """Write kWh to the watt-hour, HALF_UP, without the unit: `1.620,984`."""
    return format_decimal(energy_kwh.quantize(_WH, ROUND_HALF_UP), format="#,##0.000", locale=LOCALE)


def format_percent(percent: Decimal) -> str:
    """Write a percentage with one decimal, HALF_UP: `13,9 %`."""
    return f"{format_decimal(percent.quantize(_TENTH, ROUND_HALF_UP), format='#,##0.0', locale=LOCALE)} %"


def format_signed_percent(percent: Decimal) -> str:
    """Write a percentage with one decimal, HALF_UP, and its sign unless it is zero: `+13,9 %`, `-13,9 %`."""
    sign = "+" if percent.quantize(_TENTH, ROUND_HALF_UP) > 0 else ""
    return sign + format_percent(percent)


def format_count(count: int) -> str:
    """Write a whole number: `8.760`."""
    return format_decimal(count, format="#,##0", locale=LOCALE)


def format_month(month: Month) -> str:
    """Write a month: `abril de 2023`."""
    return format_date(month.first_day, format="MMMM 'de' y", locale=LOCALE)


def format_day(day: date) -> str:
    """Write a day: `15 de julio de 2023`."""
    return format_date(day, format="d 'de' MMMM 'de' y", locale=LOCALE)
