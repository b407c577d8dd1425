"""Seeded mistakes: for each rule one that people make, and the check that turns red."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import pytest

from expert_bot.energy import calendar, curve
from expert_bot.energy.bill import bill, lines, money, regulated, taxes
from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod, SurplusTerms
from expert_bot.energy.bill.taxes import TaxRates
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import Period
from expert_bot.energy.rules.rows import ReducedVat
from expert_bot.energy.simulation import simulate_household
from tests.unit.bill_world import Case, amounts, by_period, fixed, pvpc

Patch = pytest.MonkeyPatch
MAY_2026 = Case(kwh=(100, 100, 200), start=date(2026, 5, 1), end=date(2026, 5, 31))
EASTER_2026 = simulate_household(until=date(2026, 4, 30), months=1)
LEAP = Case(start=date(2024, 7, 10), end=date(2024, 8, 12), kwh=(131, 105, 166))


def check_floor() -> None:
    """At 0.5 % the electricity tax of a cheap bill is 1 EUR/MWh."""
    assert amounts(MAY_2026.but(tariff=pvpc("0.06", "0.06", "0.06")).bill())["electricity_tax"] == "0.40"


def check_leap_year() -> None:
    """Count a day of 2024 as 1/366 of the year."""
    assert tuple(amounts(LEAP.bill())[name] for name in ("power_p1", "power_p2")) == ("12.18", "0.41")


def check_half_a_cent() -> None:
    """100 kWh at 0.08065 are 8.065 EUR, printed as 8.07."""
    assert amounts(Case(tariff=fixed("0.08065"), kwh=(100, 0, 0)).bill())["energy"] == "8.07"


def check_lines_before_total() -> None:
    """Two lines of 0.004 EUR are 0.00, not 0.01."""
    assert tuple(
        amounts(Case(tariff=fixed(by_period("0.004", "0.004", "0")), kwh=(1, 1, 0)).bill())[name]
        for name in ("energy_p1", "energy_p2")
    ) == ("0.00", "0.00")


def check_tax_day() -> None:
    """Tax a bill of April and May 2026, due in June, at the rates of June; without a due day those of its last day."""
    case = Case(start=date(2026, 3, 10), end=date(2026, 5, 31))
    assert (vat_percent(case.but(due=date(2026, 6, 5))), vat_percent(case)) == ("21", "10")


def check_whole_bill_one_rate() -> None:
    """Tax a bill that begins at 21 % and ends at 10 % with 10 % on everything."""
    assert vat_percent(Case(start=date(2026, 3, 1), end=date(2026, 4, 1))) == "10"


def check_good_friday() -> None:
    """Good Friday 2026 (3 April) is a working day."""
    consumption = BilledConsumption.of_curve(
        april_2026(), BillPeriod(start=date(2026, 4, 3), end=date(2026, 4, 3), days=1)
    )
    assert consumption.energy_kwh[Period.P1] > 0


def check_hour_label() -> None:
    """Put what was used from 10:00 to 11:00 on a working day into P1, from 9:00 to 10:00 into P2."""
    hours = Curve.from_readings(
        [
            replace(reading, energy_kwh=Decimal(reading.local_hour in (9, 10)))
            for reading in EASTER_2026
            if reading.local_date == date(2026, 4, 1)
        ]
    )
    assert by_period(1, 1, 0) == hours.kwh_by_period()


def check_vat_power_limit() -> None:
    """Above 10 kW there is no reduced VAT; in spring 2026 at 10 kW there is none either, from 30 April there is."""
    spring = Case(start=date(2026, 4, 1), end=date(2026, 4, 20))
    may = MAY_2026.but(power_kw=("10", "4.6"))
    found = [
        vat_percent(each)
        for each in (spring, spring.but(power_kw=("10", "4.6")), may, may.but(power_kw=("10.1", "4.6")))
    ]
    assert found == ["10", "21", "10", "21"]


def check_bono_cap() -> None:
    """Of 800 kWh only 1587 x 30/365 are discounted: 42.5 % of power, financing and 16.3 % of the energy."""
    case = Case(bono=("vulnerable", "no_minors"), kwh=(200, 200, 400))
    assert amounts(case.bill())["bono_discount"] == "-12.94"


def check_margin() -> None:
    """Put the margin of the PVPC on the power of P1, not on that of P2."""
    found = amounts(Case().bill())
    assert (found["power_p1"], found["power_p2"]) == ("11.65", "0.27")


def check_surplus_cap() -> None:
    """Surplus never takes off more than the energy costs."""
    case = Case(surplus=SurplusTerms(eur_per_kwh=Decimal("0.06")), surplus_kwh="900")
    assert amounts(case.bill())["surplus"] == "-34.50"


def check_discount_base() -> None:
    """Lower the base of the electricity tax by a discount; keep services and meter rental outside it."""
    case = Case(discounts=("-10",), services=("20",))
    assert Decimal("37.02") == case.bill().electricity_tax_base


def check_first_day() -> None:
    """Leave out a start that only repeats the last reading: with 30 days, bill June and not 31 May to 29 June."""
    case = Case(start=date(2026, 5, 31), end=date(2026, 6, 30), days=30)
    assert (date(2026, 6, 1), date(2026, 7, 1)) == (case.period.first, case.period.until)


def check_bono_never_adds() -> None:
    """Give no discount on energy that is a credit larger than power and financing."""
    case = Case(tariff=pvpc("-0.2", "-0.2", "-0.2"), bono=("vulnerable", "no_minors"))
    assert amounts(case.bill())["bono_discount"] == "0.00"


def vat_percent(case: Case) -> str:
    """Return the VAT rate that a bill applies."""
    return next(fact.value for fact in case.bill().facts if fact.id == "vat_percent")


def april_2026() -> Curve:
    """Return April 2026, labelled now."""
    return Curve.from_readings(EASTER_2026)


def no_floor(base_eur: Decimal, _energy_kwh: Decimal, rates: TaxRates) -> Decimal:
    """Tax without the floor."""
    return money.cents(base_eur * rates.electricity_percent / 100)


def no_limit(self: ReducedVat, _power_kw: Decimal, *, is_severe_vulnerable: bool) -> bool:  # as the original
    """Reduced VAT for everyone."""
    return True


def limit_included(self: ReducedVat, power_kw: Decimal, *, is_severe_vulnerable: bool) -> bool:
    """Reduced VAT at the limit too, always."""
    return is_severe_vulnerable or (self.power_limit_kw is not None and power_kw <= self.power_limit_kw)


def easter_is_valley(patch: Patch) -> None:
    """Make Good Friday 2026 a holiday."""
    patch.setattr(calendar, "_VALLEY_DATES", calendar._VALLEY_DATES | {(4, 3)})
    curve._periods_of_day.cache_clear()


def labels_by_end(patch: Patch) -> None:
    """Label each hour by the clock at its end."""
    offsets = curve._offsets
    patch.setattr(curve, "_offsets", lambda hours, zone: offsets(hours, zone) + 1)


MUTANTS: dict[str, tuple[Callable[[], None], Callable[[Patch], None]]] = {
    "no floor": (check_floor, lambda patch: patch.setattr(taxes, "electricity_tax", no_floor)),
    "365 days always": (check_leap_year, lambda patch: patch.setattr(regulated, "_length", lambda _: 365)),
    "year of 372 days": (check_margin, lambda patch: patch.setattr(regulated, "_length", lambda _: 372)),
    "half to even": (
        check_half_a_cent,
        lambda patch: patch.setattr(money, "ROUND_HALF_UP", ROUND_HALF_EVEN),
    ),
    "rounded down": (check_half_a_cent, lambda patch: patch.setattr(money, "ROUND_HALF_UP", ROUND_DOWN)),
    "lines not rounded": (
        check_lines_before_total,
        lambda patch: patch.setattr("expert_bot.energy.bill.energy_term.cents", lambda eur: eur),
    ),
    "tax day is the start": (
        check_whole_bill_one_rate,
        lambda patch: patch.setattr(BillPeriod, "tax_day", property(lambda self: self.start)),
    ),
    "tax day is the end though due is printed": (
        check_tax_day,
        lambda patch: patch.setattr(BillPeriod, "tax_day", property(lambda self: self.end)),
    ),
    "Good Friday is valley": (check_good_friday, easter_is_valley),
    "hours labelled by their end": (check_hour_label, labels_by_end),
    "no power limit of the VAT": (
        check_vat_power_limit,
        lambda patch: patch.setattr(ReducedVat, "holds_for", no_limit),
    ),
    "power limit always included": (
        check_vat_power_limit,
        lambda patch: patch.setattr(ReducedVat, "holds_for", limit_included),
    ),
    "no bono cap": (
        check_bono_cap,
        lambda patch: patch.setattr(regulated, "_limit_kwh", lambda *_: Decimal(10**6)),
    ),
    "bono cap not prorated": (
        check_bono_cap,
        lambda patch: patch.setattr(regulated, "_limit_kwh", lambda *_: Decimal(1587) * 365 / 30),
    ),
    "bono on a credit": (
        check_bono_never_adds,
        lambda patch: patch.setattr(regulated, "max", lambda eur, _least: eur, raising=False),
    ),
    "margin on P2": (
        check_margin,
        lambda patch: patch.setattr(regulated, "pvpc_eur_per_kw_year", lambda *_, **__: Decimal("30.817413")),
    ),
    "no surplus cap": (
        check_surplus_cap,
        lambda patch: patch.setattr(lines, "compensate_surplus", lambda credit, *_: (credit, Decimal(0))),
    ),
    "services under the electricity tax": (
        check_discount_base,
        lambda patch: patch.setattr(bill, "taxed_lines", with_services),
    ),
    "first day billed twice": (
        check_first_day,
        lambda patch: patch.setattr(BillPeriod, "first", property(lambda self: self.start)),
    ),
}


def with_services(*arguments: object) -> Iterator[lines.BillLine]:
    """Put 20 EUR of services among the lines under the electricity tax."""
    yield from lines.taxed_lines(*arguments)  # type: ignore[arg-type]  # as they come
    yield lines.BillLine("service_0", "servicio", Decimal(20))


@pytest.fixture(autouse=True)
def clean_labels() -> Iterator[None]:
    """Forget the periods of days that a mutant has labelled."""
    curve._periods_of_day.cache_clear()
    yield
    curve._periods_of_day.cache_clear()


@pytest.mark.parametrize(
    "check", dict.fromkeys(check for check, _ in MUTANTS.values()), ids=lambda check: check.__name__
)
def test_the_rules_hold(check: Callable[[], None]) -> None:
    """Every check is green as the rules stand."""
    check()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_seen(name: str, monkeypatch: Patch) -> None:
    """Every check is red with its seeded mistake."""
    check, apply = MUTANTS[name]
    apply(monkeypatch)
    with pytest.raises(AssertionError):
        check()
