"""The answer's words: plain Spanish text, the number first, then what it compares to, then what the data lack."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from expert_bot.assistant.facts import MonthReport
from expert_bot.assistant.numbers import (
    format_count,
    format_day,
    format_energy,
    format_kwh,
    format_month,
    format_signed_percent,
)
from expert_bot.assistant.profile import Profile
from expert_bot.assistant.understand import Topic
from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import Direction, MonthUsage

MAX_SUGGESTIONS: Final = 3
_HOW_DATA_COME: Final = (
    "Podré responderte cuando se importe el fichero de consumo horario de tu distribuidora."
)
_WHAT_I_CAN: Final = (
    "Por ahora puedo decirte cuánta electricidad consumiste en un mes natural, cuánta fue en punta, en llano y en valle, "
    "y cómo cambió respecto al mes anterior."
)
_NOT_YET: Final = {
    Topic.MONEY: "Todavía no sé calcular importes ni precios.",
    Topic.PERIOD: "Todavía no sé responder por periodos que no sean un solo mes natural.",
    Topic.COMPARISON: "Todavía no sé hacer esa comparación.",
    Topic.OTHER: "Todavía no sé responder a eso.",
}


def compose_month(report: MonthReport) -> str:
    """Phrase a month with data: total and split, change, and honestly what is missing or estimated."""
    return " ".join((_consumption(report), _comparison(report), *_caveats(report)))


def compose_no_data(profile: Profile, month: Month) -> str:
    """Phrase that a month has no data, and which days have, or how data get in when there are none."""
    if profile.data_until is None:
        return f"Todavía no tengo datos de tu consumo. {_HOW_DATA_COME}"
    return f"No tengo datos de tu consumo de {format_month(month)}. {_data_range(profile)}"


def compose_which_month(profile: Profile) -> str:
    """Ask which month is meant, and say which days have data."""
    return f"¿De qué mes quieres saber el consumo? {_data_range(profile)}"


def compose_not_yet(topic: Topic) -> str:
    """Say that a question cannot be answered yet, and which can."""
    return f"{_NOT_YET[topic]} {_WHAT_I_CAN}"


def suggest_questions(profile: Profile, today: Month, asked: Month | None) -> list[str]:
    """Return up to three questions whose answer would have data for this user: none without data.

    First the neighbours of the month asked for, then the last full month, then the latest one.
    """
    around = [asked.previous, asked.plus(1), asked.plus(-12)] if asked else []
    candidates = [*around, today.previous, *sorted(profile.months, reverse=True)]
    months = [
        month
        for month in dict.fromkeys(candidates)
        if month != asked and _can_be_asked(profile, month, today)
    ]
    questions = [f"¿Cuánto consumí en {format_month(month)}?" for month in months]
    if not questions and asked is not None and asked in profile.months:
        questions = [f"¿Cuánto consumí en horas punta en {format_month(asked)}?"]
    return questions[:MAX_SUGGESTIONS]


def _can_be_asked(profile: Profile, month: Month, today: Month) -> bool:
    return month in profile.months and month <= today


def _consumption(report: MonthReport) -> str:
    p1, p2, p3 = (report.usage.energy_kwh.get(period, Decimal(0)) for period in Period)
    return (
        f"En {format_month(report.month)} consumiste {format_kwh(report.usage.total_kwh)}: "
        f"{format_energy(p1)} en punta, {format_energy(p2)} en llano y {format_energy(p3)} en valle."
    )


def _comparison(report: MonthReport) -> str:
    before = format_month(report.month.previous)
    if report.previous is None:
        return f"No tengo datos de {before} para comparar."
    change = report.change
    if change is None:
        return f"En {before} consumiste {format_kwh(report.previous.total_kwh)}, así que no hay variación en porcentaje."
    if not change.is_reliable:
        return f"No lo comparo con {before} porque faltan demasiadas horas en {_poorly_covered(report)}."
    if change.direction is Direction.EQUAL:
        return f"Es lo mismo que en {before}."
    word = "más" if change.direction is Direction.UP else "menos"
    amount, percent = format_kwh(abs(change.energy_kwh)), format_signed_percent(change.pct)
    return f"Son {amount} {word} que en {before} ({percent})."


def _poorly_covered(report: MonthReport) -> str:
    pair: tuple[tuple[Month, MonthUsage | None], ...] = (
        (report.month.previous, report.previous),
        (report.month, report.usage),
    )
    poor = [format_month(month) for month, usage in pair if usage is not None and not usage.is_well_covered]
    return " y en ".join(poor)


def _caveats(report: MonthReport) -> Iterator[str]:
    usage = report.usage
    if report.ends_early and report.data_until is not None:
        yield f"El mes no está completo: tengo datos hasta el {format_day(report.data_until)}."
    if usage.missing_hours:
        yield f"Sin lectura: {format_count(usage.missing_hours)} de las {format_count(usage.expected_hours)} horas del mes."
    if usage.estimated_hours:
        estimated, read = format_count(usage.estimated_hours), format_count(usage.hours)
        yield f"Estimadas por la distribuidora: {estimated} de las {read} horas leídas."


def _data_range(profile: Profile) -> str:
    if profile.data_from is None or profile.data_until is None:
        return f"Todavía no tengo ningún dato tuyo. {_HOW_DATA_COME}"
    return f"Tengo datos del {format_day(profile.data_from)} al {format_day(profile.data_until)}."
