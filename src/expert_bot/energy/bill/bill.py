"""A whole bill, line by line, as a Spanish invoice prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod, Contract, ExtraLine
from expert_bot.energy.bill.facts import bill_facts
from expert_bot.energy.bill.lines import BillLine, other_lines, taxed_lines
from expert_bot.energy.bill.money import total
from expert_bot.energy.bill.taxes import Taxes, TaxRates, settle, tax_rates
from expert_bot.energy.calendar import Month
from expert_bot.energy.quality import quality_of
from expert_bot.energy.rules import Rules
from expert_bot.schemas.fact import DataQuality, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class BillReading:
    """The bill under one outcome of a conditional law: `condition_met_and_validated` or `otherwise`; EUR."""

    condition: str
    electricity_tax: Decimal
    vat: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A computed bill; all amounts in EUR to the cent.

    While a conditional law is not settled there are two `readings` instead of the electricity tax, the VAT (and their
    lines) and the total, which are None then. `data_quality`: of the hours in the billed days, if there is a curve.
    """

    lines: tuple[BillLine, ...]
    electricity_tax_base: Decimal
    electricity_tax: Decimal | None
    vat_base: Decimal | None
    vat: Decimal | None
    total: Decimal | None
    readings: tuple[BillReading, ...]
    facts: tuple[Fact, ...]
    data_quality: DataQuality | None = None

    def eur(self, line_id: str) -> Decimal:
        """Return the amount of a line. Raises KeyError if the bill has none of this id."""
        return {line.id: line.eur for line in self.lines}[line_id]


def compute_bill(
    contract: Contract,
    period: BillPeriod,
    consumption: BilledConsumption,
    *,
    rules: Rules,
    meter_rental_days: int | None = None,
    financing_eur_per_day: Decimal | None = None,
    services: tuple[ExtraLine, ...] = (),
    confirmed: Mapping[Month, bool] | None = None,
) -> Bill:
    """Return the bill of a 2.0TD supply.

    `meter_rental_days`: the bill's days unless given. `financing_eur_per_day`: by the rules unless printed. `services`
    are under VAT only. `confirmed`: months of which the outcome of a conditional law is known. Raises RuleNotLoaded
    where no official value is loaded, ValueError where the input does not fit together.
    """
    taxed = tuple(taxed_lines(contract, period, consumption, rules, financing_eur_per_day))
    others = tuple(other_lines(period, services, rules, meter_rental_days))
    base = total(line.eur for line in taxed)
    rates = tax_rates(contract, period.tax_day, rules=rules, confirmed=confirmed)
    outcomes = tuple(
        settle(base, consumption.total_kwh, total(line.eur for line in others), each) for each in rates
    )
    settled = outcomes[0] if len(outcomes) == 1 else None
    return Bill(
        lines=tuple(_in_order(taxed, others, settled, rates[0])),
        electricity_tax_base=base,
        electricity_tax=settled.electricity_tax if settled else None,
        vat_base=settled.vat_base if settled else None,
        vat=settled.vat if settled else None,
        total=settled.total if settled else None,
        readings=() if settled else tuple(map(_reading, rates, outcomes)),
        facts=bill_facts(contract, period, consumption, rules=rules, rates=rates, taxes=outcomes),
        data_quality=_quality(period, consumption),
    )


def _in_order(
    taxed: tuple[BillLine, ...], others: tuple[BillLine, ...], taxes: Taxes | None, rates: TaxRates
) -> Iterator[BillLine]:
    yield from taxed
    if taxes is not None:
        yield BillLine("electricity_tax", "Impuesto sobre la electricidad", taxes.electricity_tax)
    yield from others
    if taxes is not None:
        yield BillLine("vat", f"{rates.vat_name} ({rates.vat_percent:f} %)", taxes.vat)


def _reading(rates: TaxRates, taxes: Taxes) -> BillReading:
    return BillReading(
        condition=rates.condition,
        electricity_tax=taxes.electricity_tax,
        vat=taxes.vat,
        total=taxes.total,
    )


def _quality(period: BillPeriod, consumption: BilledConsumption) -> DataQuality | None:
    if consumption.curve is None:
        return None
    return quality_of(consumption.curve, period.first, period.until).as_data_quality()
