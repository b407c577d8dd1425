"""Tariff comparison: each offer's months are the bills of those months, ranked, with savings and their range."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.analyses.tariffs.comparison import Comparison, OfferCost, compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply, month_period
from expert_bot.energy.analyses.tariffs.comparison_report import comparison_report
from expert_bot.energy.analyses.tariffs.comparison_window import (
    LEAST_VARIATION,
    USUAL_VARIATION,
    compared_months,
)
from expert_bot.energy.bill.bill import Bill, compute_bill
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BonoCategory,
    BonoSocial,
    FixedTariff,
    Household,
    SurplusTerms,
)
from expert_bot.energy.bill.fields import parse_json
from expert_bot.energy.bill.offers import Offer, parse_offers
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import RuleNotLoaded
from expert_bot.energy.simulation import simulate_household
from tests.unit.bill_world import RULES, by_period, by_power

CURVE = Curve.from_readings(simulate_household(until=date(2024, 3, 31), months=24))
SUNNY = Curve.of(
    CURVE.start_hours,
    CURVE.energy_nkwh,
    CURVE.estimated,
    surplus_nkwh=np.where((CURVE.local_hours > 9) & (CURVE.local_hours < 17), 700_000_000, 0),
)
PRICES = HourlyPrices(
    zone=CURVE.zone, start_hours=CURVE.start_hours, price_neur=40_000_000 + CURVE.start_hours % 97 * 1_234_567
)
SUPPLY = Supply(zone=TariffZone.PENINSULA, power_kw=by_power("4.6", "5.75"))
OFFER = {
    "id": "a",
    "name": "A",
    "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.02},
    "energy_eur_per_kwh": {"P1": 0.2, "P2": 0.15, "P3": 0.1},
}
PRICE = st.decimals("0.001", "0.5", places=6)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    """Draw an offer with fixed prices."""
    three = by_period(*draw(st.tuples(PRICE, PRICE, PRICE)))
    surplus = draw(
        st.none() | st.builds(SurplusTerms, eur_per_kwh=PRICE, tolls_are_compensable=st.booleans())
    )
    return Offer(
        id="drawn",
        name="Drawn",
        tariff=FixedTariff(
            power_eur_per_kw_day=by_power(draw(PRICE), draw(PRICE)),
            energy=draw(st.sampled_from((three, three[Period.P1]))),
        ),
        surplus=surplus,
    )


def offer(name: str = "a", **changes: Any) -> Offer:  # an offer's members
    """Read one offer."""
    parsed = parse_offers(parse_json(json.dumps([{**OFFER, "id": name, **changes}]).encode(), "offers"))
    assert parsed.rejected == ()
    return parsed.offers[0]


def cost_of(comparison: Comparison, name: str) -> OfferCost:
    """Return an offer's cost."""
    return next(cost for cost in comparison.costs if cost.offer.id == name)


def bill_of(each: Offer, curve: Curve, month: Month, supply: Supply) -> Bill:
    """Return the bill of a month by the other road."""
    period = month_period(month)
    contract = each.contract(
        supply.zone, supply.power_kw, bono_social=supply.bono_social, is_home=supply.is_home
    )
    return compute_bill(
        contract, period, BilledConsumption.of_curve(curve, period), rules=RULES, services=each.services
    )


@settings(max_examples=40)
@given(drawn=offers(), zone=st.sampled_from(list(TariffZone)), kw=st.sampled_from(("3.3", "10", "11.5")))
def test_each_month_is_its_bill(drawn: Offer, zone: TariffZone, kw: str) -> None:
    """The quick way and `compute_bill` agree to the cent on every month, in every zone, over changes of the law."""
    curve = Curve.of(
        SUNNY.start_hours, SUNNY.energy_nkwh, SUNNY.estimated, surplus_nkwh=SUNNY.surplus_nkwh, zone=zone
    )
    supply = Supply(zone=zone, power_kw=by_power(kw, "2.2"))
    comparison = compare(curve, [drawn], supply, rules=RULES, first=date(2023, 3, 1), until=date(2024, 3, 1))
    cost = cost_of(comparison, "drawn")
    assert len(cost.months) == 12
    for month in cost.months:
        assert {"": bill_of(drawn, curve, month.month, supply).total} == month.eur
    assert sum(month.eur[""] for month in cost.months) == cost.total_eur


@pytest.mark.parametrize("bono", [None, BonoCategory.VULNERABLE, BonoCategory.SEVERE], ids=str)
def test_the_pvpc_is_billed_by_the_hour(bono: BonoCategory | None) -> None:
    """With prices for all hours the PVPC is an offer like the others, with the bono social if the supply has it."""
    social = BonoSocial(category=bono, household=Household.NO_MINORS) if bono else None
    supply = replace(SUPPLY, bono_social=social)
    comparison = compare(CURVE, [offer()], supply, rules=RULES, prices=PRICES)
    cost = cost_of(comparison, "pvpc")
    for month in cost.months:
        assert {"": bill_of(cost.offer, CURVE, month.month, supply).total} == month.eur
    assert cost_of(comparison, "a") == cost_of(compare(CURVE, [offer()], SUPPLY, rules=RULES), "a")


@pytest.mark.parametrize(
    ("expected", "supply", "prices"),
    [
        pytest.param("no hourly prices of the PVPC were given", SUPPLY, None, id="none"),
        pytest.param(
            "hours without a PVPC price in 2023-04 (720 h), 2023-05 (24 h)",
            SUPPLY,
            PRICES.between(date(2023, 5, 2)),
            id="holes",
        ),
        pytest.param(
            "the PVPC is open up to 10 kW of contracted power",
            replace(SUPPLY, power_kw=by_power("10.1", "3")),
            PRICES,
            id="too strong",
        ),
    ],
)
def test_a_pvpc_that_cannot_be_computed_says_why(
    expected: str, supply: Supply, prices: HourlyPrices | None
) -> None:
    """It is listed with its reason, not estimated."""
    comparison = compare(CURVE, [offer()], supply, rules=RULES, prices=prices)
    assert [("pvpc", expected)] == [(each.offer.id, each.reason) for each in comparison.unavailable]
    assert [cost.offer.id for cost in comparison.costs] == ["a"]


def test_the_cheapest_is_first_and_savings_have_a_range() -> None:
    """Savings are against the current tariff; the range is what the energy part would change with consumption."""
    cheap, dear = offer("cheap", energy_eur_per_kwh=0.1), offer("dear", energy_eur_per_kwh=0.2)
    comparison = compare(CURVE, [dear, cheap], SUPPLY, rules=RULES, current_id="dear")
    assert [cost.offer.id for cost in comparison.costs] == ["cheap", "dear"]
    first, second = comparison.costs
    assert comparison.current == replace(second, saving_eur=None, saving_low_eur=None, saving_high_eur=None)
    assert second.total_eur is not None
    assert first.total_eur is not None
    assert (second.total_eur - first.total_eur, Decimal(0)) == (first.saving_eur, second.saving_eur)
    assert first.saving_low_eur is not None
    assert first.saving_high_eur is not None
    spread = (second.energy_taxed_eur - first.energy_taxed_eur) * comparison.variation
    assert abs(first.saving_high_eur - first.saving_low_eur - 2 * spread) <= Decimal("0.01")


def test_the_range_follows_the_saving_when_consumption_changes() -> None:
    """With as much more energy as the variation says, the true saving is the upper end, but for rounding."""
    cheap, dear = offer("cheap", energy_eur_per_kwh=0.1), offer("dear", energy_eur_per_kwh=0.2)
    comparison = compare(CURVE, [dear, cheap], SUPPLY, rules=RULES, current_id="dear")
    scaled = (CURVE.energy_nkwh * int((1 + comparison.variation) * 10**9)) // 10**9
    more = compare(
        Curve.of(CURVE.start_hours, scaled, CURVE.estimated),
        [dear, cheap],
        SUPPLY,
        rules=RULES,
        current_id="dear",
    )
    expected, found = more.costs[0].saving_eur, comparison.costs[0].saving_high_eur
    assert expected is not None
    assert found is not None
    assert abs(expected - found) <= Decimal("0.40")


def with_share(curve: Curve, share: Decimal) -> Curve:
    """Return a curve with a share of its energy in every hour."""
    energy_nkwh = (curve.energy_nkwh * int(share * 10**6)) // 10**6
    return Curve.of(curve.start_hours, energy_nkwh, curve.estimated)


@pytest.mark.parametrize(
    ("category", "household", "used"),
    [
        pytest.param(BonoCategory.SEVERE, Household.LARGE_FAMILY, "1", id="severe"),
        pytest.param(BonoCategory.VULNERABLE, Household.NO_MINORS, "0.25", id="vulnerable"),
        pytest.param(BonoCategory.VULNERABLE, Household.NO_MINORS, "1", id="above the limit"),
    ],
)
def test_the_range_counts_what_the_bono_social_takes_off(
    category: BonoCategory, household: Household, used: str
) -> None:
    """Below the household's limit the PVPC's energy costs less with the bono: so does more or less of it."""
    supply = replace(SUPPLY, bono_social=BonoSocial(category=category, household=household))
    curve = with_share(CURVE, Decimal(used))
    arguments: dict[str, Any] = {"rules": RULES, "prices": PRICES, "current_id": "pvpc"}
    comparison = compare(curve, [offer()], supply, **arguments)
    cost = cost_of(comparison, "a")
    assert cost.saving_low_eur is not None
    assert cost.saving_high_eur is not None
    for share in (1 - comparison.variation, 1 + comparison.variation):
        found = cost_of(compare(with_share(curve, share), [offer()], supply, **arguments), "a").saving_eur
        assert found is not None
        assert cost.saving_low_eur - Decimal("0.50") <= found <= cost.saving_high_eur + Decimal("0.50")


def test_how_far_consumption_may_differ() -> None:
    """As it did from year to year, at least 5 %; 15 % with one year of data; missing and estimated hours add."""
    year = CURVE.between(date(2023, 4, 1))
    exact = Curve.of(year.start_hours, year.energy_nkwh, year.estimated & False)
    assert compare(exact, [offer()], SUPPLY, rules=RULES).variation == USUAL_VARIATION
    two_years = Curve.of(CURVE.start_hours, CURVE.energy_nkwh, CURVE.estimated & False)
    assert LEAST_VARIATION <= compare(two_years, [offer()], SUPPLY, rules=RULES).variation < Decimal("0.15")
    gap = two_years.where(two_years.start_hours > two_years.start_hours[4000])  # not a whole year before
    first_month = two_years.between(date(2022, 4, 1), date(2022, 5, 1))
    holes = Curve.of(
        np.concatenate([first_month.start_hours, gap.start_hours]),
        np.concatenate([first_month.energy_nkwh, gap.energy_nkwh]),
        np.concatenate([first_month.estimated, gap.estimated]),
    )
    assert compare(holes, [offer()], SUPPLY, rules=RULES).variation == USUAL_VARIATION
    estimated = Curve.of(year.start_hours, year.energy_nkwh, year.estimated | True)
    assert USUAL_VARIATION + Decimal("0.2") == compare(estimated, [offer()], SUPPLY, rules=RULES).variation
    half = exact.where(exact.start_hours % 2 == 0)
    assert Decimal("0.65") == compare(half, [offer()], SUPPLY, rules=RULES).variation.quantize(
        Decimal("0.01")
    )
    lonely = exact.where((exact.local_hours == 0) | (exact.local_days < 0))
    assert Decimal(1) == compare(lonely, [offer()], SUPPLY, rules=RULES).variation


def test_promotions_and_expired_offers_stay_outside_the_ranking() -> None:
    """A welcome gift changes no rank; what cannot be contracted today is listed with the reason, unless it is current."""
    gift = offer("gift", energy_eur_per_kwh=0.15, promotion={"label": "Bienvenida", "eur": 500})
    old = offer("old", valid_until="2024-01-01")
    future = offer("future", valid_from="2030-01-01")
    arguments: dict[str, Any] = {"rules": RULES, "contracted_on": date(2024, 6, 1)}
    comparison = compare(CURVE, [gift, old, future, offer("b", energy_eur_per_kwh=0.14)], SUPPLY, **arguments)
    assert [cost.offer.id for cost in comparison.costs] == ["b", "gift"]
    assert {"old", "future", "pvpc"} == {each.offer.id for each in comparison.unavailable}
    report = comparison_report(comparison).as_json()
    assert [("gift", "500", f"{cost_of(comparison, 'gift').ranked_by_eur - 500:f}")] == [
        (each["id"], each["eur"], each["total_with_promotion_eur"])  # type: ignore[index,call-overload]  # JSON
        for each in report["promotions"]  # type: ignore[union-attr]  # JSON
    ]
    kept = compare(CURVE, [old], SUPPLY, current_id="old", **arguments)
    assert [cost.offer.id for cost in kept.costs] == ["old"]


def test_months_of_unsettled_law_give_two_totals() -> None:
    """November 2026 makes every total two readings; the ranking takes the law without the condition."""
    curve = Curve.from_readings(simulate_household(until=date(2026, 11, 30), months=2))
    comparison = compare(curve, [offer()], SUPPLY, rules=RULES, current_id="a")
    cost = cost_of(comparison, "a")
    assert cost.total_eur is None
    assert {"condition_met_and_validated", "otherwise"} == set(cost.readings)
    assert cost.ranked_by_eur == cost.readings["otherwise"] > cost.readings["condition_met_and_validated"]
    for outcome, total in cost.readings.items():
        november = bill_of(offer(), curve, Month(2026, 11), SUPPLY).readings
        assert total == cost.months[0].eur[""] + next(
            each.total for each in november if each.condition == outcome
        )
    for is_met, outcome in ((True, "condition_met_and_validated"), (False, "otherwise")):
        settled = compare(curve, [offer()], SUPPLY, rules=RULES, confirmed={Month(2026, 11): is_met})
        assert cost.readings[outcome] == cost_of(settled, "a").total_eur
    result = comparison_report(comparison).as_json()
    assert result["offers"][0]["total_eur"] is None  # type: ignore[index,call-overload]  # JSON
    assert {"offer_1_total_otherwise"} <= {fact["id"] for fact in result["facts"]}  # type: ignore[union-attr,index,call-overload]  # JSON


@pytest.mark.parametrize(
    ("expected", "first", "until"),
    [
        pytest.param(("2023-04-01", "2024-03-31"), None, None, id="last twelve"),
        pytest.param(("2023-01-01", "2023-06-30"), date(2023, 1, 1), date(2023, 7, 1), id="asked for"),
        pytest.param(
            ("2023-02-01", "2023-05-31"), date(2023, 1, 2), date(2023, 6, 30), id="only full months"
        ),
        pytest.param(("2022-06-01", "2023-05-31"), None, date(2023, 6, 15), id="twelve before"),
    ],
)
def test_full_calendar_months_are_compared(
    expected: tuple[str, str], first: date | None, until: date | None
) -> None:
    """The last twelve unless days are named; a month that is cut is left out."""
    months = compared_months(CURVE, first, until)
    assert expected == (str(months.first_day), str(months.last_day))


@pytest.mark.parametrize(
    ("expected", "first", "until"),
    [
        pytest.param(("2023-05-01", "2024-02-29"), None, None, id="nothing asked"),
        pytest.param(("2023-05-01", "2024-02-29"), None, date(2025, 1, 1), id="until later"),
        pytest.param(("2023-05-01", "2024-02-29"), date(2020, 1, 1), None, id="from before"),
        pytest.param(("2023-05-01", "2024-02-29"), date(2023, 4, 1), date(2024, 4, 1), id="a year"),
    ],
)
def test_half_read_months_are_left_out(
    expected: tuple[str, str], first: date | None, until: date | None
) -> None:
    """Days before the first and after the last reading are not asked into the comparison."""
    read = CURVE.between(date(2023, 4, 11), date(2024, 3, 21))
    months = compared_months(read, first, until)
    assert expected == (str(months.first_day), str(months.last_day))
    assert compare(read, [offer()], SUPPLY, rules=RULES, first=first, until=until).months == 10


@pytest.mark.parametrize(
    ("expected", "curve", "first", "until"),
    [
        pytest.param("no readings", CURVE.between(date(2030, 1, 1)), None, None, id="empty"),
        pytest.param("no full calendar month", CURVE.between(date(2024, 3, 2)), None, None, id="cut"),
        pytest.param("no full calendar month", CURVE, date(2023, 5, 2), date(2023, 5, 30), id="days"),
        pytest.param("no full calendar month", CURVE, date(2019, 1, 1), date(2020, 1, 1), id="before"),
    ],
)
def test_without_a_full_month_there_is_no_comparison(
    expected: str, curve: Curve, first: date | None, until: date | None
) -> None:
    """Less than a month says little about a year: it is refused."""
    with pytest.raises(ValueError, match=expected):
        compare(curve, [offer()], SUPPLY, rules=RULES, first=first, until=until)


def test_the_current_tariff_must_be_among_the_offers() -> None:
    """An unknown id is refused with those that are known."""
    with pytest.raises(ValueError, match="'z' is none of the offers: a, pvpc"):
        compare(CURVE, [offer()], SUPPLY, rules=RULES, current_id="z")


def test_hours_of_another_zone_are_refused() -> None:
    """Periods are labelled by the zone: a curve of Ceuta is no supply of the peninsula."""
    with pytest.raises(ValueError, match="labelled for peninsula, the supply is in ceuta"):
        compare(CURVE, [offer()], replace(SUPPLY, zone=TariffZone.CEUTA), rules=RULES)


def test_months_without_rules_are_refused() -> None:
    """A month before 2.0TD has no official value: no comparison, no old value."""
    early = Curve.from_readings(simulate_household(until=date(2021, 6, 30), months=2))
    with pytest.raises(RuleNotLoaded):
        compare(early, [offer()], SUPPLY, rules=RULES)


def test_services_are_part_of_the_price() -> None:
    """5 EUR a month and their VAT make a year dearer by 12 x 5 and the taxes of each month."""
    plain, served = offer(), offer("b", services=[{"label": "Mantenimiento", "eur_per_month": 5}])
    comparison = compare(CURVE, [plain, served], SUPPLY, rules=RULES)
    totals = [cost_of(comparison, name).ranked_by_eur for name in ("a", "b")]
    assert Decimal(63) < totals[1] - totals[0] < Decimal(73)


def test_the_report_is_exact_text() -> None:
    """Stable keys, decimals as text, a fact for each total and saving, the quality of the hours."""
    comparison = compare(
        CURVE, [offer(), offer("b", surplus_eur_per_kwh=0.05)], SUPPLY, rules=RULES, current_id="a"
    )
    report = json.loads(json.dumps(comparison_report(comparison).as_json()))
    assert tuple(report[key] for key in ("first", "until", "months", "current")) == (
        "2023-04-01",
        "2024-04-01",
        12,
        "a",
    )
    assert [each["rank"] for each in report["offers"]] == [1, 2]
    assert report["offers"][0]["saving_eur"] == "0.00"
    assert len(report["offers"][0]["by_month"]) == 12
    assert report["data_quality"]["coverage_pct"] == "100.0"
    assert {"offer_1_total", "offer_1_saving", "offer_2_saving_low", "consumption_p1"} <= {
        fact["id"] for fact in report["facts"]
    }
    assert not any(isinstance(each, float) for each in flat(report))


def flat(value: Any) -> list[Any]:  # JSON
    """Return every value in a document."""
    if isinstance(value, dict):
        return [each for member in value.values() for each in flat(member)]
    if isinstance(value, list):
        return [each for member in value for each in flat(member)]
    return [value]


def test_a_month_is_billed_with_both_ends() -> None:
    """A calendar month has all its days."""
    period = month_period(Month(2024, 2))
    assert (date(2024, 2, 1), date(2024, 3, 1), 29) == (period.first, period.until, period.days)
    assert period.tax_day == period.until - timedelta(days=1)
