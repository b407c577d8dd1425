"""Bills line by line: which lines there are, what they hold, and what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy import rules
from expert_bot.energy.bill.bill import compute_bill
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BillPeriod,
    EnergyBlock,
    PvpcTariff,
    SurplusTerms,
)
from expert_bot.energy.bill.report import bill_report
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.simulation import simulate_household
from tests.unit.bill_world import RULES, Case, amounts, by_period, fixed, pvpc

APRIL_2023 = BillPeriod(start=date(2023, 4, 1), end=date(2023, 5, 1), days=30)


def curve_until(day: date, months: int = 1) -> Curve:
    """Return a simulated curve that ends on a day."""
    return Curve.from_readings(simulate_household(until=day, months=months))


def prices_of(curve: Curve, eur_per_kwh: str = "0.1") -> HourlyPrices:
    """Return one price for every hour of a curve."""
    return HourlyPrices(
        zone=curve.zone,
        start_hours=curve.start_hours,
        price_neur=curve.start_hours * 0 + int(Decimal(eur_per_kwh).scaleb(9)),
    )


def test_the_printed_example() -> None:
    """3.45 kW at 0.123 EUR/kW and day over 32 days are 13.58 EUR; every line of such a bill has its id."""
    case = Case(
        tariff=fixed(by_period("0.15", "0.12", "0.09"), "0.123", "0.03"),
        power_kw=("3.45", "3.45"),
        kwh=(95, 110, 162),
        start=date(2026, 8, 13),
        end=date(2026, 9, 13),
        discounts=("-1.02",),
        services=("8.30",),
    )
    assert amounts(case.bill()) == {
        "power_p1": "13.58",
        "power_p2": "3.31",
        "energy_p1": "14.25",
        "energy_p2": "13.20",
        "energy_p3": "14.58",
        "discount_1": "-1.02",
        "bono_financing": "0.79",
        "electricity_tax": "3.00",
        "meter_rental": "0.85",
        "service_1": "8.30",
        "vat": "14.88",
    }


def test_lines_come_in_the_order_of_an_invoice() -> None:
    """Power, energy, discounts, bono social, surplus, electricity tax, meter, services, VAT."""
    case = Case(
        bono=("severe", "pensioner"),
        discounts=("-1", "-2"),
        services=("3", "4"),
        surplus=SurplusTerms(eur_per_kwh=Decimal("0.05")),
        surplus_kwh="10",
    )
    assert [line.id for line in case.bill().lines] == [
        "power_p1",
        "power_p2",
        "energy",
        "discount_1",
        "discount_2",
        "bono_financing",
        "bono_discount",
        "surplus",
        "electricity_tax",
        "meter_rental",
        "service_1",
        "service_2",
        "vat",
    ]


def test_blocks_are_rounded_one_by_one() -> None:
    """13 kWh at 0.156125 are 2.03 EUR and 354 at 0.1111 are 39.33 EUR, printed apart: together 41.36 EUR."""
    blocks = (
        EnergyBlock(energy_kwh=Decimal(13), price_eur_per_kwh=Decimal("0.156125")),
        EnergyBlock(energy_kwh=Decimal(354), price_eur_per_kwh=Decimal("0.1111")),
    )
    case = Case(tariff=fixed(blocks), kwh=(95, 110, 162))
    assert amounts(case.bill())["energy"] == "41.36"
    assert amounts(case.but(kwh=(95, 110, 163)).bill())["energy"] == "41.36"  # a kWh of rounding
    with pytest.raises(ValueError, match="the energy blocks add up to 367 kWh, the consumption to 370 kWh"):
        case.but(kwh=(95, 110, 165)).bill()


@pytest.mark.parametrize(
    ("expected", "zone", "power", "is_home"),
    [
        pytest.param(("IVA (21 %)", "11.68"), TariffZone.PENINSULA, "4.6", True, id="peninsula"),
        pytest.param(("IVA (21 %)", "11.68"), TariffZone.BALEARES, "4.6", True, id="Baleares"),
        pytest.param(("IGIC (0 %)", "0.06"), TariffZone.CANARIAS, "4.6", True, id="Canarias home"),
        pytest.param(("IGIC (3 %)", "1.70"), TariffZone.CANARIAS, "4.6", False, id="Canarias other"),
        pytest.param(("IGIC (3 %)", "2.33"), TariffZone.CANARIAS, "10.1", True, id="Canarias above 10 kW"),
        pytest.param(("IPSI (1 %)", "0.58"), TariffZone.CEUTA, "4.6", True, id="Ceuta"),
        pytest.param(("IPSI (1 %)", "0.58"), TariffZone.MELILLA, "4.6", True, id="Melilla"),
    ],
)
def test_each_zone_has_its_tax(
    expected: tuple[str, str], zone: TariffZone, power: str, *, is_home: bool
) -> None:
    """VAT on everything; IGIC 0 or 3 % and 7 % on the meter rental; IPSI 1 % and 4 % on the meter rental."""
    case = Case(zone=zone, power_kw=(power, power), is_home=is_home, tariff=fixed("0.14"))
    line = case.bill().lines[-1]
    assert expected == (line.label, f"{line.eur:f}")


def test_the_meter_rental_may_have_days_of_its_own() -> None:
    """No days, no rental; more days than the bill are counted backwards from its end."""
    rentals = [amounts(Case().bill(meter_rental_days=days))["meter_rental"] for days in (None, 0, 30, 61)]
    assert rentals == ["0.80", "0.00", "0.80", "1.62"]


def test_the_financing_is_the_printed_one_if_given() -> None:
    """EUR per day on the bill, or the rules: 25 days at the old and 5 at the new value of June 2026."""
    financings = [
        amounts(Case().bill(financing_eur_per_day=each))["bono_financing"]
        for each in (None, Decimal("0.024688"), Decimal(0))
    ]
    assert financings == ["0.60", "0.74", "0.00"]


@pytest.mark.parametrize(
    ("expected", "start", "end", "days"),
    [
        pytest.param(("2026-06-01", "2026-07-01"), "2026-06-01", "2026-06-30", 30, id="both ends"),
        pytest.param(
            ("2026-06-01", "2026-07-01"), "2026-05-31", "2026-06-30", 30, id="from the last reading"
        ),
        pytest.param(("2026-06-01", "2026-07-01"), "2026-06-01", "2026-07-01", 30, id="from first to first"),
        pytest.param(("2026-06-01", "2026-07-02"), "2026-06-01", "2026-07-01", 31, id="both firsts billed"),
        pytest.param(("2026-08-13", "2026-09-14"), "2026-08-13", "2026-09-13", 32, id="the printed example"),
        pytest.param(("2026-06-02", "2026-06-11"), "2026-06-01", "2026-06-10", 9, id="one fewer"),
    ],
)
def test_the_printed_days_say_which_days_are_billed(
    expected: tuple[str, str], start: str, end: str, days: int
) -> None:
    """The day count is the invoice's; it tells whether the first date is billed."""
    period = BillPeriod(start=date.fromisoformat(start), end=date.fromisoformat(end), days=days)
    assert expected == (str(period.first), str(period.until))
    assert days == (period.until - period.first).days


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        pytest.param("must not be before", {"end": date(2026, 5, 1)}, id="end before start"),
        pytest.param("days must be 1..400", {"days": 0}, id="no day"),
        pytest.param("days is 40, but from 2026-06-01 to 2026-06-30 are 29", {"days": 40}, id="too many"),
        pytest.param("days_in_year must be 365 or 366", {"days_in_year": 360}, id="year"),
        pytest.param(
            r"due \(2026-05-31\) must not be before start", {"due": date(2026, 5, 31)}, id="due before start"
        ),
    ],
)
def test_days_that_cannot_be_are_refused(expected: str, changes: dict[str, object]) -> None:
    """A period that contradicts itself is named, with what would fit."""
    with pytest.raises(ValueError, match=expected):
        BillPeriod(**{"start": date(2026, 6, 1), "end": date(2026, 6, 30), "days": 30, **changes})  # type: ignore[arg-type]  # wrong on purpose


def test_hourly_prices_bill_every_hour() -> None:
    """The PVPC by the hour is each hour's price times its energy, of the billed days only."""
    curve = curve_until(date(2023, 5, 31), months=2)
    consumption = BilledConsumption.of_curve(curve, APRIL_2023)
    case = Case(tariff=PvpcTariff(prices=prices_of(curve)))
    bill = compute_bill(case.contract, APRIL_2023, consumption, rules=RULES)
    april = sum(float(each) for each in curve.between(date(2023, 4, 1), date(2023, 5, 1)).energy_kwh)
    assert april == pytest.approx(float(consumption.total_kwh))
    assert abs(bill.eur("energy") - consumption.total_kwh / 10) <= Decimal("0.005")
    assert bill.data_quality is not None
    assert bill.data_quality.coverage_pct == "100.0"


def test_hours_without_a_price_are_not_guessed() -> None:
    """A bill by the hour needs a price for each hour, and hours for the prices."""
    curve = curve_until(date(2023, 4, 30))
    case = Case(tariff=PvpcTariff(prices=prices_of(curve.between(date(2023, 4, 2)))))
    consumption = BilledConsumption.of_curve(curve, APRIL_2023)
    with pytest.raises(ValueError, match="24 of the 720 hours have no PVPC price"):
        compute_bill(case.contract, APRIL_2023, consumption, rules=RULES)
    for tariff in (PvpcTariff(), PvpcTariff(prices=prices_of(curve))):
        with pytest.raises(ValueError, match="the PVPC needs mean prices, or hourly prices together"):
            case.but(tariff=tariff).bill()
    with pytest.raises(ValueError, match=r"2023-04-01 to 2023-04-30\) has no hour from 2026-06-01"):
        BilledConsumption.of_curve(curve, Case().period)


def test_the_hours_of_canarias_are_matched_by_its_clock_and_that_is_said() -> None:
    """No norm settles the hour of the Canaries: the fact names the choice."""
    curve = curve_until(date(2023, 4, 30))
    canary = Curve.of(curve.start_hours + 1, curve.energy_nkwh, curve.estimated, zone=TariffZone.CANARIAS)
    case = Case(tariff=PvpcTariff(prices=prices_of(curve)), zone=TariffZone.CANARIAS)
    bill = compute_bill(
        case.contract, APRIL_2023, BilledConsumption.of_curve(canary, APRIL_2023), rules=RULES
    )
    assert {fact.id: fact.value for fact in bill.facts}["pvpc_hours_matched_by"] == "local_clock"


def test_missing_hours_are_said() -> None:
    """A curve with holes is billed as far as it goes, and the bill says how far."""
    curve = curve_until(date(2023, 4, 30)).between(date(2023, 4, 16))
    consumption = BilledConsumption.of_curve(curve, APRIL_2023)
    bill = compute_bill(Case(tariff=fixed()).contract, APRIL_2023, consumption, rules=RULES)
    assert bill.data_quality is not None
    assert bill.data_quality.coverage_pct == "50.0"


def test_the_bono_social_weighs_days_where_its_percentage_changes() -> None:
    """Half of a bill at 57.5 %, half at 50 %: 53.75 %."""
    case = Case(
        bono=("vulnerable", "large_family"), start=date(2024, 12, 17), end=date(2025, 1, 15), kwh=(10, 10, 10)
    )
    bill = case.bill()
    discounted = sum(bill.eur(name) for name in ("power_p1", "power_p2", "energy", "bono_financing"))
    assert abs(bill.eur("bono_discount") + discounted * Decimal("0.5375")) <= Decimal("0.005")


def test_without_consumption_the_bono_social_discounts_the_rest() -> None:
    """No energy, no limit: power and financing are discounted whole."""
    assert amounts(Case(bono=("vulnerable", "no_minors"), kwh=(0, 0, 0)).bill())["bono_discount"] == "-5.32"


def test_the_bono_social_never_adds() -> None:
    """Where negative prices make energy a credit above power and financing, the discount is nothing."""
    case = Case(tariff=pvpc("-0.2", "-0.2", "-0.2"), bono=("vulnerable", "no_minors"))
    found = amounts(case.bill())
    assert (found["energy"], found["bono_discount"]) == ("-50.00", "0.00")


@given(price=st.decimals("-0.5", "0.5", places=4), category=st.sampled_from(["vulnerable", "severe"]))
def test_the_bono_social_is_a_discount_at_any_price(price: Decimal, category: str) -> None:
    """0 or less, also in months of negative prices."""
    bill = Case(tariff=pvpc(price, price, price), bono=(category, "no_minors")).bill()
    assert bill.eur("bono_discount") <= 0


def test_severe_vulnerable_consumers_have_a_vat_of_their_own() -> None:
    """In spring 2024 only they kept 10 %."""
    spring = Case(start=date(2024, 4, 1), end=date(2024, 4, 30))
    rates = [
        next(fact.value for fact in each.bill().facts if fact.id == "vat_percent")
        for each in (
            spring,
            spring.but(bono=("vulnerable", "no_minors")),
            spring.but(bono=("severe", "no_minors")),
        )
    ]
    assert rates == ["21", "21", "10"]


def test_surplus_does_not_pay_tolls_where_the_contract_says_so() -> None:
    """With tolls left out the cap is the energy term less its tolls and charges: 34.50 - 8.30 EUR."""
    terms = SurplusTerms(eur_per_kwh=Decimal("0.1"), tolls_are_compensable=False)
    assert amounts(Case(surplus=terms, surplus_kwh="500").bill())["surplus"] == "-26.20"
    assert amounts(Case(surplus=terms, surplus_kwh="100").bill())["surplus"] == "-10.00"
    assert amounts(Case(surplus=terms).bill())["surplus"] == "0.00"


def test_a_day_without_loaded_rules_has_no_bill() -> None:
    """Before 2.0TD and after the last loaded value there is an error, not an old value."""
    with pytest.raises(rules.RuleNotLoaded):
        Case(start=date(2021, 5, 20), end=date(2021, 6, 18)).bill()
    with pytest.raises(rules.RuleNotLoaded):
        Case(start=RULES.vat.until, end=RULES.vat.until).bill()


def test_conditional_law_matters_only_where_it_applies() -> None:
    """In Canarias the electricity tax alone has two readings; above 10 kW the VAT is 21 % in both."""
    canary = Case(zone=TariffZone.CANARIAS, due=date(2026, 11, 10)).bill()
    assert (len(canary.readings), len({reading.vat for reading in canary.readings})) == (2, 1)
    strong = Case(power_kw=("11", "11"), due=date(2026, 11, 10)).bill()
    rates = {fact.id: fact.value for fact in strong.facts}
    assert (
        rates["vat_percent_condition_met_and_validated"],
        rates["vat_percent_otherwise"],
    ) == ("21", "21")


def test_every_amount_is_text_and_every_fact_has_its_rule() -> None:
    """The report has two decimals everywhere, null where two readings stand, and a source for every fact."""
    report = bill_report(Case().bill()).as_json()
    assert tuple(
        report[key] for key in ("electricity_tax_base", "electricity_tax", "vat_base", "vat", "total")
    ) == ("47.02", "2.40", "50.22", "10.55", "60.77")
    assert report["lines"][0] == {"id": "power_p1", "label": "Potencia punta (P1)", "eur": "11.65"}  # type: ignore[index,call-overload]  # JSON
    facts = Case().bill().facts
    assert all(fact.source and fact.period for fact in facts)
    unsettled = bill_report(Case(due=date(2026, 12, 1)).bill()).as_json()
    assert (unsettled["total"], unsettled["vat"]) == (None, None)
    assert [each["condition"] for each in unsettled["readings"]] == [
        "condition_met_and_validated",
        "otherwise",
    ]  # type: ignore[union-attr,index,call-overload]  # JSON


def test_a_line_that_is_not_there_is_a_key_error() -> None:
    """Asking for an amount that the bill does not have is not 0."""
    with pytest.raises(KeyError):
        Case().bill().eur("surplus")


def test_a_negative_base_still_pays_the_floor() -> None:
    """A discount larger than the bill leaves the least electricity tax: 1 EUR/MWh."""
    bill = Case(discounts=("-100",)).bill()
    assert (f"{bill.electricity_tax_base:f}", f"{bill.electricity_tax:f}") == ("-52.98", "0.25")


def test_the_curve_is_split_by_the_hours_of_its_zone() -> None:
    """Hours of a curve become kWh of the three periods, exactly."""
    consumption = BilledConsumption.of_curve(curve_until(date(2023, 4, 30)), APRIL_2023)
    assert consumption.total_kwh == sum(consumption.energy_kwh[period] for period in Period)
    assert pvpc().prices is None
