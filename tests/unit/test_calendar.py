"""The calendar: periods against an independent oracle, local hours against UTC, months."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.calendar import (
    LocalHour,
    Month,
    TariffZone,
    end_of_hour_labels,
    hours_of_day,
    instant_of,
    local_hour_of,
    period_of,
)
from expert_bot.energy.readings import Period

MAINLAND = {"P1": "10-14,18-22", "P2": "8-10,14-18,22-24", "P3": "0-8"}
AFRICA = {"P1": "11-15,19-23", "P2": "8-11,15-19,23-24", "P3": "0-8"}
HOLIDAYS = ["01-01", "01-06", "05-01", "08-15", "10-12", "11-01", "12-06", "12-08", "12-25"]
ZONES = {
    TariffZone.PENINSULA: MAINLAND,
    TariffZone.BALEARES: MAINLAND,
    TariffZone.CANARIAS: MAINLAND,
    TariffZone.CEUTA: AFRICA,
    TariffZone.MELILLA: AFRICA,
}


def oracle_period(day: date, hour: int, table: dict[str, str]) -> str:
    """Say the period the slow way: from the printed ranges."""
    if f"{day:%a}" in ("Sat", "Sun") or f"{day:%m-%d}" in HOLIDAYS:
        return "P3"
    for period, ranges in table.items():
        for text in ranges.split(","):
            first, end = text.split("-")
            if int(first) <= hour < int(end):
                return period
    raise AssertionError(hour)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_every_hour_of_six_years_has_the_period_of_the_printed_table(zone: TariffZone) -> None:
    """The period is the one of Circular CNMC 3/2020, art. 7, in every zone and at every hour."""
    first = date(2021, 1, 1)
    for offset in range((date(2027, 1, 1) - first).days):
        day = first + timedelta(days=offset)
        expected = [oracle_period(day, hour, ZONES[zone]) for hour in range(24)]
        assert expected == [period_of(day, hour, zone).value for hour in range(24)], day


def test_the_printed_table_is_the_regulated_one(shared_data: Path) -> None:
    """The oracle's ranges and dates are those of the regulated values."""
    regulated = json.loads((shared_data / "energy" / "regulated" / "p3_holidays.json").read_text())
    assert regulated["fixed_mm_dd"] == HOLIDAYS
    assert regulated["hours"] == {"peninsula_baleares_canarias": MAINLAND, "ceuta_melilla": AFRICA}


@pytest.mark.parametrize(
    ("expected", "day"),
    [
        pytest.param(Period.P1, date(2022, 4, 15), id="Good Friday 2022"),
        pytest.param(Period.P1, date(2023, 4, 7), id="Good Friday 2023"),
        pytest.param(Period.P1, date(2024, 3, 29), id="Good Friday 2024"),
        pytest.param(Period.P1, date(2024, 3, 28), id="Maundy Thursday"),
        pytest.param(Period.P1, date(2022, 12, 26), id="Monday after Christmas on a Sunday"),
        pytest.param(Period.P1, date(2023, 5, 2), id="regional holiday"),
        pytest.param(Period.P3, date(2023, 12, 6), id="Constitution day"),
        pytest.param(Period.P3, date(2023, 1, 6), id="Epiphany"),
        pytest.param(Period.P3, date(2023, 4, 8), id="Saturday"),
    ],
)
def test_only_weekends_and_fixed_dates_are_valle_at_eleven(expected: Period, day: date) -> None:
    """Holidays without a fixed date, regional and moved ones are ordinary days."""
    assert expected == period_of(day, 11)


@pytest.mark.parametrize("hour", [-1, 24])
def test_an_hour_outside_the_clock_has_no_period(hour: int) -> None:
    """Hours are 0..23; anything else is refused, not wrapped around."""
    with pytest.raises(ValueError, match=r"0\.\.23"):
        period_of(date(2023, 4, 3), hour)


@pytest.mark.parametrize("year", [2021, 2022, 2024])
def test_every_hour_of_a_year_has_exactly_one_label_and_back(year: int) -> None:
    """UTC hours and local labels stand one to one, clock changes included."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    instants = [start + timedelta(hours=offset) for offset in range(366 * 24)]
    labels = [local_hour_of(instant) for instant in instants]
    assert len(instants) == len(set(labels))
    assert instants == [instant_of(label) for label in labels]


@given(st.integers(min_value=0, max_value=100 * 365 * 24))
def test_label_and_instant_are_inverse_at_any_time(offset: int) -> None:
    """The inverse holds for every hour of the years that data may have."""
    instant = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=offset)
    assert instant == instant_of(local_hour_of(instant))


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(LocalHour(day=date(2023, 3, 26), hour=2), id="skipped in spring"),
        pytest.param(LocalHour(day=date(2023, 4, 26), hour=2, fold=1), id="not repeated in April"),
    ],
)
def test_an_hour_the_clock_never_shows_is_no_instant(label: LocalHour) -> None:
    """A label that does not exist is refused instead of being moved to another hour."""
    with pytest.raises(ValueError, match="has no hour 2"):
        instant_of(label)


@pytest.mark.parametrize(
    ("expected", "day"),
    [
        pytest.param((*range(1, 25),), date(2023, 4, 1), id="24 hours"),
        pytest.param((1, 2, 2, *range(3, 25)), date(2022, 10, 30), id="25 hours"),
        pytest.param((1, *range(3, 25)), date(2023, 3, 26), id="23 hours"),
    ],
)
def test_hours_are_labelled_by_the_clock_at_their_end(expected: tuple[int, ...], day: date) -> None:
    """Label 2 stands twice in autumn and is missing in spring; the last label is 24."""
    assert expected == end_of_hour_labels(day)
    assert len(expected) == len(hours_of_day(day))


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 12, 31)))
def test_the_hours_of_a_day_are_consecutive_and_its_own(day: date) -> None:
    """A day's hours start at local midnight, follow one another, and end where the next day starts."""
    hours = hours_of_day(day)
    assert all(later - earlier == timedelta(hours=1) for earlier, later in pairwise(hours))
    assert {local_hour_of(hour).day for hour in hours} == {day}
    assert hours_of_day(day + timedelta(days=1))[0] == hours[-1] + timedelta(hours=1)


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        pytest.param(720, "2023-04", id="30 days"),
        pytest.param(743, "2023-03", id="spring change"),
        pytest.param(745, "2022-10", id="autumn change"),
        pytest.param(696, "2024-02", id="leap February"),
        pytest.param(744, "2022-12", id="December"),
    ],
)
def test_a_month_has_the_hours_of_its_days(hours: int, text: str) -> None:
    """A month's hours are those of the local clock, and the sum of its days'."""
    month = Month.parse(text)
    days = (month.end - month.first_day).days
    assert hours == month.hours
    assert hours == sum(len(hours_of_day(month.first_day + timedelta(days=offset))) for offset in range(days))


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 12, 31)), st.integers(-600, 600))
def test_month_arithmetic_goes_there_and_back(day: date, months: int) -> None:
    """Adding months and taking them away leads back; text and value are inverse; the end is the next first day."""
    month = Month.of(day)
    assert month == month.plus(months).plus(-months)
    assert month == Month.parse(str(month))
    assert month == Month.of(month.end).previous
    assert month.first_day <= day < month.end


@pytest.mark.parametrize(
    "text", ["2023-13", "2023-00", "2023-4", "23-04", "2023-04-01", "abril", "٢٠٢٣-٠٤", ""]
)
def test_anything_else_is_no_month(text: str) -> None:
    """A month is written YYYY-MM; other texts are refused."""
    with pytest.raises(ValueError, match="not a month"):
        Month.parse(text)
