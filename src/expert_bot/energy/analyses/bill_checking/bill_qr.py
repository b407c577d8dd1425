"""The bill behind an invoice's QR code, as far as the code tells it: what to recompute, and what was printed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.bill_checking.bill_printed import PrintedBill
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BillPeriod,
    Contract,
    ExtraLine,
    FixedTariff,
    PvpcTariff,
    Tariff,
)
from expert_bot.energy.bill.regulated import pvpc_eur_per_kw_year
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats.cnmc_qr import QrBill
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod, RuleNotLoaded, Rules
from expert_bot.errors import UsageError

_ZONES: Final[Mapping[str, TariffZone]] = {
    "07": TariffZone.BALEARES,
    "35": TariffZone.CANARIAS,
    "38": TariffZone.CANARIAS,
    "51": TariffZone.CEUTA,
    "52": TariffZone.MELILLA,
}
"""First two digits of the postcode; all others are on the peninsula."""

_DAYS: Final = 365


def bill_of_qr(code: QrBill, *, rules: Rules) -> tuple[BillRequest, PrintedBill]:
    """Return what to recompute and what was printed.

    Discounts, surplus and services are taken as printed; the tax day is the last billed one, for the code does not hold
    the due day. Raises UsageError if it lacks powers or prices; those of the PVPC's power are regulated, and not needed.
    """
    power_kw = _by_power(code.contracted_kw)
    yearly_prices = _by_power(code.power_eur_per_kw_year)
    prices = {period: code.energy_eur_per_kwh.get(period) for period in Period}
    energy_prices = {period: price for period, price in prices.items() if price is not None}
    if len(power_kw) < len(PowerPeriod) or len(energy_prices) < len(Period):
        raise UsageError(
            "the QR code lacks contracted powers (pP1, pP2) or energy prices (prE1..3): give INPUT.json"
        )
    if len(yearly_prices) < len(PowerPeriod) and not code.is_pvpc:
        raise UsageError(
            "the QR code lacks power prices (prP1, prP2) and does not say that it is the PVPC: give INPUT.json"
        )
    contract = Contract(
        zone=_ZONES.get((code.postcode or "")[:2], TariffZone.PENINSULA),
        power_kw=power_kw,
        tariff=_tariff(code, yearly_prices, energy_prices, rules),
        discounts=_extras(
            ("Descuento", _taken_off(code.discount_eur)),
            ("Compensación de excedentes", _taken_off(code.surplus_eur)),
            ("Descuento del bono social", _taken_off(code.bono_social_discount_eur)),
            ("Ajuste", code.adjustment_eur),
            ("Otros con impuesto eléctrico", code.other_with_electricity_tax_eur),
        ),
    )
    request = BillRequest(
        contract=contract,
        period=BillPeriod(start=code.start, end=code.end, days=code.days),
        consumption=BilledConsumption(
            energy_kwh={period: code.energy_kwh.get(period, Decimal(0)) for period in Period}
        ),
        services=_extras(
            ("Servicios", code.services_eur),
            ("Otros sin impuesto eléctrico", code.other_without_electricity_tax_eur),
        ),
    )
    return request, PrintedBill(lines=_printed(code), total=code.total_eur)


def _by_power(values: Mapping[str, Decimal]) -> dict[PowerPeriod, Decimal]:
    return {period: values[period.value] for period in PowerPeriod if period.value in values}


def _tariff(
    code: QrBill,
    yearly_prices: Mapping[PowerPeriod, Decimal],
    energy_prices: Mapping[Period, Decimal],
    rules: Rules,
) -> Tariff:
    """Return the PVPC if the code says so, or if its power price is the regulated one; else a fixed tariff."""
    if code.is_pvpc or _is_regulated(yearly_prices[PowerPeriod.P1], code.end, rules):
        return PvpcTariff(mean_prices=energy_prices)
    return FixedTariff(
        power_eur_per_kw_day={period: price / _DAYS for period, price in yearly_prices.items()},
        energy=energy_prices,
    )


def _is_regulated(p1_eur_per_kw_year: Decimal, day: date, rules: Rules) -> bool:
    try:
        return p1_eur_per_kw_year == pvpc_eur_per_kw_year(PowerPeriod.P1, day, rules=rules)
    except RuleNotLoaded:  # then no line can be checked either, and the check says so
        return False


def _taken_off(eur: Decimal | None) -> Decimal | None:
    """Return an amount the bill takes off, whatever sign the code gives it."""
    return None if eur is None else -abs(eur)


def _extras(*amounts: tuple[str, Decimal | None]) -> tuple[ExtraLine, ...]:
    return tuple(ExtraLine(label=label, eur=eur) for label, eur in amounts if eur)


def _printed(code: QrBill) -> dict[str, Decimal]:
    """Return the lines the code has amounts of; power and energy are after discounts there, so not beside one."""
    if code.discount_eur:
        return {}
    amounts = {
        "power": code.power_eur,
        "energy": code.energy_eur,
        "bono_financing": code.bono_social_financing_eur,
    }
    return {name: eur for name, eur in amounts.items() if eur is not None}
