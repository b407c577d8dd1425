"""Bills that others published, to the cent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from expert_bot.energy.bill.energy_term import compensate_surplus
from expert_bot.energy.bill.money import cents, total
from expert_bot.energy.bill.taxes import electricity_tax, tax_rates, vat
from expert_bot.energy.calendar import Month
from tests.unit.bill_world import RULES, Case, amounts, pvpc


def reference(shared_data: Path, name: str) -> Any:
    """Return the published case whose id begins like this."""
    document = json.loads((shared_data / "energy" / "reference_bills.json").read_text(), parse_float=str)
    return next(case for case in document["cases"] if case["id"].startswith(name))


def from_reference(case: Any, **changes: Any) -> Case:
    """Return the bill of a published PVPC case."""
    kwh = tuple(case["kwh"].values())
    if "pvpc_mean_price" in case:
        means = case["pvpc_mean_price"].values()
    else:
        costs = case["pvpc_energy_cost"].values()
        means = [Decimal(cost) / Decimal(energy) for cost, energy in zip(costs, kwh, strict=True)]
    start, end = map(date.fromisoformat, case["period"])
    due = date.fromisoformat(case["due"]) if "due" in case else None
    power_kw = tuple(case["kw"].values())
    return Case(
        tariff=pvpc(*means), power_kw=power_kw, kwh=kwh, start=start, end=end, days=case["days"], due=due
    ).but(**changes)


def test_b4_a_pvpc_bill_of_june_2026(shared_data: Path) -> None:
    """Every printed part of B4, its tolls and charges too, over the change of the financing on 26 June."""
    case = reference(shared_data, "B4")
    bill, expected = from_reference(case).bill(), case["expect"]
    facts = {fact.id: fact.value for fact in bill.facts}
    assert {
        "power_p1": expected["power"][0],
        "power_p2": expected["power"][1],
        "energy": f"{Decimal(expected['energy']):.2f}",
        "bono_financing": f"{Decimal(expected['bono']):.2f}",
        "electricity_tax": f"{Decimal(expected['iee']):.2f}",
        "meter_rental": f"{Decimal(expected['meter']):.2f}",
        "vat": expected["vat"],
    } == amounts(bill)
    assert expected["total"] == f"{bill.total:f}"
    assert expected["tolls_power"] == facts["tolls_and_charges_power"]
    assert f"{Decimal(expected['tolls_energy']):.2f}" == facts["tolls_and_charges_energy"]
    assert (date(2026, 6, 1), date(2026, 7, 1)) == (
        from_reference(case).period.first,
        from_reference(case).period.until,
    )


def test_b5_the_least_electricity_tax(shared_data: Path) -> None:
    """0.5 % of the base is less than 1 EUR/MWh: the floor is what is paid."""
    case = reference(shared_data, "B5")
    (rates,) = tax_rates(Case().contract, date.fromisoformat(f"{case['due']}-15"), rules=RULES)
    tax = electricity_tax(Decimal(case["iee_base"]), Decimal(case["kwh"]), rates)
    assert Decimal(case["expect"]["iee"]) == tax


def test_b6_law_that_is_not_settled(shared_data: Path) -> None:
    """In November 2026 there are two readings, and no total."""
    case = reference(shared_data, "B6")
    bill = from_reference(reference(shared_data, "B4"), due=date.fromisoformat(case["due"])).bill()
    assert (bill.total, bill.electricity_tax, bill.vat_base, bill.vat) == (None, None, None, None)
    assert Decimal(case["iee_base"]) == bill.electricity_tax_base
    assert {name: Decimal(tax) for name, tax in case["expect"]["readings"].items()} == {
        reading.condition: reading.electricity_tax for reading in bill.readings
    }
    assert {"electricity_tax", "vat"}.isdisjoint(amounts(bill))
    for is_met, reading in zip((True, False), bill.readings, strict=True):
        settled = from_reference(reference(shared_data, "B4"), due=date(2026, 11, 10)).bill(
            confirmed={Month(2026, 11): is_met}
        )
        assert (reading.total, ()) == (settled.total, settled.readings)


@pytest.mark.parametrize(
    ("days_in_year", "key"),
    [pytest.param(None, "total_366", id="366"), pytest.param(365, "total_365", id="365")],
)
def test_b8_a_leap_year(shared_data: Path, days_in_year: int | None, key: str) -> None:
    """A bill of 2024 counts 366 days in the year, its meter rental too; a retailer that counts 365 can be followed."""
    case = reference(shared_data, "B8")
    bill = from_reference(case, days_in_year=days_in_year).bill()
    assert case["expect_recomputed"][key] == f"{bill.total:f}"


def test_d1_surplus_that_does_not_compensate_tolls(shared_data: Path) -> None:
    """Where tolls are not compensable, the rest of the credit is left over."""
    case = reference(shared_data, "D1")
    gross, tolls, credit = (
        Decimal(case[key]) for key in ("energy_gross", "tolls_charges_part", "surplus_credit")
    )
    expected = tuple(Decimal(case["expect"][key]) for key in ("compensated", "left_over"))
    assert expected == compensate_surplus(credit, gross, tolls)
    assert (credit, 0) == compensate_surplus(credit, gross)


def test_the_simulator_of_the_regulator_across_a_new_year() -> None:
    """A published case of the CNMC's simulator: 3.5 kW, no consumption, 29/12/2025 - 29/01/2026, 31 days: 13.65 EUR.

    Two of its days are of 2025, so the first date is that of the last reading; its power term is 9.36 EUR because each
    price is rounded by itself.
    """
    case = Case(
        power_kw=("3.5", "3.5"), kwh=(0, 0, 0), start=date(2025, 12, 29), end=date(2026, 1, 29), days=31
    )
    bill = case.bill()
    assert (
        f"{bill.eur('power_p1') + bill.eur('power_p2'):f}",
        f"{bill.electricity_tax:f}",
        f"{bill.total:f}",
    ) == ("9.36", "0.51", "13.65")


def test_b7_the_arithmetic_of_a_bill_of_2020(shared_data: Path) -> None:
    """A bill of the old regime 2.0DHA, by the hour, from its own terms: prorated over 366 days, 62.46 EUR.

    Old regime: its periods (valley 22-12 in winter), its tolls (0.103944 EUR/kW and day, margin 3.113), no financing,
    VAT on the meter rental printed apart. What the engine gives: rounding by line, electricity tax, VAT.
    """
    folder = shared_data / "energy" / "pvpcbill_2020"
    terms = json.loads(next(folder.glob("*_NOC_*.json")).read_text(), parse_float=Decimal)
    (year,) = terms["periodos_fact"]
    days, kw = year["billed_days"], terms["config"]["potencia_contratada"]
    power = [cents(kw * price * days / 366) for price in (Decimal("38.043426"), Decimal("3.113"))]
    assert [year["termino_fijo_peaje_acceso"], year["termino_fijo_comercializacion"]] == power
    cost = dict.fromkeys(("P1", "P2"), Decimal(0))
    energy_kwh = dict.fromkeys(("P1", "P2"), Decimal(0))
    tolls = dict.fromkeys(("P1", "P2"), Decimal(0))
    for hour, kwh, price, toll in hours_of_2020(folder):
        period = "P1" if 12 <= hour < 22 else "P2"
        energy_kwh[period] += kwh
        cost[period] += kwh * (price - toll)
        tolls[period] += kwh * toll
    for printed in year["energy_periods"]:
        name = printed["name"]
        assert printed["energia_total"] == cents(energy_kwh[name])
        assert printed["coste_energia_tcu"] == cents(cost[name])
        assert printed["coste_peaje_acceso_tea"] == cents(tolls[name])
    base = total([*power, *map(cents, cost.values()), *map(cents, tolls.values())])
    (general,) = tax_rates(Case().contract, date(2021, 6, 1), rules=RULES)
    tax = electricity_tax(base, sum(energy_kwh.values(), Decimal(0)), general)
    rental = cents(terms["config"]["alquiler_anual"] * days / 366)
    assert (terms["termino_impuesto_electrico"], terms["termino_equipo_medida"]) == (tax, rental)
    taxes = vat(base + tax, Decimal(0), general) + vat(Decimal(0), rental, general)
    assert str(reference(shared_data, "B7")["expect"]["total"]) == "62.46"
    assert terms["total"] == base + tax + rental + taxes == Decimal("62.46")


def hours_of_2020(folder: Path) -> Iterator[tuple[int, Decimal, Decimal, Decimal]]:
    """Yield hour, kWh, price and toll (EUR/kWh) of each hour of the old bill."""
    prices = {
        row[""][:13]: (Decimal(row["NOC"]) / 1000, Decimal(row["TEUNOC"]) / 1000)
        for row in csv.DictReader((folder / "pvpc_test_data.csv").read_text().splitlines())
    }
    for row in csv.DictReader(next(folder.glob("consumo*.csv")).read_text().splitlines(), delimiter=";"):
        day, month, year = map(int, row["Fecha"].split("/"))
        hour = int(row["Hora"]) - 1
        stamp = f"{date(year, month, day).isoformat()} {hour:02d}"
        price, toll = prices[stamp]
        yield hour, Decimal(row["Consumo_kWh"].replace(",", ".")), price, toll
