"""Answers: their exact words, the facts behind every number, and honesty about what the data lack."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.assistant.chat import ChatAnswer, answer
from expert_bot.assistant.numbers import (
    decimal_text,
    format_count,
    format_day,
    format_kwh,
    format_month,
    format_signed_percent,
)
from expert_bot.assistant.profile import Profile
from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import MonthUsage
from expert_bot.schemas.events.chat import ChatRequested
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

ASKED_AT = datetime(2023, 5, 2, 9, 30, tzinfo=UTC)
APRIL = ("74.435", "81.768", "137.113")
MARCH = ("90", "100.791", "150")


def usage(
    month: str, kwh: tuple[str, str, str], *, hours: int | None = None, estimated: int = 0
) -> MonthUsage:
    """Build a month's usage, fully covered unless `hours` says otherwise."""
    return MonthUsage(
        month=month,
        energy_kwh=dict(zip(Period, map(Decimal, kwh), strict=True)),
        hours=Month.parse(month).hours if hours is None else hours,
        estimated_hours=estimated,
        first_day=f"{month}-01",
        last_day=f"{month}-28",
    )


def profile(*usages: MonthUsage, data_until: date = date(2023, 7, 15)) -> Profile:
    """Build a profile of the given months."""
    return Profile(
        user_name="Ana",
        months={Month.parse(each.month): each for each in usages},
        data_from=date(2021, 8, 3) if usages else None,
        data_until=data_until if usages else None,
    )


def ask(
    profile: Profile,
    message: str = "¿Cuánto consumí en abril de 2023?",
    *,
    language: str | None = None,
    asked_at: datetime = ASKED_AT,
) -> ChatAnswer:
    """Ask a question."""
    request = ChatRequested(message=message, user_id="user-ana", source="energy_ia_api", language=language)
    return answer(request, profile, asked_at)


def values(reply: ChatAnswer) -> dict[str, str]:
    """Return the facts' values by id."""
    return {fact.id: fact.value for fact in reply.facts}


SENTENCE = "En abril de 2023 consumiste 293,316 kWh: 74,435 en punta, 81,768 en llano y 137,113 en valle."


@pytest.mark.parametrize(
    ("rest", "usages"),
    [
        pytest.param(
            "Son 47,475 kWh menos que en marzo de 2023 (-13,9 %).",
            [usage("2023-03", MARCH), usage("2023-04", APRIL)],
            id="less",
        ),
        pytest.param(
            "Son 193,316 kWh más que en marzo de 2023 (+193,3 %).",
            [usage("2023-03", ("100", "0", "0")), usage("2023-04", APRIL)],
            id="more",
        ),
        pytest.param(
            "Es lo mismo que en marzo de 2023.",
            [usage("2023-03", APRIL), usage("2023-04", APRIL)],
            id="equal",
        ),
        pytest.param(
            "No tengo datos de marzo de 2023 para comparar.", [usage("2023-04", APRIL)], id="no March"
        ),
        pytest.param(
            "En marzo de 2023 consumiste 0,000 kWh, así que no hay variación en porcentaje.",
            [usage("2023-03", ("0", "0", "0")), usage("2023-04", APRIL)],
            id="nothing in March",
        ),
        pytest.param(
            "No lo comparo con marzo de 2023 porque faltan demasiadas horas en marzo de 2023.",
            [usage("2023-03", MARCH, hours=600), usage("2023-04", APRIL)],
            id="March too thin",
        ),
        pytest.param(
            "No lo comparo con marzo de 2023 porque faltan demasiadas horas en marzo de 2023 y en abril de 2023. "
            "Sin lectura: 220 de las 720 horas del mes.",
            [usage("2023-03", MARCH, hours=600), usage("2023-04", APRIL, hours=500)],
            id="both too thin",
        ),
        pytest.param(
            "No tengo datos de marzo de 2023 para comparar. Sin lectura: 20 de las 720 horas del mes. "
            "Estimadas por la distribuidora: 24 de las 700 horas leídas.",
            [usage("2023-04", APRIL, hours=700, estimated=24)],
            id="missing and estimated",
        ),
    ],
)
def test_the_answer_says_the_number_first_then_what_it_compares_to(
    rest: str, usages: list[MonthUsage]
) -> None:
    """Total and split come first; the change is stated only where both months can carry it; gaps are named."""
    reply = ask(profile(*usages))
    assert ("success", f"{SENTENCE} {rest}") == (reply.status, reply.response)


def test_a_month_that_is_not_over_says_so() -> None:
    """The last day with data stands in the answer when it lies inside the month."""
    reply = ask(
        profile(usage("2023-03", MARCH), usage("2023-04", APRIL, hours=360), data_until=date(2023, 4, 15))
    )
    assert (
        f"{SENTENCE} No lo comparo con marzo de 2023 porque faltan demasiadas horas en abril de 2023. "
        "El mes no está completo: tengo datos hasta el 15 de abril de 2023. "
        "Sin lectura: 360 de las 720 horas del mes."
    ) == reply.response
    assert values(reply)["data_until"] == "2023-04-15"


def test_a_change_that_is_not_stated_is_no_fact_either() -> None:
    """A difference that may come from missing hours alone appears neither in the text nor among the facts."""
    reply = ask(profile(usage("2023-03", MARCH, hours=600), usage("2023-04", APRIL)))
    assert {"consumption_total", "previous_total"} <= values(reply).keys()
    assert not [name for name in values(reply) if name.startswith("change")]


def test_each_value_is_a_fact_with_period_source_and_quality() -> None:
    """Subscribers can check every number without reading the text."""
    reply = ask(profile(usage("2023-03", MARCH, hours=700), usage("2023-04", APRIL, estimated=24)))
    assert values(reply) == {
        "consumption_total": "293.316",
        "consumption_p1": "74.435",
        "consumption_p2": "81.768",
        "consumption_p3": "137.113",
        "hours_estimated": "24",
        "hours_with_data": "720",
        "previous_total": "340.791",
        "previous_p1": "90",
        "previous_p2": "100.791",
        "previous_p3": "150",
        "change_kwh": "-47.475",
        "change_pct": "-13.9",
        "change_direction": "down",
    }
    by_id = {fact.id: fact for fact in reply.facts}
    assert by_id["consumption_p1"] == Fact(
        id="consumption_p1",
        value="74.435",
        unit="kWh",
        period=FactPeriod(start="2023-04-01", end="2023-05-01"),
        source="user_profiles_enriched.usage",
        data_quality=DataQuality(coverage_pct="100", estimated_pct="3.3", data_until="2023-07-15"),
    )
    assert by_id["previous_total"].period == FactPeriod(start="2023-03-01", end="2023-04-01")
    assert by_id["previous_total"].data_quality == DataQuality(
        coverage_pct="94.2", estimated_pct="0", data_until="2023-07-15"
    )


@pytest.mark.parametrize(
    ("response", "facts", "months"),
    [
        pytest.param(
            "No tengo datos de tu consumo de abril de 2023. Tengo datos del 3 de agosto de 2021 al 15 de julio de 2023.",
            {"requested_month": "2023-04-01", "data_from": "2021-08-03", "data_until": "2023-07-15"},
            [usage("2023-03", MARCH)],
            id="other months have data",
        ),
        pytest.param(
            "Todavía no tengo datos de tu consumo. Podré responderte cuando se importe el fichero de consumo horario "
            "de tu distribuidora.",
            {},
            [],
            id="no data at all",
        ),
    ],
)
def test_no_data_is_said_with_what_there_is(
    response: str, facts: dict[str, str], months: list[MonthUsage]
) -> None:
    """A month without data names the days that have some, or how data get in."""
    reply = ask(profile(*months))
    assert ("no_data", response, facts) == (reply.status, reply.response, values(reply))


def test_a_question_without_month_is_asked_back_with_the_range() -> None:
    """The clarification asks one thing and says which days have data."""
    reply = ask(profile(usage("2023-04", APRIL)), "¿cuánto he consumido?")
    assert reply.response == (
        "¿De qué mes quieres saber el consumo? Tengo datos del 3 de agosto de 2021 al 15 de julio de 2023."
    )
    assert (
        reply.status,
        values(reply),
    ) == ("needs_clarification", {"data_from": "2021-08-03", "data_until": "2023-07-15"})


def test_a_question_without_month_or_data_is_asked_back_honestly() -> None:
    """Whoever has no data is asked for the month as well, and told at once that data are missing."""
    reply = ask(profile(), "¿cuánto he consumido?")
    assert (reply.status, reply.facts) == ("needs_clarification", ())
    assert reply.response.startswith(
        "¿De qué mes quieres saber el consumo? Todavía no tengo ningún dato tuyo."
    )


@pytest.mark.parametrize(
    ("start", "message"),
    [
        pytest.param("Todavía no sé calcular importes ni precios.", "¿cuánto pagué en abril?", id="money"),
        pytest.param("Todavía no sé responder por periodos", "consumo de ayer", id="period"),
        pytest.param("Todavía no sé hacer esa comparación.", "compara marzo con abril", id="comparison"),
        pytest.param("Todavía no sé responder a eso.", "hola", id="other"),
    ],
)
def test_what_cannot_be_answered_is_admitted_with_what_can(start: str, message: str) -> None:
    """An unsupported question gets an honest "not yet", what can be asked, and no facts."""
    reply = ask(profile(usage("2023-04", APRIL)), message)
    assert (reply.status, reply.facts) == ("unsupported", ())
    assert reply.response.startswith(start)
    assert "cuánta electricidad consumiste en un mes" in reply.response


@pytest.mark.parametrize(
    ("suggestions", "months"),
    [
        pytest.param(
            ("marzo de 2023", "mayo de 2023", "abril de 2022"),
            ["2021-08", "2022-04", "2023-03", "2023-04", "2023-05"],
            id="neighbours first",
        ),
        pytest.param(("agosto de 2021",), ["2021-08", "2023-04"], id="what there is"),
        pytest.param(("horas punta en abril de 2023",), ["2023-04"], id="only the month asked for"),
        pytest.param((), [], id="no data"),
    ],
)
def test_suggestions_are_questions_with_an_answer(suggestions: tuple[str, ...], months: list[str]) -> None:
    """Up to three other months with data are suggested, and each suggestion is really answered."""
    known = profile(*(usage(month, APRIL) for month in months))
    reply = ask(known)
    assert tuple(f"¿Cuánto consumí en {each}?" for each in suggestions) == reply.suggestions
    assert ["success"] * len(suggestions) == [ask(known, each).status for each in reply.suggestions]


@pytest.mark.parametrize(
    ("degraded", "language"),
    [
        pytest.param((), None, id="not said"),
        pytest.param((), "es", id="es"),
        pytest.param((), "es-MX", id="es-MX"),
        pytest.param(("language:ca",), "ca", id="ca"),
        pytest.param(("language:en-GB",), "en-GB", id="en-GB"),
    ],
)
def test_a_language_that_is_not_spoken_is_marked(degraded: tuple[str, ...], language: str | None) -> None:
    """The answer is Spanish; asking for another language is answered and marked as degraded."""
    assert degraded == ask(profile(), language=language).degraded


def test_today_is_the_day_in_madrid() -> None:
    """At 22:30 UTC on 30 April it is 1 May in Madrid, so "el mes pasado" is April."""
    reply = ask(
        profile(usage("2023-04", APRIL)),
        "consumo del mes pasado",
        asked_at=datetime(2023, 4, 30, 22, 30, tzinfo=UTC),
    )
    assert reply.response.startswith(SENTENCE)


def test_the_user_context_says_what_was_assumed() -> None:
    """Name, completeness of the last year, and the period with most energy come with every answer."""
    year = [usage(f"{Month(2022, 7).plus(offset)}", APRIL) for offset in range(12)]
    context = ask(profile(*year)).user_context
    assert (
        context.user_name,
        context.has_complete_data,
        context.home_type,
        context.consumption_profile,
    ) == ("Ana", True, None, "valle")
    assert ask(profile()).user_context.consumption_profile is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.620,984 kWh", "1620.984"),
        ("0,000 kWh", "0"),
        ("0,001 kWh", "0.0005"),
        ("1.234.567,900 kWh", "1234567.9"),
    ],
)
def test_kwh_are_written_to_the_watt_hour(text: str, value: str) -> None:
    """Three decimals, comma, thousands with a dot also at four digits, HALF_UP."""
    assert text == format_kwh(Decimal(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [("47.546", "47.546000000"), ("100", "100.0"), ("0", "-0.00"), ("1000", "1E+3"), ("-13.9", "-13.90")],
)
def test_a_decimal_has_one_text(text: str, value: str) -> None:
    """Trailing zeros that a store adds or drops do not change what is written."""
    assert text == decimal_text(Decimal(value))


KWH = st.integers(min_value=0, max_value=2_000_000).map(lambda value: str(Decimal(value).scaleb(-3)))
SPLIT = st.tuples(KWH, KWH, KWH)


def printed_forms(reply: ChatAnswer) -> set[str]:
    """Return every way a fact of the reply may be printed."""
    forms: set[str] = set()
    for fact in reply.facts:
        if fact.period is not None:
            forms.add(format_month(Month.of(date.fromisoformat(fact.period.start))))
        match fact.unit:
            case "kWh":
                kwh = format_kwh(abs(Decimal(fact.value)))
                forms |= {kwh, kwh.removesuffix(" kWh")}
            case "%":
                forms.add(format_signed_percent(Decimal(fact.value)))
            case "h":
                forms.add(format_count(int(fact.value)))
            case "date":
                forms |= {format_day(date.fromisoformat(fact.value))}
    return forms


@given(
    SPLIT,
    st.none() | SPLIT,
    st.integers(min_value=1, max_value=720),
    st.integers(min_value=1, max_value=743),
    st.integers(min_value=1, max_value=30),
)
def test_every_number_in_the_text_is_a_fact(
    current: tuple[str, str, str],
    previous: tuple[str, str, str] | None,
    hours: int,
    previous_hours: int,
    until: int,
) -> None:
    """Taking the printed facts out of an answer leaves no digit, whatever the data; and it stays within 90 words."""
    months = [usage("2023-04", current, hours=hours, estimated=hours // 3)]
    if previous is not None:
        months.append(usage("2023-03", previous, hours=previous_hours))
    reply = ask(profile(*months, data_until=date(2023, 4, until)))
    text = reply.response
    before = format_month(Month(2023, 3))
    for form in sorted({*printed_forms(reply), before}, key=len, reverse=True):
        text = re.sub(rf"(?<![\d.,]){re.escape(form)}(?![\d]|[.,]\d)", "", text)
    assert not re.search(r"\d", text), text
    assert len(reply.response.split()) <= 90
    total = sum(Decimal(values(reply)[f"consumption_{part}"]) for part in ("p1", "p2", "p3"))
    assert total == Decimal(values(reply)["consumption_total"])
