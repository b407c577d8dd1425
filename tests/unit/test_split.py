"""Consumption by period and month, its cost by the hour, and the typical week."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.split import decimal_text, split_consumption, split_report
from expert_bot.energy.week import week_profile, week_report
from tests.unit.curve_files import readings_of

OCTOBER, NOVEMBER = date(2022, 10, 1), date(2022, 11, 1)


def october(zone: TariffZone = TariffZone.PENINSULA) -> Curve:
    """Return an invented October 2022: 745 hours."""
    return Curve.from_readings(readings_of(OCTOBER, date(2022, 10, 31), zone=zone), zone=zone)


def prices_of(curve: Curve, *, until: date = NOVEMBER) -> HourlyPrices:
    """Return 0.2 EUR/kWh for the hours before a day."""
    hours = curve.between(None, until).start_hours
    return HourlyPrices(
        zone=curve.zone, start_hours=hours, price_neur=np.full(len(hours), 200_000_000, dtype=np.int64)
    )


def test_the_reference_splits_come_out(shared_data: Path) -> None:
    """Cases C4 and C5: October 2022 with its 25-hour day and holiday, and a year."""
    cases = {
        case["id"].partition("-")[0]: case.get("expect", {})
        for case in json.loads((shared_data / "energy" / "reference_bills.json").read_text())["cases"]
    }
    home = (shared_data / "energy" / "households_es" / "home_4.csv").read_bytes()
    curve = Curve.from_readings(parse_curve([home]).readings)
    for case, first, until in (
        ("C4", OCTOBER, NOVEMBER),
        ("C5", date(2022, 7, 1), date(2023, 7, 1)),
    ):
        split = split_consumption(curve, first, until)
        assert (cases[case]["rows"], {Period(p): Decimal(str(e)) for p, e in cases[case]["kwh"].items()}) == (
            split.hours,
            split.kwh,
        )


@given(st.integers(min_value=0, max_value=31))
def test_periods_months_and_parts_add_up(days: int) -> None:
    """P1 + P2 + P3 is the total, the months are the whole, and so are the two parts of a period cut in two."""
    curve = Curve.from_readings(readings_of(date(2022, 10, 15), date(2022, 11, 15)))
    whole = split_consumption(curve)
    assert curve.total_kwh() == sum(whole.kwh.values())
    for period in Period:
        assert whole.kwh[period] == sum((month.kwh[period] for month in whole.months), Decimal(0))
    assert whole.hours == sum(month.hours for month in whole.months) == 32 * 24 + 1
    cut = date.fromordinal(date(2022, 10, 16).toordinal() + days - 1) if days else date(2022, 10, 16)
    if date(2022, 10, 15) < cut <= date(2022, 11, 15):
        parts = split_consumption(curve, None, cut), split_consumption(curve, cut, None)
        assert whole.kwh == {period: parts[0].kwh[period] + parts[1].kwh[period] for period in Period}


def test_a_cost_needs_a_price_for_every_hour() -> None:
    """Where hours have no price there is no cost of the whole, but of the priced part, which is named as that."""
    curve = october()
    full = split_report(split_consumption(curve, prices=prices_of(curve)))
    assert decimal_text(curve.total_kwh() * Decimal("0.2")) == full.result["pvpc_energy_eur"]
    assert {"pvpc_energy", "hours_without_price"} <= {fact.id for fact in full.facts}

    partial = split_report(split_consumption(curve, prices=prices_of(curve, until=date(2022, 10, 31))))
    assert partial.result["pvpc_energy_eur"] is None
    last_day = curve.between(date(2022, 10, 31)).total_kwh()
    assert {
        "priced_hours": 721,
        "priced_eur": decimal_text((curve.total_kwh() - last_day) * Decimal("0.2")),
        "missing_hours": 24,
        "missing_kwh": decimal_text(last_day),
    } == partial.result["pvpc"]
    assert "pvpc_energy_of_priced_hours" in {fact.id for fact in partial.facts}

    without = split_report(split_consumption(curve)).result
    assert (without["pvpc_energy_eur"], without["pvpc"]) == (None, None)


def test_no_prices_at_all_price_nothing() -> None:
    """An empty list of prices is not a price of zero."""
    curve = october()
    split = split_consumption(curve, prices=prices_of(curve, until=OCTOBER))
    assert split.cost is not None
    assert (0, 745, curve.total_kwh()) == (
        split.cost.priced_hours,
        split.cost.missing_hours,
        split.cost.missing_kwh,
    )


def test_the_report_says_what_it_stands_on() -> None:
    """Every number is a fact with its days, source and quality; without floating point anywhere."""
    curve = october(TariffZone.CANARIAS)
    report = split_report(split_consumption(curve, prices=prices_of(curve)))
    document = report.as_json()
    assert document == json.loads(
        json.dumps(document), parse_float=lambda text: pytest.fail(f"a float: {text}")
    )
    assert {"coverage_pct": "100.0", "data_until": "2022-10-31"}.items() <= document["data_quality"].items()  # type: ignore[union-attr, operator]
    for fact in report.facts:
        assert fact.period is not None
        assert (fact.period.start, fact.period.end) == ("2022-10-01", "2022-11-01")
    assert any("Canary clock" in fact.source for fact in report.facts)


def test_months_are_local() -> None:
    """The first Canary hour of October belongs to October."""
    split = split_consumption(october(TariffZone.CANARIAS))
    assert [(Month(2022, 10), 745)] == [(month.month, month.hours) for month in split.months]


def test_a_week_is_the_mean_of_its_hours() -> None:
    """Mondays at 13:00 are averaged over the Mondays with a reading, to the watt-hour."""
    readings = readings_of(OCTOBER, date(2022, 10, 31))
    mondays = [r.energy_kwh for r in readings if r.local_date.weekday() == 0 and r.local_hour == 13]
    assert len(mondays) == 5
    profile = week_profile(Curve.from_readings(readings))
    mean = profile.mean_kwh(0, 13)
    assert mean is not None
    assert abs(sum(mondays, Decimal(0)) / 5 - mean) <= Decimal("0.0005")
    assert int(profile.hours.sum()) == 745
    assert int(profile.hours[6, 2]) == 6, "Sunday 2:00 stands twice on one of five Sundays"


def test_the_report_of_a_week_names_its_peak() -> None:
    """The largest mean is a fact with its weekday and hour; a cell without a reading is null."""
    day = date(2022, 10, 3)
    readings = [r for r in readings_of(day, day) if r.local_hour != 5]
    report = week_report(week_profile(Curve.from_readings(readings)))
    means = report.result["mean_kwh"]
    assert isinstance(means, dict)
    assert means["tuesday"] == [None] * 24
    assert isinstance(means["monday"], list)
    assert means["monday"][5] is None
    top = max(readings, key=lambda reading: reading.energy_kwh)
    assert {"weekday": "monday", "hour": top.local_hour, "mean_kwh": f"{top.energy_kwh:f}"} == report.result[
        "peak"
    ]
    assert {"week_peak_mean", "week_peak_weekday", "week_peak_hour"} == {fact.id for fact in report.facts}


def test_a_week_without_hours_has_no_peak() -> None:
    """Days before the first reading are empty, not zero."""
    report = week_report(week_profile(october(), date(2021, 1, 1), date(2021, 1, 8)))
    assert (report.result["peak"], report.result["rows"], report.facts) == (None, 0, ())


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", "0.000"), ("100", "100"), ("0.5", "0.50"), ("0.0000001", "1E-7"), ("-2", "-2.0")],
    ids=str,
)
def test_numbers_are_written_without_exponent_or_needless_zeros(text: str, number: str) -> None:
    """Text for machines: exact and plain."""
    assert text == decimal_text(Decimal(number))
