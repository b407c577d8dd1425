"""Why a printed tax is not the computed one: another rate, no floor, or another base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.bill_checking.bill_causes import Cause, CauseCode, dated, other_rows
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.bill.taxes import IVA_ZONES, TaxRates, electricity_tax, vat
from expert_bot.energy.rules import Rules
from expert_bot.energy.rules.rows import ElectricityTax, Vat

_NO_FLOOR: Final = Cause(
    code=CauseCode.FLOOR_NOT_APPLIED,
    text="the least tax of 1 EUR/MWh was not applied",
    norm="Ley 38/1992 art. 99",
)
_NO_AMOUNT: Final = Decimal(0)
_FOLLOWS: Final = Cause(
    code=CauseCode.FOLLOWS_OTHER_LINES,
    text="the right rate on the printed lines, which are not the right ones",
)


def find_tax_causes(
    request: BillRequest,
    printed_eur: Decimal,
    *,
    rules: Rules,
    right: TaxRates,
    base_eur: Decimal,
    right_base_eur: Decimal,
    other_eur: Decimal,
    financing_eur: Decimal,
) -> tuple[Cause, ...]:
    """Return why the electricity tax is as printed; empty if it is right, or nothing explains it.

    `right`: the rates that hold. `base_eur`: of the printed lines, `right_base_eur`: of the computed ones, `other_eur`: meter rental and services.
    """
    energy_kwh = request.consumption.total_kwh
    bases = tuple(_tax_bases(base_eur, right_base_eur, other_eur, financing_eur))
    for rates, rate_causes in _electricity_rates(request, rules, right):
        for base, base_causes in bases:
            if electricity_tax(base, energy_kwh, rates) == printed_eur:
                return (*rate_causes, *base_causes)
    return ()


def find_vat_causes(
    request: BillRequest,
    printed_eur: Decimal,
    *,
    rules: Rules,
    right: TaxRates,
    electricity_eur: Decimal,
    other_eur: Decimal,
    right_base_eur: Decimal,
) -> tuple[Cause, ...]:
    """Return why the VAT is as printed; empty if it is right, or nothing explains it.

    `right`: the rates that hold. `electricity_eur`: printed lines with electricity tax, `other_eur`: meter rental and services.
    """
    follows = () if electricity_eur + other_eur == right_base_eur else (_FOLLOWS,)
    without_other = Cause(code=CauseCode.OTHER_BASE, text="without meter rental and services in the base")
    for rates, causes in _vat_rates(request, rules, right):
        if vat(electricity_eur, other_eur, rates) == printed_eur:
            return causes or follows
        if vat(right_base_eur - other_eur, other_eur, rates) == printed_eur:
            return causes
        if other_eur and vat(electricity_eur, Decimal(0), rates) == printed_eur:
            return (*causes, without_other)
    return ()


def _tax_bases(
    base_eur: Decimal, right_base_eur: Decimal, other_eur: Decimal, financing_eur: Decimal
) -> Iterator[tuple[Decimal, tuple[Cause, ...]]]:
    yield right_base_eur, ()
    if base_eur != right_base_eur:
        yield base_eur, (_FOLLOWS,)
    for base, text in (
        (base_eur + other_eur, "with meter rental and services in the base"),
        (base_eur - financing_eur, "without the financing of the bono social in the base"),
    ):
        if base != base_eur:
            yield base, (Cause(code=CauseCode.OTHER_BASE, text=text),)


def _electricity_rates(
    request: BillRequest, rules: Rules, right: TaxRates
) -> Iterator[tuple[TaxRates, tuple[Cause, ...]]]:
    """Yield the right rate, then every other, each with its floor and without."""
    yield right, ()
    for row in _distinct_taxes(request, rules, right):
        cause = dated(f"{row.percent:f} %, the rate", row, CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE)
        rates = replace(right, electricity_percent=row.percent)
        yield rates, (cause,)
        yield replace(rates, floor_eur_per_kwh=_NO_AMOUNT), (cause, _NO_FLOOR)
    yield replace(right, floor_eur_per_kwh=_NO_AMOUNT), (_NO_FLOOR,)


def _distinct_taxes(request: BillRequest, rules: Rules, right: TaxRates) -> Iterator[ElectricityTax]:
    seen = {right.electricity_percent}
    for row in other_rows(rules.electricity_tax, request.period):
        if row.percent not in seen:
            seen.add(row.percent)
            yield row


def _vat_rates(
    request: BillRequest, rules: Rules, right: TaxRates
) -> Iterator[tuple[TaxRates, tuple[Cause, ...]]]:
    yield right, ()
    if request.contract.zone not in IVA_ZONES:
        return
    for row, percent in _distinct_vats(request, rules, right):
        cause = dated(f"{percent:f} %, a rate", row, CauseCode.VAT_OF_OTHER_DATE)
        yield replace(right, vat_percent=percent, other_percent=percent), (cause,)


def _distinct_vats(request: BillRequest, rules: Rules, right: TaxRates) -> Iterator[tuple[Vat, Decimal]]:
    """Yield each other percentage with the nearest row that has it; the right row's own other rate first."""
    seen = {right.vat_percent}
    rows = (rules.vat.on(request.period.tax_day), *other_rows(rules.vat, request.period))
    for row in rows:
        reduced = () if row.reduced is None else (row.reduced.percent,)
        for percent in (*reduced, row.percent):
            if percent not in seen:
                seen.add(percent)
                yield row, percent
