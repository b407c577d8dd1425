"""Homes and terms for the tests of advice, short to write."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import numpy as np

from expert_bot.energy import rules
from expert_bot.energy.analyses.marginal import EnergyPrices, TaxFactors, Terms, terms_of
from expert_bot.energy.analyses.year import YearOfReadings, last_year
from expert_bot.energy.bill.contract import Contract, Tariff
from expert_bot.energy.calendar import TariffZone, madrid
from expert_bot.energy.curve import NANO, Curve, Floats, hour_number
from expert_bot.energy.readings import Period
from tests.unit.bill_world import by_period, by_power, pvpc

RULES = rules.load()
SETTLED = date(2026, 7, 1)
"""A day with 5.11269632 % of electricity tax and 21 % of VAT."""

UNSETTLED = date(2026, 11, 24)
"""A day on which the law leaves two readings."""

NO_TAXES = TaxFactors(low=Decimal(1), high=Decimal(1), source="no taxes")


def curve_of(energy_kwh: Floats, *, first: date = date(2023, 1, 1)) -> Curve:
    """Return a curve of consecutive hours from the first hour of a day of the peninsula on."""
    start = hour_number(datetime(first.year, first.month, first.day, tzinfo=madrid()))
    hours = np.arange(start, start + len(energy_kwh), dtype=np.int64)
    return Curve.of(
        hours,
        np.rint(energy_kwh * NANO).astype(np.int64),
        np.zeros(len(hours), dtype=np.bool_),
    )


def year_of(energy_kwh: Floats, *, first: date = date(2023, 1, 1)) -> YearOfReadings:
    """Return the last year of such a curve, however short."""
    return last_year(curve_of(energy_kwh, first=first), at_least_hours=1)


def steady_curve(kw: float = 0.3, *, days: int = 365) -> Curve:
    """Return a home that draws the same all the time."""
    return curve_of(np.full(days * 24, kw))


def terms(
    tariff: Tariff | None = None,
    *,
    power: tuple[str, str] = ("6.9", "6.9"),
    on: date = SETTLED,
    zone: TariffZone = TariffZone.PENINSULA,
) -> Terms:
    """Return the terms of a contract; the PVPC unless told otherwise."""
    contract = Contract(zone=zone, power_kw=by_power(*power), tariff=tariff or pvpc())
    return terms_of(contract, on=on, rules=RULES, curve=steady_curve(days=1))


def prices(p1: object, p2: object, p3: object) -> EnergyPrices:
    """Return fixed prices in EUR/kWh before taxes."""
    return EnergyPrices(eur_per_kwh=by_period(p1, p2, p3), source="a test")


def flat_price(eur_per_kwh: object) -> EnergyPrices:
    """Return one price for all hours."""
    return EnergyPrices(
        eur_per_kwh=dict.fromkeys(Period, Decimal(str(eur_per_kwh))),
        source="a test",
    )
