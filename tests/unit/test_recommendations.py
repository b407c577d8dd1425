"""Recommendations: ranked by what they save, nothing below the threshold, nothing counted twice."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.advice import recommendations
from expert_bot.energy.analyses.advice.home_study import CURRENT_ID, Home, study_home
from expert_bot.energy.analyses.advice.recommendation import Kind, RecommendationInputs
from expert_bot.energy.analyses.advice.recommendations import (
    THRESHOLD_EUR,
    Recommendations,
    overlap,
    recommend,
)
from expert_bot.energy.analyses.advice.recommendations_report import recommendations_report
from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly, AnomalyKind
from expert_bot.energy.analyses.sun.solar_yield import Roof
from expert_bot.energy.analyses.tariffs.comparison import compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply
from expert_bot.energy.analyses.use.base_load import base_load
from expert_bot.energy.bill.contract import Contract, PvpcTariff, Tariff
from expert_bot.energy.bill.offers import Offer
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.rules import PowerPeriod
from tests.unit.advice_world import RULES, SETTLED, curve_of, steady_curve, terms
from tests.unit.bill_world import by_period, by_power, fixed

CHEAP = Offer(id="cheap", name="Barata", retailer="Luz de Prueba", tariff=fixed("0.09", p1="0.08", p2="0.01"))
DEAR = Offer(id="dear", name="Cara", tariff=fixed("0.30", p1="0.12", p2="0.05"))
THREE_PRICES = fixed(by_period("0.30", "0.18", "0.10"), p1="0.09", p2="0.02")


def home(curve: Curve, tariff: Tariff = THREE_PRICES, *, power: str = "6.9", **known: object) -> Home:
    """Return a home on the peninsula."""
    contract = Contract(zone=TariffZone.PENINSULA, power_kw=by_power(power, power), tariff=tariff)
    return Home(curve=curve, contract=contract, on=SETTLED, **known)  # type: ignore[arg-type]  # members of Home


def busy_curve() -> Curve:
    """Return two years of a home with a base load of 200 W that cooks at noon and in the evening."""
    hours = np.arange(730 * 24) % 24
    return curve_of(np.where(np.isin(hours, (13, 20, 21)), 1.4, 0.2), first=date(2022, 1, 1))


@pytest.fixture(scope="module")
def advice() -> Recommendations:
    """Return what is recommended to a home of which everything is known."""
    known = home(busy_curve(), offers=(CHEAP, DEAR), roof=Roof.in_province("Sevilla"))
    return recommend(study_home(known, rules=RULES))


def test_the_most_saving_comes_first(advice: Recommendations) -> None:
    """Five kinds, by the middle of their range; each has a next step and facts."""
    middles = [item.middle_eur for item in advice.items]
    assert sorted(middles, reverse=True) == middles
    assert {Kind.TARIFF, Kind.POWER, Kind.SHIFT, Kind.BASE_LOAD, Kind.SOLAR} == {
        item.kind for item in advice.items
    }
    assert all(item.next_step and item.facts for item in advice.items)
    assert all(Decimal(0) <= item.saving_eur_low <= item.saving_eur_high for item in advice.items)


def test_the_cheapest_offer_is_recommended(advice: Recommendations) -> None:
    """The next step names the offer and its retailer."""
    (tariff,) = (item for item in advice.items if item.kind is Kind.TARIFF)
    assert "Ask Luz de Prueba for Barata" in tariff.next_step
    assert "cheap" in {fact.value for fact in tariff.facts}


def check_nothing_twice(advice: Recommendations) -> None:
    """No two counted recommendations overlap, the total is theirs, and what is left out says why."""
    counted = [item for item in advice.items if item.is_counted]
    assert not any(overlap(one.kind, other.kind) for one in counted for other in counted)
    assert sum(item.saving_eur_low for item in counted) == advice.total_eur_low
    assert sum(item.saving_eur_high for item in counted) == advice.total_eur_high
    left_out = [item for item in advice.items if not item.is_counted]
    assert left_out
    assert all(item.overlaps_with for item in left_out)


def test_nothing_is_counted_twice(advice: Recommendations) -> None:
    """Sun, price and shifting save on the same kWh."""
    check_nothing_twice(advice)


def test_adding_everything_up_is_found(advice: Recommendations, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded mistake, that nothing overlaps, turns the check red."""
    monkeypatch.setattr(recommendations, "overlap", lambda _one, _other: False)
    wrong = recommend(study_home(home(busy_curve(), roof=Roof.in_province("Sevilla")), rules=RULES))
    with pytest.raises(AssertionError):
        check_nothing_twice(wrong)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Kind.TARIFF, Kind.POWER, id="a-kW-has-another-price-with-another-tariff"),
        pytest.param(Kind.TARIFF, Kind.BASE_LOAD, id="a-kWh-has-another-price-with-another-tariff"),
        pytest.param(Kind.TARIFF, Kind.ANOMALY, id="so-has-a-kWh-that-has-risen"),
        pytest.param(Kind.SHIFT, Kind.ANOMALY, id="what-has-risen-may-be-what-could-wait"),
        pytest.param(Kind.SOLAR, Kind.ANOMALY, id="the-sun-covers-part-of-what-has-risen"),
    ],
)
def test_savings_on_the_same_thing_overlap(one: Kind, other: Kind) -> None:
    """Whichever of two is counted first, the other one is not."""
    assert overlap(one, other)
    assert overlap(other, one)


ONE_PRICE = fixed("0.30", p1="0.16", p2="0.10")


def year_2025(share: Decimal = Decimal(1)) -> Curve:
    """Return a year of settled taxes, of a home that cooks and leaves nothing on, or that part of its energy."""
    hours = np.arange(365 * 24) % 24
    return curve_of(np.where(np.isin(hours, (13, 20, 21)), 1.4, 0.05) * float(share), first=date(2025, 1, 1))


def bill_of_2025(tariff: Tariff, power_kw: dict[PowerPeriod, Decimal], share: Decimal) -> Decimal:
    """Return what twelve bills come to."""
    offer = Offer(id="it", name="it", tariff=tariff)
    supply = Supply(zone=TariffZone.PENINSULA, power_kw=power_kw)
    (cost,) = compare(year_2025(share), [offer], supply, rules=RULES).costs
    return cost.ranked_by_eur


@pytest.mark.parametrize(
    ("first", "offered"),
    [
        pytest.param(Kind.TARIFF, fixed("0.13", p1="0.075", p2="0.01"), id="tariff-first"),
        pytest.param(Kind.POWER, fixed("0.29", p1="0.08", p2="0.10"), id="power-first"),
    ],
)
def test_the_total_is_not_more_than_what_the_bill_falls_by(first: Kind, offered: Tariff) -> None:
    """9.2 kW at a dear price: at both ends of the range, the bills with all counted advice fall by the total."""
    home_92 = home(
        year_2025(), ONE_PRICE, power="9.2", offers=(Offer(id="new", name="Nueva", tariff=offered),)
    )
    inputs = study_home(home_92, rules=RULES)
    found = recommend(inputs)
    assert [first, *({Kind.TARIFF, Kind.POWER} - {first})] == [item.kind for item in found.items]
    assert inputs.comparison is not None
    assert inputs.power is not None
    counted = {item.kind for item in found.items if item.is_counted}
    tariff = offered if Kind.TARIFF in counted else ONE_PRICE
    power_kw = dict(inputs.power.advised_kw) if Kind.POWER in counted else by_power("9.2", "9.2")
    for total_eur, share in (
        (found.total_eur_low, 1 - inputs.comparison.variation),
        (found.total_eur_high, 1 + inputs.comparison.variation),
    ):
        before, after = (
            bill_of_2025(ONE_PRICE, by_power("9.2", "9.2"), share),
            bill_of_2025(tariff, power_kw, share),
        )
        assert abs(before - after - total_eur) <= Decimal("0.50")  # cents of 24 bills


@given(threshold=st.decimals("0", "2000", places=0))
def test_nothing_below_the_threshold_is_listed(advice: Recommendations, threshold: Decimal) -> None:
    """A saving of a few euros is not worth anyone's time."""
    inputs = RecommendationInputs(terms=terms(THREE_PRICES), base_load=base_load(steady_curve(0.1)))
    found = recommend(inputs, threshold_eur=threshold)
    assert all(item.middle_eur >= threshold for item in found.items)
    assert all(item.middle_eur >= THRESHOLD_EUR for item in advice.items)


def test_a_base_load_by_hand() -> None:
    """160 W above a frugal 60 W are 1,401.6 kWh; at a mean of 0.1667 EUR and with taxes they cost 297.11 EUR a year."""
    curve = steady_curve(0.22)
    (item,) = recommend(RecommendationInputs(terms=terms(THREE_PRICES), base_load=base_load(curve))).items
    mean = (40 * Decimal("0.30") + 40 * Decimal("0.18") + 88 * Decimal("0.10")) / 168
    high = Decimal("0.160") * 8760 * mean * Decimal("1.0511269632") * Decimal("1.21")
    assert high.quantize(Decimal("0.01")) == item.saving_eur_high
    assert (high / 4).quantize(Decimal("0.01")) == item.saving_eur_low


def rise(kind: AnomalyKind, day: date) -> Anomaly:
    """Return a lasting change of 90 kWh in 30 days."""
    return Anomaly(
        kind=kind,
        first=day,
        until=day + timedelta(days=14),
        told_on=day + timedelta(days=14),
        strength=6.0,
        unit="kW",
        actual=Decimal("0.4"),
        usual=Decimal("0.2"),
        excess_kwh=Decimal(90),
        reason="the night base rose from 0.2 to 0.4 kW",
    )


def test_a_lasting_rise_is_worth_looking_into() -> None:
    """90 kWh in 30 days are 1,095 kWh a year, or nothing if it ends by itself; a later fall has ended it."""
    known = terms(THREE_PRICES)
    risen = rise(AnomalyKind.BASE_UP, date(2023, 5, 1))
    (item,) = recommend(RecommendationInputs(terms=known, anomalies=[risen])).items
    assert (Kind.ANOMALY, Decimal(0)) == (item.kind, item.saving_eur_low)
    assert Decimal(200) < item.saving_eur_high < Decimal(250)
    assert "night base rose" in item.next_step
    fallen = rise(AnomalyKind.BASE_DOWN, date(2023, 6, 1))
    assert recommend(RecommendationInputs(terms=known, anomalies=[risen, fallen])).items == ()


def test_what_cannot_be_looked_at_says_why() -> None:
    """Two months of readings, no offers, no roof: the rest is still recommended."""
    found = recommend(study_home(home(steady_curve(0.4, days=60)), rules=RULES))
    assert "no offers" in found.skipped["tariff"]
    assert "province" in found.skipped["solar"]
    assert {Kind.POWER, Kind.BASE_LOAD} <= {item.kind for item in found.items}


def test_a_pvpc_without_prices_still_gets_advice_on_power() -> None:
    """What a kWh costs is not known, what a kW costs is."""
    found = recommend(study_home(home(steady_curve(0.4), PvpcTariff()), rules=RULES))
    assert [item.kind for item in found.items] == [Kind.POWER]
    assert "no price of energy is known" in found.skipped["shift"]
    offered = study_home(home(steady_curve(0.4), PvpcTariff(), offers=(CHEAP,)), rules=RULES)
    assert "without its hourly prices" in offered.skipped["tariff"]


def test_the_pvpc_is_an_offer_too() -> None:
    """A home with a dear tariff is sent to the PVPC if that is cheaper by the hour; one with the PVPC stays."""
    curve = busy_curve()
    prices = HourlyPrices(
        zone=TariffZone.PENINSULA,
        start_hours=curve.start_hours,
        price_neur=np.full(len(curve), 80_000_000, dtype=np.int64),
    )
    dear = study_home(home(curve, fixed("0.30"), prices=prices), rules=RULES)
    assert dear.comparison is not None
    assert (dear.comparison.costs[-1].offer.id, dear.comparison.costs[0].offer.id) == (CURRENT_ID, "pvpc")
    stays = recommend(study_home(home(curve, PvpcTariff(prices=prices), offers=(DEAR,)), rules=RULES))
    assert Kind.TARIFF not in {item.kind for item in stays.items}


def test_a_home_without_readings_has_nothing_to_look_at() -> None:
    """Every kind says why; nothing is recommended."""
    found = recommend(study_home(home(curve_of(np.zeros(0)), offers=(CHEAP,)), rules=RULES))
    assert found.items == ()
    assert set(map(str, Kind)) - {"solar"} <= set(found.skipped)


def test_a_home_that_does_well_gets_nothing() -> None:
    """A frugal, steady home at its power has nothing worth doing."""
    found = recommend(study_home(home(steady_curve(0.06), power="0.2"), rules=RULES))
    assert found.items == ()
    assert Decimal(0) == found.total_eur_high


def test_a_real_home(shared_data: Path) -> None:
    """Home 4 with 6.9 kW: power is among its recommendations, and every saving is a fact."""
    with (shared_data / "energy" / "households_es" / "home_4.csv").open("rb") as file:
        curve = Curve.from_readings(parse_curve(file).readings)
    known = home(curve, offers=(CHEAP, DEAR), roof=Roof.in_province("Madrid"))
    report = recommendations_report(recommend(study_home(known, rules=RULES)))
    listed = report.result["recommendations"]
    assert "power" in {item["kind"] for item in listed}  # type: ignore[union-attr,index,call-overload]  # nested JSON
    ids = {fact.id for fact in report.facts}
    assert all(set(item["fact_ids"]) <= ids for item in listed)  # type: ignore[union-attr,index,arg-type,call-overload]  # nested JSON
    assert {"recommended_saving_low", "recommended_saving_high"} <= ids
