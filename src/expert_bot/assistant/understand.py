"""What a message asks, as far as this service can answer it: the consumption of one calendar month.

A question is understood only if EVERY word of it is known to the grammar; one unknown word may change the meaning
("de mi vecino", "en euros", "por las noches"), so it makes the question one that cannot be answered yet.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from expert_bot.assistant import vocabulary
from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR, Month


class Topic(StrEnum):
    """What a question that cannot be answered is about, as far as it shows."""

    MONEY = "money"
    PERIOD = "period"
    COMPARISON = "comparison"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class MonthAsked:
    """The consumption of one month is asked for."""

    month: Month


@dataclass(frozen=True, slots=True)
class MonthMissing:
    """Consumption is asked for, but not of which month."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something else is asked for."""

    topic: Topic


Understanding = MonthAsked | MonthMissing | NotYet

_TOKEN: Final = re.compile(r"[^\W\d_]+|\d+(?:[-/.]\d+)*|[€$£%+*=<>&@#]")
_START, _END = r"(?<!\S)", r"(?!\S)"
_NAMED: Final = re.compile(
    rf"{_START}(?:mes de )?(?P<before>este |pasado )?(?P<name>{'|'.join(vocabulary.MONTHS)})(?P<after> pasado)?"
    r"(?: (?:(?:de |del )?(?:ano )?(?P<year4>\d{4})|del? (?P<year2>\d{2})"
    rf"|(?P<this_year>de este ano|del presente ano)|(?P<last_year>del ano (?:pasado|anterior))))?{_END}"
)
_NUMERIC: Final = re.compile(
    rf"{_START}(?:(?P<year_first>\d{{4}})[-/](?P<month_last>\d{{1,2}})|(?P<month_first>\d{{1,2}})[-/](?P<year_last>\d{{4}})){_END}"
)
_CURRENT: Final = re.compile(
    rf"{_START}(?:(?:este|presente) mes|mes (?:actual|en curso|corriente)|lo que (?:va|llevo|llevamos) del? mes)"
    rf"(?: hasta (?:hoy|ahora|la fecha))?{_END}"
)
_PREVIOUS: Final = re.compile(rf"{_START}(?:mes (?:pasado|anterior)|pasado mes){_END}")
_SPLIT: Final = re.compile(
    rf"{_START}(?:(?:horas?|periodos?|tramos?|franjas?) )?(?:de )?(?:punta|llano|valle){_END}"
)
_PHRASES: Final = re.compile(rf"{_START}(?:{'|'.join(vocabulary.PHRASES)}){_END}")


def understand(message: str, today: date) -> Understanding:
    """Read a Spanish message; `today` is the local day it was written on (what "este mes" and a bare month refer to)."""
    text = " ".join(_TOKEN.findall(_plain(message)))
    months, rest = _take_months(text, today)
    words = set(_PHRASES.sub(" ", _SPLIT.sub(" ", rest)).split())
    unknown = words - vocabulary.KNOWN
    if unknown or len(months) > 1:
        return NotYet(_topic_of(unknown, months, asks=_asks_consumption(words)))
    if months and (_asks_consumption(words) or words <= vocabulary.CONNECTIVES):
        return MonthAsked(months.pop())
    if _asks_consumption(words):
        return MonthMissing()
    return NotYet(Topic.OTHER)


def _plain(message: str) -> str:
    """Fold case, accents and typographic variants away."""
    decomposed = unicodedata.normalize("NFKD", message.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _take_months(text: str, today: date) -> tuple[set[Month], str]:
    """Return the months a text names, and the text without them; a month that cannot be is left where it stands."""
    months: set[Month] = set()

    def keep(month: Month | None, match: re.Match[str]) -> str:
        if month is None:
            return match[0]
        months.add(month)
        return " "

    current = Month.of(today)
    text = _NAMED.sub(lambda match: keep(_named_month(match, current), match), text)
    text = _NUMERIC.sub(lambda match: keep(_numeric_month(match), match), text)
    text = _CURRENT.sub(lambda match: keep(current, match), text)
    return months, _PREVIOUS.sub(lambda match: keep(current.previous, match), text)


def _named_month(match: re.Match[str], current: Month) -> Month | None:
    number = vocabulary.MONTHS[match["name"]]
    if match["year4"]:
        return _month(int(match["year4"]), number)
    if match["year2"]:
        return _month(FIRST_YEAR + int(match["year2"]), number)
    if match["last_year"]:
        return _month(current.year - 1, number)
    if match["this_year"] or match["before"] == "este ":
        return _month(current.year, number)
    latest = current.previous if match["before"] or match["after"] else current
    return _month(latest.year if number <= latest.number else latest.year - 1, number)


def _numeric_month(match: re.Match[str]) -> Month | None:
    year = match["year_first"] or match["year_last"]
    number = match["month_last"] or match["month_first"]
    return _month(int(year), int(number))


def _month(year: int, number: int) -> Month | None:
    if FIRST_YEAR <= year <= LAST_YEAR and 1 <= number <= len(vocabulary.MONTH_NAMES):
        return Month(year, number)
    return None


def _asks_consumption(words: set[str]) -> bool:
    if words & vocabulary.CONSUMPTION:
        return True
    return bool(words & vocabulary.ENERGY and words & vocabulary.CONSUMPTION_OF_ENERGY)


def _topic_of(unknown: set[str], months: set[Month], *, asks: bool) -> Topic:
    if unknown & vocabulary.MONEY:
        return Topic.MONEY
    if unknown & vocabulary.COMPARISON:
        return Topic.COMPARISON
    has_number = any(word[0].isdigit() for word in unknown)
    if asks and (len(months) > 1 or has_number or unknown & vocabulary.OTHER_PERIODS):
        return Topic.PERIOD
    return Topic.OTHER
