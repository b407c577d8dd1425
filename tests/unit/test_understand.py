"""Understanding: one month's consumption is recognised in many forms, and nothing else is mistaken for it."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.assistant.understand import MonthAsked, MonthMissing, NotYet, Topic, Understanding, understand
from expert_bot.assistant.vocabulary import MONTH_NAMES
from expert_bot.energy.calendar import Month

TODAY = date(2023, 5, 2)


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2023-04", "¿Cuánto consumí en abril de 2023?"),
        ("2023-04", "cuanto consumi en abril de 2023"),
        ("2023-04", "¿CUÁNTO CONSUMÍ EN ABRÍL DEL 23?"),
        ("2023-04", "¿Cuánta luz gasté el mes de abril del año 2023?"),
        ("2022-04", "consumo abril 2022"),
        ("2022-04", "abril de 2022, ¿cuántos kWh?"),
        ("2023-04", "kWh de 2023-04"),
        ("2023-04", "mi consumo 04/2023"),
        ("2023-04", "mi consumo 4-2023"),
        ("2023-04", "¿Cuánto he gastado en abril?"),
        ("2023-05", "consumo de mayo"),
        ("2022-06", "consumo de luz en junio"),
        ("2022-12", "¿Cuánta electricidad gastamos en casa en diciembre?"),
        ("2022-09", "energía que he consumido en setiembre"),
        ("2022-05", "consumo en mayo pasado"),
        ("2023-04", "consumo del pasado abril"),
        ("2023-12", "mi consumo de este diciembre"),
        ("2022-11", "cuánta energía usé en noviembre del año pasado"),
        ("2023-02", "dime el consumo total de la vivienda en todo febrero de este año"),
        ("2023-05", "¿Cuánto he consumido este mes?"),
        ("2023-05", "hola, ¿cuánto llevo gastado en lo que va de mes? gracias"),
        ("2023-05", "consumo de este mes hasta hoy"),
        ("2023-05", "¿Cuánto he gastado en lo que llevamos de mayo?"),
        ("2023-04", "¿Cuál fue mi consumo total el mes pasado?"),
        ("2023-04", "buenos días, me puedes decir el consumo del mes anterior, por favor"),
        ("2023-04", "consumo en horas punta en abril"),
        ("2023-04", "¿Cuántos kilovatios he gastado en valle en abril? 😊"),
        ("2023-04", "reparto de mi consumo de abril entre punta, llano y valle"),
        ("2023-03", "¿y en marzo?"),
        ("2023-04", "Abril de 2023."),
    ],
)
def test_a_month_is_recognised(month: str, message: str) -> None:
    """Names, numbers and relative months, with or without year and accents, mean the month a reader would think of."""
    assert MonthAsked(Month.parse(month)) == understand(message, TODAY)


@pytest.mark.parametrize(
    ("month", "today"),
    [
        pytest.param("2023-04", date(2023, 4, 1), id="first day of April"),
        pytest.param("2022-04", date(2023, 3, 31), id="day before April"),
        pytest.param("2023-04", date(2024, 3, 31), id="eleven months later"),
        pytest.param("2024-04", date(2024, 4, 30), id="a year later"),
    ],
)
def test_a_bare_month_is_the_latest_not_after_the_question(month: str, today: date) -> None:
    """The month "abril" is the most recent April that has begun."""
    assert MonthAsked(Month.parse(month)) == understand("consumo de abril", today)


def test_last_month_crosses_the_year() -> None:
    """In January, last month is December of the year before."""
    assert MonthAsked(Month(2022, 12)) == understand("consumo del mes pasado", date(2023, 1, 31))


@pytest.mark.parametrize(
    "message",
    [
        "¿Cuánto he consumido?",
        "consumo",
        "quiero saber mi consumo de luz",
        "mi consumo en horas punta del mes",
        "¿cuánta electricidad gasto en casa?",
        "reparto de mi consumo entre punta, llano y valle",
    ],
)
def test_a_question_without_a_month_is_asked_back(message: str) -> None:
    """Consumption of no particular month cannot be answered without knowing which."""
    assert MonthMissing() == understand(message, TODAY)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (Topic.MONEY, "¿Cuánto pagué en abril de 2023?"),
        (Topic.MONEY, "gasto en € de este mes hasta hoy"),
        (Topic.MONEY, "consumo de abril en euros"),
        (Topic.MONEY, "la factura de abril"),
        (Topic.COMPARISON, "compara el consumo de marzo y abril"),
        (Topic.COMPARISON, "marzo 2023 vs abril 2023"),
        (Topic.PERIOD, "consumo de marzo y abril"),
        (Topic.PERIOD, "consumo de enero a marzo"),
        (Topic.PERIOD, "¿Cuántos kWh gasté ayer?"),
        (Topic.PERIOD, "consumo de la semana pasada"),
        (Topic.PERIOD, "consumo de 2022"),
        (Topic.PERIOD, "¿Qué consumo llevo en lo que va de año?"),
        (Topic.PERIOD, "consumo del segundo trimestre"),
        (Topic.PERIOD, "consumo de los últimos 30 días"),
        (Topic.PERIOD, "¿Me puede indicar el consumo del 3 al 17 de marzo, por favor?"),
        (Topic.PERIOD, "consumo de abril del 3 al 17"),
        (Topic.PERIOD, "consumo del 23 de abril"),
        (Topic.PERIOD, "consumo abril 23"),
        (Topic.PERIOD, "consumo 2023-04-15"),
        (Topic.PERIOD, "consumo 13/2023"),
        (Topic.PERIOD, "consumo de abril de 1850"),
        (Topic.PERIOD, "consumo desde abril"),
        (Topic.PERIOD, "consumo en abril por las noches"),
        (Topic.PERIOD, "consumo diario de abril"),
        (Topic.OTHER, "consumo de mi vecino en abril"),
        (Topic.OTHER, "¿cuánto consumió Juan en abril?"),
        (Topic.OTHER, "consumo de gas en abril"),
        (Topic.OTHER, "consumo de la nevera en abril"),
        (Topic.OTHER, "¿cuánto consumiré en abril?"),
        (Topic.OTHER, "no consumí en abril"),
        (Topic.OTHER, "mi gasto de abril"),
        (Topic.OTHER, "hola"),
        (Topic.OTHER, "en abril nació mi hija"),
        (Topic.OTHER, "¿¡…!?"),
        (Topic.OTHER, "用电量 2023-04"),
    ],
)
def test_what_cannot_be_answered_is_not_yet(topic: Topic, message: str) -> None:
    """Money, other periods, comparisons, other people and every unknown word are not answered with a month."""
    assert NotYet(topic) == understand(message, TODAY)


def read_utterances(shared_data: Path) -> list[dict[str, str]]:
    """Return the rows of the utterance table."""
    with (shared_data / "chat" / "utterances.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_no_other_intent_is_answered_with_consumption(shared_data: Path) -> None:
    """Of 492 real-life utterances, only questions about consumption get a month or are asked for one."""
    rows = read_utterances(shared_data)
    assert len(rows) == 492
    taken = {
        row["text"]: row["intent"] for row in rows if not isinstance(understand(row["text"], TODAY), NotYet)
    }
    assert set(taken.values()) == {"consumption_period"}
    assert taken.keys() >= {"¿Cuánto he consumido este mes?", "consumo de luz en agosto"}


NOT_IN_GRAMMAR = [
    "vecino",
    "euros",
    "no",
    "ayer",
    "3",
    "gas",
    "más",
    "nevera",
    "€",
    "mañana",
    "2023-04-15",
    "xyz",
]


@given(st.sampled_from(NOT_IN_GRAMMAR), st.integers(min_value=0, max_value=6))
def test_one_unknown_word_anywhere_is_enough_to_not_answer(word: str, place: int) -> None:
    """A question that would be answered is not once a word is added that may change what it means."""
    words = ["cuánto", "consumí", "en", "abril", "de", "2023"]
    words.insert(place, word)
    assert isinstance(understand(" ".join(words), TODAY), NotYet | MonthMissing)


@given(st.integers(min_value=2000, max_value=2100), st.integers(min_value=1, max_value=12))
def test_every_month_of_the_data_can_be_asked_for(year: int, number: int) -> None:
    """Each month is understood in words and in both numeric forms."""
    expected: Understanding = MonthAsked(Month(year, number))
    name = MONTH_NAMES[number - 1]
    for text in (f"{name} de {year}", f"{name} {year}", f"{year}-{number:02d}", f"{number:02d}/{year}"):
        assert expected == understand(f"consumo de {text}", TODAY)


@given(st.text(max_size=200))
def test_any_text_is_understood_without_an_error(message: str) -> None:
    """Whatever is typed gets one of the three readings."""
    assert isinstance(understand(message, TODAY), MonthAsked | MonthMissing | NotYet)
