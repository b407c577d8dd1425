"""Electricity tax and VAT, IGIC or IPSI of a bill, by the law of its tax day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.bill.contract import Contract
from expert_bot.energy.bill.money import ZERO, cents
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.rules import Rules, Status
from expert_bot.energy.rules.rows import ElectricityTax, Row

MET: Final = "condition_met_and_validated"
NOT_MET: Final = "otherwise"

_PERCENT: Final = Decimal("0.01")
_PER_MWH: Final = Decimal("0.001")
IVA_ZONES: Final = frozenset({TariffZone.PENINSULA, TariffZone.BALEARES})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRates:
    """What a bill is taxed with: rates in percent, `floor_eur_per_kwh` the least electricity tax.

    `other_percent`: of meter rental and services. `vat_name`: IVA, IGIC or IPSI. `condition`: empty, or for which
    outcome of a conditional law these rates are. `norms`: of the electricity tax and of the VAT.
    """

    electricity_percent: Decimal
    floor_eur_per_kwh: Decimal
    vat_percent: Decimal
    other_percent: Decimal
    vat_name: str
    condition: str
    norms: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxes:
    """The taxes of a bill in EUR, and its total."""

    electricity_tax: Decimal
    vat_base: Decimal
    vat: Decimal
    total: Decimal


def tax_rates(
    contract: Contract, day: date, *, rules: Rules, confirmed: Mapping[Month, bool] | None = None
) -> tuple[TaxRates, ...]:
    """Return the rates on a day: one reading, or two (condition met, not met) while a conditional law is not settled.

    `confirmed`: by month of the bill, whether its condition was met and the decree validated. Raises RuleNotLoaded.
    """
    electricity = rules.electricity_tax.on(day)
    rows: list[Row] = [electricity]
    if contract.zone in IVA_ZONES:
        rows.append(rules.vat.on(day))
    if all(row.status is not Status.CONDITIONAL for row in rows):
        return (_rates(contract, day, electricity, rules=rules, met=False, condition=""),)
    settled = (confirmed or {}).get(Month.of(day))
    if settled is not None:
        return (_rates(contract, day, electricity, rules=rules, met=settled, condition=""),)
    return tuple(
        _rates(contract, day, electricity, rules=rules, met=met, condition=MET if met else NOT_MET)
        for met in (True, False)
    )


def _rates(
    contract: Contract, day: date, electricity: ElectricityTax, *, rules: Rules, met: bool, condition: str
) -> TaxRates:
    name, percent, other_percent, norm = _vat(contract, day, rules=rules, met=met)
    return TaxRates(
        electricity_percent=electricity.percent_when(met=met),
        floor_eur_per_kwh=electricity.floor_eur_per_mwh * _PER_MWH,
        vat_percent=percent,
        other_percent=other_percent,
        vat_name=name,
        condition=condition,
        norms=(electricity.norm, norm),
    )


def _vat(contract: Contract, day: date, *, rules: Rules, met: bool) -> tuple[str, Decimal, Decimal, str]:
    """Return name, percent on electricity, percent on the rest, and norm."""
    power_kw = contract.highest_power_kw
    if contract.zone in IVA_ZONES:
        vat = rules.vat.on(day)
        percent = vat.percent_for(power_kw, is_severe_vulnerable=contract.is_severe_vulnerable, met=met)
        return "IVA", percent, percent, vat.norm
    if contract.zone is TariffZone.CANARIAS:
        igic = rules.igic.on(day)
        is_small_home = contract.is_home and power_kw <= igic.home_power_limit_kw
        percent = igic.home_percent if is_small_home else igic.other_percent
        return "IGIC", percent, igic.meter_rental_percent, igic.norm
    ipsi = rules.ipsi.on(day)
    return "IPSI", ipsi.percent, ipsi.meter_rental_percent, ipsi.norm


def electricity_tax(base_eur: Decimal, energy_kwh: Decimal, rates: TaxRates) -> Decimal:
    """Return the tax in EUR: the rate on the base, at least the floor on each kWh taken from the grid."""
    return cents(max(base_eur * rates.electricity_percent * _PERCENT, energy_kwh * rates.floor_eur_per_kwh))


def vat(electricity_eur: Decimal, other_eur: Decimal, rates: TaxRates) -> Decimal:
    """Return VAT in EUR: on everything at once, or line by line where electricity and the rest differ in rate."""
    if rates.vat_percent == rates.other_percent:
        return cents((electricity_eur + other_eur) * rates.vat_percent * _PERCENT)
    return cents(electricity_eur * rates.vat_percent * _PERCENT) + cents(
        other_eur * rates.other_percent * _PERCENT
    )


def settle(base_eur: Decimal, energy_kwh: Decimal, other_eur: Decimal, rates: TaxRates) -> Taxes:
    """Tax a bill: `base_eur` its lines under the electricity tax, `other_eur` meter rental and services."""
    tax = electricity_tax(base_eur, energy_kwh, rates)
    vat_base = base_eur + tax + other_eur
    added = vat(base_eur + tax, other_eur, rates)
    return Taxes(electricity_tax=tax, vat_base=vat_base, vat=added, total=vat_base + added + ZERO)
