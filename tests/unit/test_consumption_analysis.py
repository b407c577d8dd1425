"""The consumption analysis: exact sums, shares, means by kind of day, peak hours, and the year before."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from expert_bot.energy.analyses.day_kinds import DayKind
from expert_bot.energy.analyses.use.consumption import consumption
from expert_bot.energy.analyses.use.consumption_report import consumption_report
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.forecast_homes import flat, real_home, with_energy


def busy_weekends() -> Curve:
    """Return two weeks at 0.1 kW, 0.2 on Saturdays, 0.3 on Sundays and on 1 May, 1 kWh more at 21:00 on workdays."""
    home = flat(date(2023, 5, 1), date(2023, 5, 15))
    weekday = (home.local_days + 3) % 7
    energy = np.where(
        weekday == 5, 0.2, np.where((weekday == 6) | (home.local_days == home.local_days[0]), 0.3, 0.1)
    )
    workday = (weekday < 5) & (home.local_days > home.local_days[0])
    return with_energy(home, energy + 1.0 * (workday & (home.local_hours == 21)))


def test_days_are_told_apart() -> None:
    """A workday has 2.4 + 1 kWh, a Saturday 4.8, a Sunday and 1 May 7.2."""
    found = consumption(busy_weekends())
    assert found.mean_day_by_kind_kwh == {
        DayKind.WORKDAY: Decimal("3.400"),
        DayKind.SATURDAY: Decimal("4.800"),
        DayKind.REST_DAY: Decimal("7.200"),
    }
    assert found.total_kwh == Decimal("3.4") * 9 + Decimal("4.8") * 2 + Decimal("7.2") * 3
    assert found.mean_day_kwh == Decimal("4.414")


def test_peak_hours_are_those_with_the_highest_mean() -> None:
    """21:00 stands out; of hours alike the earlier comes first; the highest hour is the first of its value."""
    found = consumption(busy_weekends())
    assert [peak.local_hour for peak in found.peak_hours] == [21, 0, 1]
    assert found.peak_hours[0].mean_kwh == Decimal("0.800")
    assert found.highest_hour == (datetime(2023, 5, 2, 19, tzinfo=UTC), Decimal("1.1"))


def test_a_real_year_is_exact(shared_data: Path) -> None:
    """Home 4 from July 2022 to June 2023: hours, periods and shares to the watt-hour, month by month."""
    found = consumption(real_home(shared_data, 4), date(2022, 7, 1), date(2023, 7, 1))
    assert found.by_period_kwh == {
        Period.P1: Decimal("912.445"),
        Period.P2: Decimal("1043.428"),
        Period.P3: Decimal("1620.984"),
    }
    assert found.share_pct == {
        Period.P1: Decimal("25.5"),
        Period.P2: Decimal("29.2"),
        Period.P3: Decimal("45.3"),
    }
    assert found.quality.hours == 8760
    assert [month.usage.month for month in found.months] == [
        *(f"2022-{number:02d}" for number in range(7, 13)),
        *(f"2023-{number:02d}" for number in range(1, 7)),
    ]
    assert sum(month.usage.total_kwh for month in found.months) == found.total_kwh
    october = found.months[3].usage
    assert [Decimal("47.546"), Decimal("70.249"), Decimal("140.319")] == list(october.energy_kwh.values())


def test_a_month_is_compared_with_the_same_one_a_year_before() -> None:
    """From 0.1 to 0.15 kW is half as much again; a month before the readings began has nothing to be compared with."""
    home = flat(date(2022, 5, 1), date(2023, 6, 1))
    home = with_energy(home, np.where(home.local_days >= home.local_days[0] + 365, 0.15, 0.1))
    months = {month.usage.month: month.year_change for month in consumption(home).months}
    change = months["2023-05"]
    assert change is not None
    assert (Decimal("37.2"), Decimal("50.0")) == (change.energy_kwh, change.pct)
    assert months["2023-04"] is None


@pytest.mark.parametrize(
    ("lost", "period"),
    [
        pytest.param(slice(0, 100), (date(2023, 5, 1), date(2023, 6, 1)), id="the year before lacks hours"),
        pytest.param(slice(8760, 8860), (date(2023, 5, 1), date(2023, 6, 1)), id="the month lacks hours"),
        pytest.param(slice(0, 0), (date(2023, 5, 1), date(2023, 5, 20)), id="only a part is asked for"),
    ],
)
def test_months_that_lack_hours_are_not_compared(lost: slice, period: tuple[date, date]) -> None:
    """Less than 90 % of the hours of either month: no change is claimed."""
    home = flat(date(2022, 5, 1), date(2023, 6, 1))
    kept = np.ones(len(home), dtype=np.bool_)
    kept[lost] = False
    assert [month.year_change for month in consumption(home.where(kept), *period).months] == [None]


def test_an_empty_house_has_no_shares() -> None:
    """Nothing of nothing is no percentage."""
    assert consumption(flat(date(2023, 5, 1), date(2023, 6, 1), kw=0.0)).share_pct is None


@pytest.mark.parametrize(
    ("said", "curve", "period"),
    [
        pytest.param("there are no readings", flat(date(2023, 5, 1), date(2023, 5, 1)), (None, None), id="nothing"),
        pytest.param("no reading from 2020-01-01 until 2020-02-01: there are 2023-05-01 .. 2023-05-31", flat(date(2023, 5, 1), date(2023, 6, 1)), (date(2020, 1, 1), date(2020, 2, 1)), id="another year"),
    ],
)  # fmt: skip
def test_a_period_without_readings_is_refused(
    said: str, curve: Curve, period: tuple[date | None, date | None]
) -> None:
    """The message says what there is."""
    with pytest.raises(UsageError, match=said):
        consumption(curve, *period)


def test_the_published_form_states_its_facts() -> None:
    """Sums, shares and means are facts; decimals are text; the reading's quality is beside them."""
    report = consumption_report(busy_weekends())
    shown = report.as_json()
    assert list(shown) == [
        "start",
        "end",
        "hours",
        "total_kwh",
        "by_period_kwh",
        "share_pct",
        "mean_day_kwh",
        "mean_day_by_kind_kwh",
        "peak_hours",
        "highest_hour",
        "months",
        "facts",
        "data_quality",
    ]
    assert (shown["total_kwh"], shown["mean_day_by_kind_kwh"]) == (
        "61.8",
        {"workday": "3.400", "saturday": "4.800", "rest_day": "7.200"},
    )
    assert shown["highest_hour"] == {"starts_at": "2023-05-02T21:00:00+02:00", "kwh": "1.1"}
    assert shown["data_quality"] == {
        "coverage_pct": "100.0",
        "estimated_pct": "0.0",
        "data_until": "2023-05-14",
    }
    facts = {fact.id: (fact.value, fact.unit) for fact in report.facts}
    assert facts["consumption_total"] == ("61.8", "kWh")
    assert facts["mean_rest_day_kwh"] == ("7.200", "kWh")
    assert facts["share_p3"][1] == "%"
