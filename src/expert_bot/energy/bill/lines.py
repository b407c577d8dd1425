"""The printed lines of a bill before its taxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from expert_bot.energy.bill import regulated
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BillPeriod,
    Contract,
    ExtraLine,
    FixedTariff,
    SurplusTerms,
)
from expert_bot.energy.bill.energy_term import compensate_surplus, fixed_energy, pvpc_energy
from expert_bot.energy.bill.money import ZERO, cents, total
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod, Rules

_POWER_LABELS: Final = {PowerPeriod.P1: "Potencia punta (P1)", PowerPeriod.P2: "Potencia valle (P2)"}
_ENERGY_LABELS: Final = {
    Period.P1: "Energía punta (P1)",
    Period.P2: "Energía llano (P2)",
    Period.P3: "Energía valle (P3)",
}


@dataclass(frozen=True, slots=True)
class BillLine:
    """A printed line: a stable id, its name in Spanish, EUR to the cent (negative: taken off)."""

    id: str
    label: str
    eur: Decimal


def taxed_lines(
    contract: Contract,
    period: BillPeriod,
    consumption: BilledConsumption,
    rules: Rules,
    financing_eur_per_day: Decimal | None = None,
) -> Iterator[BillLine]:
    """Yield the lines under the electricity tax, in the order of the bill. Raises as `compute_bill` does."""
    power = {each: _power(contract, period, each, rules) for each in PowerPeriod}
    energy = _energy(contract, consumption)
    financing = regulated.financing(period, rules=rules, eur_per_day=financing_eur_per_day)
    energy_eur = total(line.eur for line in energy)
    surplus_eur = ZERO
    if contract.surplus is not None:
        surplus_eur = surplus_credit(contract.surplus, period, consumption, energy_eur, rules=rules)
    for each, eur in power.items():
        yield BillLine(f"power_{each.lower()}", _POWER_LABELS[each], eur)
    yield from energy
    for number, discount in enumerate(contract.discounts, start=1):
        yield BillLine(f"discount_{number}", discount.label, cents(discount.eur))
    yield BillLine("bono_financing", "Financiación del bono social", financing)
    if contract.bono_social is not None:
        discount_eur = regulated.bono_discount(
            contract.bono_social,
            period,
            fixed_eur=total(power.values()) + financing,
            energy_eur=energy_eur + surplus_eur,
            energy_kwh=consumption.total_kwh,
            rules=rules,
        )
        yield BillLine("bono_discount", "Descuento del bono social", discount_eur)
    if contract.surplus is not None:
        yield BillLine("surplus", "Compensación de excedentes", surplus_eur)


def _power(contract: Contract, period: BillPeriod, power: PowerPeriod, rules: Rules) -> Decimal:
    if isinstance(contract.tariff, FixedTariff):
        price = contract.tariff.power_eur_per_kw_day[power]
        return cents(contract.power_kw[power] * price * period.days)
    return regulated.pvpc_power(contract, period, power, rules=rules)


def _energy(contract: Contract, consumption: BilledConsumption) -> tuple[BillLine, ...]:
    if not isinstance(contract.tariff, FixedTariff):
        return (BillLine("energy", "Energía (PVPC)", pvpc_energy(contract.tariff, consumption)),)
    amounts = fixed_energy(contract.tariff.energy, consumption.energy_kwh)
    if len(amounts) == 1:
        return (BillLine("energy", "Energía", amounts[0]),)
    return tuple(
        BillLine(f"energy_{period.lower()}", _ENERGY_LABELS[period], eur)
        for period, eur in zip(Period, amounts, strict=True)
    )


def surplus_credit(
    terms: SurplusTerms,
    period: BillPeriod,
    consumption: BilledConsumption,
    energy_eur: Decimal,
    *,
    rules: Rules,
) -> Decimal:
    """Return what surplus energy takes off the bill in EUR, 0 or negative."""
    kept = ZERO
    if not terms.tolls_are_compensable:
        kept = cents(regulated.tolls_of_energy(period, consumption, rules=rules))
    credit = cents(consumption.surplus_kwh * terms.eur_per_kwh)
    return cents(-compensate_surplus(credit, energy_eur, kept)[0])


def other_lines(
    period: BillPeriod, services: tuple[ExtraLine, ...], rules: Rules, meter_rental_days: int | None
) -> Iterator[BillLine]:
    """Yield the lines under VAT only: meter rental and services."""
    rental = regulated.meter_rental(period, rules=rules, days=meter_rental_days)
    yield BillLine("meter_rental", "Alquiler del contador", rental)
    for number, service in enumerate(services, start=1):
        yield BillLine(f"service_{number}", service.label, cents(service.eur))
