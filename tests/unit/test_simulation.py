"""The simulated household: repeatable, plausible, right on clock changes, and written as a file that reads back."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.calendar import hours_of_day
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.readings import HourlyReading
from expert_bot.energy.simulation import simulate_household

Readings = tuple[HourlyReading, ...]


@pytest.fixture(scope="module")
def year() -> Readings:
    """Twelve months until 30 April 2023."""
    return simulate_household(until=date(2023, 4, 30), months=12)


def test_the_curve_is_the_same_everywhere(year: Readings) -> None:
    """The file of a given seed has the same bytes on every Python version and platform."""
    digest = hashlib.sha256(b"".join(write_household_csv(year))).hexdigest()
    assert digest[:16] == "76eb48b17d49e2d0"


@settings(max_examples=15)
@given(
    st.integers(),
    st.dates(min_value=date(2001, 1, 1), max_value=date(2099, 12, 31)),
    st.integers(min_value=1, max_value=14),
)
def test_a_written_household_reads_back_exactly(seed: int, until: date, months: int) -> None:
    """Writing and parsing are inverse for any seed, over clock changes too."""
    readings = simulate_household(until=until, months=months, seed=seed)
    curve = parse_curve(write_household_csv(readings))
    assert readings == curve.readings
    assert curve.rejected == ()


def test_every_hour_from_the_first_day_to_the_last_is_there(year: Readings) -> None:
    """Twelve months until 30 April 2023 are 8,760 consecutive hours, 25 and 23 on the clock changes."""
    by_day = Counter(reading.local_date for reading in year)
    days = [date(2022, 5, 1) + timedelta(days=offset) for offset in range(365)]
    assert {day: len(hours_of_day(day)) for day in days} == by_day
    assert (by_day[date(2022, 10, 30)], by_day[date(2023, 3, 26)]) == (25, 23)
    assert [hour for day in days for hour in hours_of_day(day)] == [reading.starts_at for reading in year]


def test_another_seed_is_another_household() -> None:
    """The seed decides the curve."""
    assert simulate_household(until=date(2023, 4, 30), months=1, seed=1) != simulate_household(
        until=date(2023, 4, 30), months=1, seed=2
    )


def test_at_least_one_month_is_simulated() -> None:
    """Fewer than one month is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least 1"):
        simulate_household(until=date(2023, 4, 30), months=0)


def mean(readings: list[HourlyReading]) -> Decimal:
    """Return the mean kWh of an hour."""
    return sum((reading.energy_kwh for reading in readings), Decimal(0)) / len(readings)


def test_the_curve_looks_like_a_home(year: Readings) -> None:
    """Evenings above nights, weekend mornings above working ones, January above May, a year of 2,000..5,000 kWh."""
    evening = [reading for reading in year if reading.local_hour in (20, 21)]
    night = [reading for reading in year if reading.local_hour in (3, 4)]
    mornings = [reading for reading in year if reading.local_hour in (9, 10, 11)]
    assert mean(evening) > 2 * mean(night)
    assert mean([r for r in mornings if r.local_date.weekday() >= 5]) > mean(
        [r for r in mornings if r.local_date.weekday() < 5]
    )
    assert mean([r for r in year if r.local_date.month == 1]) > mean(
        [r for r in year if r.local_date.month == 5]
    )
    assert 2000 < sum(reading.energy_kwh for reading in year) < 5000
    assert min(reading.energy_kwh for reading in year) > 0
    assert {"real", "estimated"} == {reading.method.value for reading in year}
