"""What a bill rests on: energy, regulated values and rates, each with the rule it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from expert_bot.energy.bill import regulated
from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod, Contract, PvpcTariff
from expert_bot.energy.bill.money import cents
from expert_bot.energy.bill.taxes import Taxes, TaxRates
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import Rules
from expert_bot.schemas.fact import Fact, FactPeriod

_INPUT = "the bill's input"


def bill_facts(
    contract: Contract,
    period: BillPeriod,
    consumption: BilledConsumption,
    *,
    rules: Rules,
    rates: tuple[TaxRates, ...],
    taxes: tuple[Taxes, ...],
) -> tuple[Fact, ...]:
    """Return the facts of a bill; under a conditional law those of the taxes once for each outcome."""
    billed = FactPeriod(start=period.first.isoformat(), end=period.until.isoformat())
    facts = [*_energy(consumption), *_regulated(contract, period, consumption, rules)]
    facts.append(_fact("tax_day", period.tax_day.isoformat(), "date", "due day, else last billed day"))
    for rate, tax in zip(rates, taxes, strict=True):
        facts.extend(_taxes(rate, tax))
    return tuple(fact.model_copy(update={"period": billed}) for fact in facts)


def _energy(consumption: BilledConsumption) -> Iterator[Fact]:
    source = "hourly curve" if consumption.curve is not None else _INPUT
    for period in Period:
        yield _fact(f"consumption_{period.lower()}", _text(consumption.energy_kwh[period]), "kWh", source)
    yield _fact("consumption_total", _text(consumption.total_kwh), "kWh", source)


def _regulated(
    contract: Contract, period: BillPeriod, consumption: BilledConsumption, rules: Rules
) -> Iterator[Fact]:
    power = regulated.tolls_of_power(contract, period, rules=rules)
    energy = regulated.tolls_of_energy(period, consumption, rules=rules)
    norms = _norms(row.norm for row, _, _ in rules.tolls_charges.between(period.first, period.until))
    yield _fact("tolls_and_charges_power", _text(cents(power)), "EUR", norms)
    yield _fact("tolls_and_charges_energy", _text(cents(energy)), "EUR", norms)
    if isinstance(contract.tariff, PvpcTariff):
        margin = rules.pvpc_margin.on(period.first)
        yield _fact("pvpc_margin_per_kw", _text(margin.eur_per_kw_year), "EUR/year", margin.norm)
        if contract.zone is TariffZone.CANARIAS and contract.tariff.prices is not None:
            yield _fact(
                "pvpc_hours_matched_by", "local_clock", "word", "hours of Canarias: not settled by a norm"
            )
    for row, first, until in rules.bono_social_financing.between(period.first, period.until):
        days = FactPeriod(start=first.isoformat(), end=until.isoformat())
        yield _fact(
            "bono_financing_per_supply", _text(row.eur_per_year), "EUR/year", f"{row.norm}; {days.start}"
        )
    if contract.bono_social is not None:
        for percent, first, _ in rules.bono_social_percent.between(period.first, period.until):
            value = percent.severe_percent if contract.is_severe_vulnerable else percent.vulnerable_percent
            yield _fact("bono_discount_percent", _text(value), "%", f"{percent.norm}; from {first}")


def _taxes(rates: TaxRates, taxes: Taxes) -> Iterator[Fact]:
    suffix = f"_{rates.condition}" if rates.condition else ""
    tax_norm, vat_norm = rates.norms
    yield _fact(f"electricity_tax_percent{suffix}", _text(rates.electricity_percent), "%", tax_norm)
    yield _fact(
        f"electricity_tax_floor{suffix}", _text(rates.floor_eur_per_kwh), "EUR/kWh", "Ley 38/1992 art. 99"
    )
    yield _fact(f"vat_percent{suffix}", _text(rates.vat_percent), "%", vat_norm)
    yield _fact(f"total{suffix}", _text(taxes.total), "EUR", "sum of the printed lines")


def _norms(norms: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(norms))


def _text(value: Decimal) -> str:
    return f"{value:f}"


def _fact(name: str, value: str, unit: str, source: str) -> Fact:
    return Fact.model_validate({"id": name, "value": value, "unit": unit, "source": source})
