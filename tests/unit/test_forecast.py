"""A home's forecast: its hours, its month, EUR, what it refuses, and its published form."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.analyses.forecasting.backtest import backtest
from expert_bot.energy.analyses.forecasting.forecast import Forecast, forecast
from expert_bot.energy.analyses.forecasting.forecast_report import forecast_report
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.quality import quality_of
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.forecast_homes import flat, simulated

PRICES = {Period.P1: Decimal("0.2"), Period.P2: Decimal("0.1"), Period.P3: Decimal("0.05")}


@pytest.mark.parametrize(
    ("hours", "first_start", "day", "zone"),
    [
        pytest.param(24, datetime(2023, 5, 7, 22, tzinfo=UTC), date(2023, 5, 8), TariffZone.PENINSULA, id="ordinary"),
        pytest.param(23, datetime(2023, 3, 25, 23, tzinfo=UTC), date(2023, 3, 26), TariffZone.PENINSULA, id="spring"),
        pytest.param(25, datetime(2022, 10, 29, 22, tzinfo=UTC), date(2022, 10, 30), TariffZone.PENINSULA, id="autumn"),
        pytest.param(24, datetime(2023, 5, 7, 23, tzinfo=UTC), date(2023, 5, 8), TariffZone.CANARIAS, id="Canary time"),
    ],
)  # fmt: skip
def test_a_day_has_the_hours_of_its_clock(
    hours: int, first_start: datetime, day: date, zone: TariffZone
) -> None:
    """23, 24 or 25 hours, the first at local midnight of the zone, all as the home always was."""
    home = flat(date.fromordinal(day.toordinal() - 60), day, zone=zone)
    found = forecast(home)
    assert (day, hours, first_start) == (found.day, len(found.hours), found.hours[0].starts_at)
    assert {Decimal("0.100")} == {hour.energy_kwh for hour in found.hours}
    assert found.total.energy_kwh == pytest.approx(Decimal("0.1") * hours, abs=Decimal("0.002"))


def test_a_month_is_what_was_read_and_what_is_expected() -> None:
    """Of a home at 0.1 kW in May (744 h): 168 h read, the rest expected; periods add up; EUR are those of the periods."""
    found = forecast(flat(date(2023, 2, 1), date(2023, 5, 8)), price_eur_per_kwh=PRICES)
    month = found.month
    assert (date(2023, 5, 1), date(2023, 6, 1)) == (month.first, month.until)
    assert Decimal("16.8") == month.known_kwh
    assert Decimal("74.4") == month.energy_kwh == sum(month.by_period.values())
    # 22 working days, 1 May is a holiday: 8 h of P1 and of P2 on each
    assert {
        Period.P1: Decimal("17.6"),
        Period.P2: Decimal("17.6"),
        Period.P3: Decimal("39.2"),
    } == month.by_period
    assert Decimal("7.24") == month.eur
    assert month.low_kwh < month.energy_kwh < month.high_kwh
    assert month.low_eur is not None
    assert month.high_eur is not None
    assert month.low_eur < Decimal("7.24") < month.high_eur
    assert Decimal("72.0") == found.next_30_days.energy_kwh


def test_a_gap_in_the_month_is_filled_with_what_is_expected() -> None:
    """Two days without readings are no saving: the month comes out as if they had been like the others."""
    home = flat(date(2023, 2, 1), date(2023, 5, 15))
    hole = (home.start_hours >= home.start_hours[-1] - 96) & (home.start_hours < home.start_hours[-1] - 48)
    found = forecast(home.where(~hole))
    assert Decimal("28.8") == found.month.known_kwh
    assert found.month.energy_kwh == pytest.approx(Decimal("74.4"), abs=Decimal("0.002"))


def test_hours_before_the_first_reading_are_not_made_up() -> None:
    """A month that began before the readings did is forecast from their first day on."""
    found = forecast(flat(date(2023, 4, 4), date(2023, 5, 3)), day=date(2023, 5, 2))
    assert Decimal("2.4") == found.month.known_kwh
    early = forecast(flat(date(2023, 5, 3), date(2023, 5, 31)))
    assert early.month.energy_kwh == pytest.approx(Decimal("69.6"), abs=Decimal("0.002"))


def test_a_day_that_is_not_over_is_the_one_to_forecast() -> None:
    """Readings until 13:00 are of no use for that day's forecast, which starts at its midnight."""
    whole = simulated(date(2023, 6, 30), 4)
    cut = whole.where(whole.start_hours <= whole.start_hours[-1] - 11)
    assert date(2023, 6, 30) == forecast(cut).day
    assert forecast(whole.between(None, date(2023, 6, 30))).hours == forecast(cut).hours


def test_later_readings_are_not_used() -> None:
    """The forecast of a day in the past is the one that was made then."""
    whole = simulated()
    day = date(2023, 5, 10)
    assert forecast(whole.between(None, day)) == forecast(whole, day=day)


def test_today_may_lie_days_after_the_last_reading() -> None:
    """Readings come days late: today's hours are forecast from what there is, the days between are expected."""
    found = forecast(flat(date(2023, 2, 1), date(2023, 5, 8)), day=date(2023, 5, 12))
    assert {Decimal("0.100")} == {hour.energy_kwh for hour in found.hours}
    assert (date(2023, 5, 12), Decimal("16.8")) == (found.day, found.month.known_kwh)
    assert found.month.energy_kwh == pytest.approx(Decimal("74.4"), abs=Decimal("0.002"))


def without_hour(curve: Curve, local_hour: int) -> Curve:
    """Return the curve without one hour of every day."""
    return curve.where(curve.local_hours != local_hour)


def recent_gap(curve: Curve) -> Curve:
    """Return the curve without its last 50 days but the very last."""
    return curve.where(
        (curve.local_days < curve.local_days[-1] - 50) | (curve.local_days == curve.local_days[-1])
    )


@pytest.mark.parametrize(
    ("said", "curve"),
    [
        pytest.param("28 days of readings: there are none", flat(date(2023, 5, 1), date(2023, 5, 1)), id="nothing"),
        pytest.param("2023-05-28 needs 28 days .* there are 27", flat(date(2023, 5, 1), date(2023, 5, 28)), id="27 days"),
        pytest.param("needs 14 days .* in the 56 days before it: there are 6", recent_gap(flat(date(2023, 1, 1), date(2023, 5, 28))), id="stale"),
        pytest.param("readings of every hour: none began at 3:00", without_hour(flat(date(2023, 1, 1), date(2023, 5, 28)), 3), id="an hour never read"),
    ],
)  # fmt: skip
def test_too_little_is_refused_with_what_is_needed(said: str, curve: Curve) -> None:
    """The message says how many days are needed and how many there are."""
    with pytest.raises(UsageError, match=said):
        forecast(curve)


def test_readings_that_ended_long_ago_are_refused() -> None:
    """Six weeks after the last reading nothing is said of today; the message names that reading's day."""
    home = flat(date(2023, 1, 1), date(2023, 5, 28))
    assert forecast(home, day=date(2023, 7, 9)).day == date(2023, 7, 9)
    with pytest.raises(UsageError, match="there are 13, the last on 2023-05-27"):
        forecast(home, day=date(2023, 7, 10))


def test_28_days_are_enough() -> None:
    """Without anything to measure the error by, none is claimed."""
    found = forecast(flat(date(2023, 5, 1), date(2023, 5, 29)))
    assert found.measured is None
    assert {Decimal("0.100")} == {hour.energy_kwh for hour in found.hours}


@given(seed=st.integers(0, 2**32 - 1), kept=st.floats(0.5, 1.0))
@settings(max_examples=15, deadline=None)
def test_holes_do_not_break_a_forecast(seed: int, kept: float) -> None:
    """With up to half of the hours missing a forecast is refused or complete: every number finite, intervals in order."""
    whole = simulated()
    random = np.random.default_rng(seed)
    days = np.unique(whole.local_days)
    lost = days[random.random(len(days)) > kept]
    holed = whole.where(~np.isin(whole.local_days, lost) & (random.random(len(whole)) < 0.98))
    try:
        found, tested = forecast(holed), backtest(holed, 14)
    except UsageError:
        return
    assert "NaN" not in str(tested)
    assert "NaN" not in str(found.measured)
    for hour in found.hours:
        assert 0 <= hour.low_kwh <= hour.energy_kwh <= hour.high_kwh
    for total in (found.total, found.month, found.next_30_days):
        assert 0 <= total.low_kwh <= total.energy_kwh <= total.high_kwh < 10_000


def test_an_empty_house_is_expected_to_stay_empty() -> None:
    """All zeros: zeros ahead, and no ratio to them is claimed."""
    found = forecast(flat(date(2023, 2, 1), date(2023, 5, 8), kw=0.0))
    assert {Decimal("0.000")} == {hour.high_kwh for hour in found.hours}
    assert found.month.energy_kwh == 0
    assert found.measured is not None
    assert found.measured.wape is None
    scores = backtest(flat(date(2023, 2, 1), date(2023, 5, 8), kw=0.0), 30).forecast
    assert (scores.mase_168, scores.mase_168_window, scores.wape, scores.month_total_error_pct) == (None, None, None, None)  # fmt: skip


def numbers_in(value: Any) -> list[float]:
    """Return every floating-point number a JSON value holds."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers_in(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers_in(part)]
    return [value] if isinstance(value, float) else []


@pytest.fixture(scope="module")
def priced() -> Forecast:
    """Forecast a simulated home with prices."""
    return forecast(simulated(), price_eur_per_kwh=PRICES)


def test_the_published_form_has_stable_keys(priced: Forecast) -> None:
    """Keys as the reference has them; decimals are text; facts and data quality are there."""
    quality = quality_of(simulated()).as_data_quality()
    shown = forecast_report(priced, tested=backtest(simulated(), 60), quality=quality).as_json()
    assert list(shown) == [
        "forecast",
        "mase_168",
        "mase_168_window",
        "wape",
        "month_total_error_pct",
        "month_blocks_error_pct",
        "interval_coverage_pct",
        "month_interval_coverage_pct",
        "baselines",
        "backtest_window",
        "facts",
        "data_quality",
    ]
    assert isinstance(shown["forecast"], dict)
    assert list(shown["forecast"]) == [
        "from",
        "history_from",
        "zone",
        "day",
        "month",
        "next_30_days",
        "measured",
    ]
    assert isinstance(shown["baselines"], dict)
    assert list(shown["baselines"]) == ["naive_168", "mean_28d"]
    assert numbers_in(shown) == []


def test_every_total_is_a_fact(priced: Forecast) -> None:
    """Each range states energy and EUR with both ends of its interval, its days, and where it comes from."""
    facts = {fact.id: fact for fact in forecast_report(priced).facts}
    for name in ("day", "month", "next_30_days"):
        for part in ("", "_low", "_high"):
            assert {"kWh", "EUR"} == {facts[f"forecast_{name}{part}_{unit}"].unit for unit in ("kwh", "eur")}
    month = facts["forecast_month_kwh"]
    assert str(priced.month.energy_kwh) == month.value
    assert month.period is not None
    assert (month.period.start, month.period.end) == ("2023-07-01", "2023-08-01")
    assert "interval from past errors" in month.source
