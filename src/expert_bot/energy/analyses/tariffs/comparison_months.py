"""What the months of a comparison cost: prepared once, then each offer's bill with few operations.

Amounts are those of `compute_bill` on each calendar month, to the cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from expert_bot.energy.bill import regulated
from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod, BonoSocial, Contract, FixedTariff
from expert_bot.energy.bill.energy_term import fixed_energy
from expert_bot.energy.bill.lines import surplus_credit, taxed_lines
from expert_bot.energy.bill.money import cents, total
from expert_bot.energy.bill.offers import Offer
from expert_bot.energy.bill.taxes import TaxRates, settle, tax_rates
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.rules import PowerPeriod, Rules

_PERCENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The supply that offers are compared for."""

    zone: TariffZone
    power_kw: Mapping[PowerPeriod, Decimal]
    bono_social: BonoSocial | None = None
    is_home: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthCost:
    """What a month costs in EUR with taxes: under each reading of the law, by its condition (empty: settled).

    `energy_taxed`: the part that grows with consumption, EUR with taxes, not rounded.
    """

    month: Month
    eur: Mapping[str, Decimal]
    energy_taxed: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthBasis:
    """A calendar month of the supply: energy, days, the lines that no offer changes, and the law of its last day.

    `kw_days`: contracted kW times days. `taxed`: what a EUR of energy becomes with both taxes.
    """

    month: Month
    period: BillPeriod
    hours: Curve
    consumption: BilledConsumption
    energy_kwh: Decimal
    kw_days: Mapping[PowerPeriod, Decimal]
    financing: Decimal
    meter_rental: Decimal
    rates: tuple[TaxRates, ...]
    taxed: Decimal


def month_bases(
    curve: Curve, supply: Supply, *, rules: Rules, confirmed: Mapping[Month, bool] | None = None
) -> Iterator[MonthBasis]:
    """Prepare every calendar month with readings. Raises RuleNotLoaded."""
    contract = Contract(
        zone=supply.zone,
        power_kw=supply.power_kw,
        tariff=FixedTariff(power_eur_per_kw_day={}, energy=Decimal(0)),
        is_home=supply.is_home,
    )
    for month, hours in curve.months():
        period = month_period(month)
        consumption = BilledConsumption(
            energy_kwh=hours.kwh_by_period(), surplus_kwh=hours.surplus_kwh(), curve=hours
        )
        rates = tax_rates(contract, period.tax_day, rules=rules, confirmed=confirmed)
        yield MonthBasis(
            month=month,
            period=period,
            hours=hours,
            consumption=consumption,
            energy_kwh=consumption.total_kwh,
            kw_days={each: power_kw * period.days for each, power_kw in supply.power_kw.items()},
            financing=regulated.financing(period, rules=rules),
            meter_rental=regulated.meter_rental(period, rules=rules),
            rates=rates,
            taxed=_taxed(rates[-1]),
        )


def month_period(month: Month) -> BillPeriod:
    """Return the billing period of a calendar month, both ends billed."""
    last = month.end - timedelta(days=1)
    return BillPeriod(start=month.first_day, end=last, days=last.day)


def fixed_month(basis: MonthBasis, offer: Offer, tariff: FixedTariff, rules: Rules) -> MonthCost:
    """Return what a month costs with fixed prices."""
    energy_eur = total(fixed_energy(tariff.energy, basis.consumption.energy_kwh))
    if offer.surplus is not None:
        energy_eur += surplus_credit(offer.surplus, basis.period, basis.consumption, energy_eur, rules=rules)
    base = energy_eur + basis.financing
    for period, price in tariff.power_eur_per_kw_day.items():
        base += cents(basis.kw_days[period] * price)
    return _month_cost(basis, offer, base, energy_eur * basis.taxed, basis.rates)


def pvpc_month(
    basis: MonthBasis,
    offer: Offer,
    supply: Supply,
    *,
    rules: Rules,
    confirmed: Mapping[Month, bool] | None = None,
) -> MonthCost:
    """Return what a month costs with the PVPC, by the hour, with the bono social if the supply has it.

    Raises ValueError if an hour has no price.
    """
    contract = offer.contract(
        supply.zone, supply.power_kw, bono_social=supply.bono_social, is_home=supply.is_home
    )
    lines = tuple(taxed_lines(contract, basis.period, basis.consumption, rules))
    energy_eur = total(line.eur for line in lines if line.id in ("energy", "surplus"))
    bono = contract.bono_social
    if bono is not None and basis.energy_kwh < regulated.bono_limit_kwh(bono, basis.period, rules=rules):
        # above the limit more energy is not discounted any more
        energy_eur += regulated.bono_discount(
            bono,
            basis.period,
            fixed_eur=Decimal(0),
            energy_eur=energy_eur,
            energy_kwh=basis.energy_kwh,
            rules=rules,
        )
    rates = tax_rates(contract, basis.period.tax_day, rules=rules, confirmed=confirmed)
    return _month_cost(basis, offer, total(line.eur for line in lines), energy_eur * _taxed(rates[-1]), rates)


def _month_cost(
    basis: MonthBasis, offer: Offer, base: Decimal, energy_taxed: Decimal, rates: tuple[TaxRates, ...]
) -> MonthCost:
    other = basis.meter_rental
    for service in offer.services:
        other += cents(service.eur)
    return MonthCost(
        month=basis.month,
        eur={each.condition: settle(base, basis.energy_kwh, other, each).total for each in rates},
        energy_taxed=energy_taxed,
    )


def _taxed(rates: TaxRates) -> Decimal:
    return (1 + rates.electricity_percent * _PERCENT) * (1 + rates.vat_percent * _PERCENT)
