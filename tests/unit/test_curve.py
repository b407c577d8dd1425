"""Curves as columns: exact sums, local labels, parts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import (
    NANO,
    PERIODS,
    Curve,
    day_number,
    day_of,
    expected_hours,
    hour_number,
    instant_of_hour,
    kwh,
    nano,
)
from expert_bot.energy.readings import ReadingMethod
from tests.unit.curve_files import DAYS, readings_of

ZONES = [TariffZone.PENINSULA, TariffZone.CANARIAS, TariffZone.CEUTA]


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("days", DAYS)
def test_columns_say_what_readings_say(days: str, zone: TariffZone) -> None:
    """Local day, hour and period of each column are those of the reading, where the clock changes too."""
    readings = readings_of(*DAYS[days], zone=zone, with_panels=True)
    curve = Curve.from_readings(readings, zone=zone)
    assert [r.local_date for r in readings] == [day_of(number) for number in curve.local_days.tolist()]
    assert [r.local_hour for r in readings] == curve.local_hours.tolist()
    assert [r.period for r in readings] == [PERIODS[index] for index in curve.periods.tolist()]
    assert [r.starts_at for r in readings] == [instant_of_hour(hour) for hour in curve.start_hours.tolist()]
    assert [r.method is ReadingMethod.ESTIMATED for r in readings] == curve.estimated.tolist()
    assert sum(r.energy_kwh for r in readings) == curve.total_kwh() == sum(curve.kwh_by_period().values())
    assert sum(r.surplus_kwh or 0 for r in readings) == curve.surplus_kwh()
    assert [float(r.energy_kwh) for r in readings] == pytest.approx(curve.energy_kwh.tolist())


@given(st.integers(min_value=0, max_value=9), st.integers(min_value=0, max_value=9))
def test_parts_are_the_days_asked_for(first: int, until: int) -> None:
    """The end is exclusive; an end before the start is nothing."""
    start = date(2022, 10, 27)
    curve = Curve.from_readings(readings_of(start, date(2022, 11, 4)))
    begin, end = (date.fromordinal(start.toordinal() + days) for days in (first, until))
    part = curve.between(begin, end)
    assert len(part) == max(expected_hours(begin, min(end, date(2022, 11, 5))), 0)
    if len(part):
        assert begin == part.first_day


def test_months_are_in_order_without_empty_ones() -> None:
    """A month without hours is left out."""
    curve = Curve.from_readings(readings_of(date(2022, 10, 31), date(2022, 12, 1)))
    november = (curve.local_days >= day_number(date(2022, 11, 1))) & (
        curve.local_days < day_number(date(2022, 12, 1))
    )
    assert [(Month(2022, 10), 24), (Month(2022, 12), 24)] == [
        (month, len(hours)) for month, hours in curve.where(~november).months()
    ]


def test_a_curve_without_hours_has_no_days() -> None:
    """Empty columns are a curve."""
    curve = Curve.from_readings([])
    assert (0, None, None, [], Decimal(0), Decimal(0)) == (
        len(curve),
        curve.first_day,
        curve.last_day,
        list(curve.months()),
        curve.total_kwh(),
        curve.surplus_kwh(),
    )


@pytest.mark.parametrize(
    ("message", "hours", "energy"),
    [
        pytest.param("must rise, each once", [1, 1], [0, 0], id="twice"),
        pytest.param("must rise, each once", [2, 1], [0, 0], id="backwards"),
        pytest.param("same length", [1, 2], [0], id="lengths"),
    ],
)
def test_columns_that_are_no_curve_are_refused(message: str, hours: list[int], energy: list[int]) -> None:
    """Hours rise, and every hour has its energy."""
    columns = (np.array(values, dtype=np.int64) for values in (hours, energy))
    with pytest.raises(ValueError, match=message):
        Curve.of(*columns, np.zeros(2, dtype=np.bool_))


@pytest.mark.parametrize("text", ["0", "1", "0.000000001", "1000", "47.546", "100"])
def test_energies_are_whole_billionths(text: str) -> None:
    """There and back is exact."""
    assert text == f"{kwh(nano(Decimal(text))):f}"


def test_a_finer_energy_is_refused() -> None:
    """Ten decimals would be lost."""
    with pytest.raises(ValueError, match="more than 9 decimals"):
        nano(Decimal("0.0000000001"))
    assert nano(Decimal(1)) == NANO


def test_hours_are_counted_from_1970() -> None:
    """The first hour is 0, and counting back gives the instant."""
    instant = datetime(2022, 10, 30, 1, tzinfo=UTC)
    assert hour_number(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert instant == instant_of_hour(hour_number(instant))


@pytest.mark.parametrize(
    ("hours", "day"),
    [(25, date(2022, 10, 30)), (23, date(2023, 3, 26)), (24, date(2023, 3, 27))],
    ids=["autumn", "spring", "ordinary"],
)
def test_days_have_23_24_or_25_hours(hours: int, day: date) -> None:
    """In every zone, though at other instants."""
    for zone in ZONES:
        assert hours == expected_hours(day, date.fromordinal(day.toordinal() + 1), zone)
