"""Which days are alike: Easter, holidays, and what a day of 23 or 25 hours looks like as 24 clock hours."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from expert_bot.energy.analyses.day_grid import DayGrid, empty_hours, first_open_day
from expert_bot.energy.analyses.day_kinds import DayKind, easter_sunday, kind_of, kinds_of
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import day_number
from tests.unit.forecast_homes import flat, with_energy


@pytest.mark.parametrize(
    "sunday",
    [
        pytest.param(date(1961, 4, 2), id="1961"),
        pytest.param(date(2000, 4, 23), id="2000"),
        pytest.param(date(2011, 4, 24), id="2011"),
        pytest.param(date(2024, 3, 31), id="2024"),
        pytest.param(date(2026, 4, 5), id="2026"),
        pytest.param(date(2038, 4, 25), id="latest possible"),
        pytest.param(date(2285, 3, 22), id="earliest possible"),
    ],
)
def test_easter_is_found(sunday: date) -> None:
    """Easter Sunday is the one of the church's table."""
    assert sunday == easter_sunday(sunday.year)


@pytest.mark.parametrize(
    ("expected", "day"),
    [
        pytest.param(DayKind.WORKDAY, date(2023, 4, 3), id="Monday"),
        pytest.param(DayKind.SATURDAY, date(2023, 4, 1), id="Saturday"),
        pytest.param(DayKind.REST_DAY, date(2023, 4, 2), id="Sunday"),
        pytest.param(DayKind.REST_DAY, date(2023, 4, 7), id="Good Friday, though it is billed as a workday"),
        pytest.param(DayKind.WORKDAY, date(2023, 4, 6), id="Maundy Thursday is regional"),
        pytest.param(DayKind.WORKDAY, date(2023, 4, 10), id="Easter Monday is regional"),
        pytest.param(DayKind.REST_DAY, date(2022, 10, 12), id="holiday on a Wednesday"),
        pytest.param(DayKind.REST_DAY, date(2022, 1, 1), id="holiday on a Saturday"),
        pytest.param(DayKind.SATURDAY, date(2020, 2, 29), id="29 February, a Saturday"),
        pytest.param(DayKind.WORKDAY, date(2024, 2, 29), id="29 February, a Thursday"),
    ],
)
def test_days_are_told_apart_by_how_people_live(expected: DayKind, day: date) -> None:
    """Workdays, Saturdays, and Sundays with national holidays."""
    assert expected is kind_of(day)
    assert [expected] == kinds_of(np.array([day_number(day)])).tolist()


@pytest.mark.parametrize(
    ("day", "row", "total"),
    [
        pytest.param(
            date(2023, 3, 26), [0.0, 1.0, None, 2.0, 3.0], 22 * 23 / 2 * 24 / 23, id="hour 2 is skipped"
        ),
        pytest.param(date(2022, 10, 30), [0.0, 1.0, 2.5, 4.0, 5.0], None, id="hour 2 is the mean of both"),
    ],
)
def test_a_day_of_another_length_becomes_24_clock_hours(
    day: date, row: list[float | None], total: float | None
) -> None:
    """The skipped hour is unknown, the repeated one a mean, and the total is what 24 such hours would be."""
    hours = empty_hours(day, date.fromordinal(day.toordinal() + 1), TariffZone.PENINSULA)
    grid = DayGrid.of(with_energy(hours, np.arange(len(hours), dtype=np.float64)))
    assert row == [None if np.isnan(value) else value for value in grid.energy_kwh[0, :5].tolist()]
    if total is not None:
        assert total == pytest.approx(grid.total_kwh[0])


def test_a_day_with_few_hours_has_no_total() -> None:
    """With 18 hours the total is scaled up, with 17 it is unknown; a day without any is there all the same."""
    curve = flat(date(2023, 5, 1), date(2023, 5, 5))
    kept = np.ones(len(curve), dtype=np.bool_)
    kept[:6], kept[24:31], kept[48:72] = False, False, False
    grid = DayGrid.of(curve.where(kept))
    assert len(grid) == 4
    assert [None if np.isnan(kwh) else round(kwh, 9) for kwh in grid.total_kwh] == [2.4, None, None, 2.4]


def test_a_grid_may_go_on_after_the_readings() -> None:
    """Days up to the one asked for are there, unknown; without readings there is no grid and no open day."""
    grid = DayGrid.of(flat(date(2023, 5, 1), date(2023, 5, 5)), date(2023, 5, 8))
    assert (len(grid), np.isnan(grid.total_kwh).tolist()) == (7, [False] * 4 + [True] * 3)
    nothing = flat(date(2023, 5, 1), date(2023, 5, 1))
    for ask in (DayGrid.of, first_open_day):
        with pytest.raises(ValueError, match="no readings"):
            ask(nothing)


def test_the_first_open_day_is_the_one_the_readings_do_not_finish() -> None:
    """Readings to the last hour of a day open the next; without that hour the day itself is open."""
    curve = flat(date(2023, 5, 1), date(2023, 5, 5))
    assert date(2023, 5, 5) == first_open_day(curve)
    assert date(2023, 5, 4) == first_open_day(curve.where(curve.start_hours < curve.start_hours[-1]))
