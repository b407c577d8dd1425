"""What is said of monthly sums: coverage, a complete year, the dominant period, the change to the month before."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import (
    Change,
    Direction,
    MonthUsage,
    change_between,
    dominant_period,
    has_complete_year,
    last_full_months,
)

WATT_HOURS = st.integers(min_value=0, max_value=10**9).map(lambda value: Decimal(value).scaleb(-3))


def usage(
    month: str,
    p1: Decimal | str,
    p2: Decimal | str = "0",
    p3: Decimal | str = "0",
    *,
    hours: int | None = None,
) -> MonthUsage:
    """Build a month's usage, fully covered unless `hours` says otherwise."""
    return MonthUsage(
        month=month,
        energy_kwh={Period.P1: Decimal(p1), Period.P2: Decimal(p2), Period.P3: Decimal(p3)},
        hours=Month.parse(month).hours if hours is None else hours,
        estimated_hours=0,
        first_day=f"{month}-01",
        last_day=f"{month}-28",
    )


def year_until(last: str, **hours: int) -> dict[Month, MonthUsage]:
    """Build the 12 months up to `last`, fully covered but for `mMM=hours`."""
    months = [Month.parse(last).plus(-back) for back in range(12)]
    return {
        month: usage(str(month), "1", "2", "3", hours=hours.get(f"m{month.number:02d}")) for month in months
    }


@given(WATT_HOURS, WATT_HOURS, WATT_HOURS)
def test_the_total_is_exactly_the_sum_of_the_periods(p1: Decimal, p2: Decimal, p3: Decimal) -> None:
    """P1 + P2 + P3 = total, to the last watt-hour."""
    assert usage("2023-04", p1, p2, p3).total_kwh == p1 + p2 + p3


@pytest.mark.parametrize(
    ("coverage", "missing", "well_covered", "hours"),
    [
        pytest.param("100.0", 0, True, 720, id="whole month"),
        pytest.param("99.8", 1, True, 719, id="one hour missing is never 100"),
        pytest.param("90.0", 72, True, 648, id="exactly 90 %"),
        pytest.param("89.8", 73, False, 647, id="just below 90 %"),
        pytest.param("0.0", 720, False, 0, id="nothing"),
    ],
)
def test_coverage_counts_hours_of_the_whole_month(
    *, coverage: str, missing: int, well_covered: bool, hours: int
) -> None:
    """Coverage is rounded down; conclusions need 90 % of the hours."""
    month = usage("2023-04", "1", hours=hours)
    assert (Decimal(coverage), missing, well_covered) == (
        month.coverage_pct,
        month.missing_hours,
        month.is_well_covered,
    )


def test_estimated_hours_are_a_share_of_the_hours_read() -> None:
    """24 estimated of 720 hours are 3.3 %; without hours there is no share."""
    month = usage("2023-04", "1")
    estimated = MonthUsage(
        month=month.month,
        energy_kwh=month.energy_kwh,
        hours=720,
        estimated_hours=24,
        first_day=month.first_day,
        last_day=month.last_day,
    )
    assert Decimal("3.3") == estimated.estimated_pct
    assert Decimal("0.0") == usage("2023-04", "0", hours=0).estimated_pct


@pytest.mark.parametrize(
    ("first", "last", "data_until"),
    [
        pytest.param("2022-07", "2023-06", date(2023, 7, 15), id="inside July"),
        pytest.param("2022-07", "2023-06", date(2023, 7, 30), id="July but one day"),
        pytest.param("2022-08", "2023-07", date(2023, 7, 31), id="July is over"),
        pytest.param("2022-01", "2022-12", date(2023, 1, 1), id="new year"),
    ],
)
def test_a_month_is_full_when_its_last_day_has_data(first: str, last: str, data_until: date) -> None:
    """The 12 last full months end with the last month that is over on the last day with data."""
    months = last_full_months(data_until)
    assert (first, last, 12) == (str(months[0]), str(months[-1]), len(months))


@pytest.mark.parametrize(
    ("complete", "months", "data_until"),
    [
        pytest.param(True, year_until("2023-06"), date(2023, 7, 15), id="all there"),
        pytest.param(True, year_until("2023-06", m02=605), date(2023, 7, 15), id="one month at 90 %"),
        pytest.param(False, year_until("2023-06", m02=604), date(2023, 7, 15), id="one month below 90 %"),
        pytest.param(False, year_until("2023-06"), date(2023, 7, 31), id="last full month missing"),
        pytest.param(False, {}, None, id="no data"),
    ],
)
def test_a_year_is_complete_when_each_month_is_well_covered(
    *, complete: bool, months: dict[Month, MonthUsage], data_until: date | None
) -> None:
    """Twelve well-covered months are complete; one missing month cannot be outweighed by the others."""
    assert complete == has_complete_year(months, data_until)


@pytest.mark.parametrize(
    ("expected", "months", "data_until"),
    [
        pytest.param(Period.P3, year_until("2023-06"), date(2023, 7, 1), id="most in valle"),
        pytest.param(
            Period.P1,
            {
                Month(2023, 6): usage("2023-06", "2", "1", "1"),
                Month(2022, 6): usage("2022-06", "0", "0", "99"),
            },
            date(2023, 7, 1),
            id="older than 12 months does not count",
        ),
        pytest.param(
            Period.P1, {Month(2023, 6): usage("2023-06", "2", "2", "2")}, date(2023, 6, 30), id="tie"
        ),
        pytest.param(None, {Month(2023, 6): usage("2023-06", "0")}, date(2023, 6, 30), id="nothing used"),
        pytest.param(None, {}, None, id="no data"),
    ],
)
def test_the_dominant_period_is_that_of_the_last_full_year(
    expected: Period | None, months: dict[Month, MonthUsage], data_until: date | None
) -> None:
    """The period with most energy in the 12 last full months; P1 before P2 before P3 when equal."""
    assert expected == dominant_period(months, data_until)


@pytest.mark.parametrize(
    ("expected", "previous", "current"),
    [
        pytest.param(("-47.475", "-13.9", Direction.DOWN), "340.791", "293.316", id="less"),
        pytest.param(("47.475", "16.2", Direction.UP), "293.316", "340.791", id="more"),
        pytest.param(("0", "0.0", Direction.EQUAL), "100", "100.000", id="equal"),
        pytest.param(("0.050", "0.1", Direction.UP), "100", "100.050", id="half rounds up"),
        pytest.param(("-0.050", "-0.1", Direction.DOWN), "100", "99.950", id="half rounds away from zero"),
        pytest.param(("-0.001", "0.0", Direction.DOWN), "100", "99.999", id="no negative zero"),
        pytest.param(("-100", "-100.0", Direction.DOWN), "100", "0", id="down to nothing"),
    ],
)
def test_the_change_is_exact_in_kwh_and_rounded_in_percent(
    expected: tuple[str, str, Direction], previous: str, current: str
) -> None:
    """Difference in exact kWh, percent of the month before with one decimal, direction by the exact difference."""
    change = change_between(usage("2023-03", previous), usage("2023-04", current))
    energy_kwh, pct, direction = expected
    assert (
        Change(energy_kwh=Decimal(energy_kwh), pct=Decimal(pct), direction=direction, is_reliable=True)
        == change
    )
    assert change is not None
    assert pct == str(change.pct)


@pytest.mark.parametrize(
    "previous", [pytest.param(None, id="no data"), pytest.param(usage("2023-03", "0"), id="nothing used")]
)
def test_there_is_no_change_from_nothing(previous: MonthUsage | None) -> None:
    """Without a month before, or with one that used nothing, there is no percentage and so no change."""
    assert change_between(previous, usage("2023-04", "1")) is None


@pytest.mark.parametrize(
    ("reliable", "previous_hours", "hours"),
    [
        pytest.param(True, 669, 648, id="both at 90 %"),
        pytest.param(False, 668, 720, id="month before below 90 %"),
        pytest.param(False, 743, 647, id="month below 90 %"),
    ],
)
def test_a_change_is_reliable_when_both_months_are_well_covered(
    *, reliable: bool, previous_hours: int, hours: int
) -> None:
    """Missing hours look like saved energy, so a poorly covered month on either side is flagged."""
    change = change_between(usage("2023-03", "5", hours=previous_hours), usage("2023-04", "4", hours=hours))
    assert change is not None
    assert reliable == change.is_reliable
