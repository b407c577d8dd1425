"""What one kWh or one kW less saves: the prices of a contract before taxes, and what taxes make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.bill.contract import Contract, EnergyPrice, FixedTariff
from expert_bot.energy.bill.regulated import pvpc_eur_per_kw_year
from expert_bot.energy.bill.taxes import TaxRates, tax_rates
from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import NANO, PERIODS, Curve, Floats, Ints
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod, Rules
from expert_bot.errors import UsageError

_STEP: Final = Decimal("0.000001")
_DAYS: Final = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxFactors:
    """What an amount before taxes is multiplied by; `low` and `high` differ while the law leaves two readings.

    The floor of the electricity tax (1 EUR/MWh) is left out: it matters only while the tax is reduced to 0.5 %, and by
    less than that.
    """

    low: Decimal
    high: Decimal
    source: str

    @property
    def middle(self) -> Decimal:
        """The mean of both readings."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTerms:
    """What a kW of contracted power costs in a year of 365 days before taxes, by power period."""

    eur_per_kw_year: Mapping[PowerPeriod, Decimal]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnergyPrices:
    """Prices of the energy term before taxes, tolls inside.

    `eur_per_kwh` by period; where a contract follows the hours (PVPC), `hourly` for the hours it has.
    """

    eur_per_kwh: Mapping[Period, Decimal]
    source: str
    hourly: HourlyPrices | None = None

    def of_hours(self, curve: Curve) -> Ints:
        """Return the price of each hour in 1e-9 EUR/kWh; an hour without a price of its own has its period's."""
        by_period = np.array([int(self.eur_per_kwh[period] * NANO) for period in PERIODS], dtype=np.int64)
        prices: Ints = by_period[curve.periods]
        if self.hourly is not None and len(self.hourly.start_hours):
            known = self.hourly.start_hours
            places = np.minimum(np.searchsorted(known, curve.start_hours), len(known) - 1)
            prices = np.where(known[places] == curve.start_hours, self.hourly.price_neur[places], prices)
        return prices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """A contract as analyses use it. `energy` is None for a PVPC without prices.

    `taxes`: on power and energy, electricity tax and VAT (IGIC, IPSI); `other_taxes`: on fees, which bear the latter only.
    """

    power: PowerTerms
    energy: EnergyPrices | None
    taxes: TaxFactors
    other_taxes: TaxFactors

    def require_energy(self) -> EnergyPrices:
        """Return the energy prices. Raises UsageError if there are none."""
        if self.energy is None:
            raise UsageError(
                "no price of energy is known: give the tariff, or hourly prices that cover the readings"
            )
        return self.energy


def terms_of(
    contract: Contract,
    *,
    on: date,
    rules: Rules,
    curve: Curve,
    confirmed: Mapping[Month, bool] | None = None,
) -> Terms:
    """Return a contract's terms with the taxes of a day; hourly prices become means over the hours of `curve`.

    `confirmed`: as for a bill. Raises RuleNotLoaded for a day without an official value.
    """
    rates = tax_rates(contract, on, rules=rules, confirmed=confirmed)
    return Terms(
        power=_power_terms(contract, on, rules),
        energy=_energy_prices(contract, curve),
        taxes=_factors(on, rates, [_with_electricity_tax(each) for each in rates]),
        other_taxes=_factors(on, rates, [1 + each.other_percent / 100 for each in rates]),
    )


def means_of_hours(hourly: HourlyPrices, curve: Curve) -> EnergyPrices | None:
    """Return the mean price of each period, over the hours of a curve that have one; None where a period has none.

    Rounded to 1e-6 EUR/kWh. Raises ValueError for prices of a zone that has others.
    """
    hourly = hourly.on_clock_of(curve.zone)
    _, in_curve, in_prices = np.intersect1d(
        curve.start_hours, hourly.start_hours, assume_unique=True, return_indices=True
    )
    periods, prices = curve.periods[in_curve], hourly.price_neur[in_prices] / NANO
    by_period = {period: _mean(prices[periods == index]) for index, period in enumerate(PERIODS)}
    means = {period: mean for period, mean in by_period.items() if mean is not None}
    if len(means) < len(PERIODS):
        return None
    return EnergyPrices(
        eur_per_kwh=means,
        hourly=hourly,
        source=f"PVPC by the hour, {len(in_curve)} hours of the curve priced",
    )


def _mean(prices: Floats) -> Decimal | None:
    return Decimal(repr(float(prices.mean()))).quantize(_STEP, ROUND_HALF_UP) if len(prices) else None


def _with_electricity_tax(rates: TaxRates) -> Decimal:
    return (1 + rates.electricity_percent / 100) * (1 + rates.vat_percent / 100)


def _factors(on: date, rates: Iterable[TaxRates], factors: list[Decimal]) -> TaxFactors:
    norms = dict.fromkeys(norm for each in rates for norm in each.norms)
    return TaxFactors(low=min(factors), high=max(factors), source=f"taxes on {on}: {'; '.join(norms)}")


def _power_terms(contract: Contract, on: date, rules: Rules) -> PowerTerms:
    if isinstance(contract.tariff, FixedTariff):
        return PowerTerms(
            eur_per_kw_year={
                period: price * _DAYS for period, price in contract.tariff.power_eur_per_kw_day.items()
            },
            source="the contract's price per kW and day x 365",
        )
    norms = (rules.tolls_charges.on(on).norm, rules.pvpc_margin.on(on).norm)
    return PowerTerms(
        eur_per_kw_year={period: pvpc_eur_per_kw_year(period, on, rules=rules) for period in PowerPeriod},
        source="; ".join(norms),
    )


def _energy_prices(contract: Contract, curve: Curve) -> EnergyPrices | None:
    tariff = contract.tariff
    if isinstance(tariff, FixedTariff):
        return EnergyPrices(eur_per_kwh=_by_period(tariff.energy), source="the contract's price per kWh")
    if tariff.prices is not None:
        return means_of_hours(tariff.prices, curve)
    if tariff.mean_prices is not None:
        return EnergyPrices(eur_per_kwh=tariff.mean_prices, source="mean prices of the PVPC, as given")
    return None


def _by_period(price: EnergyPrice) -> Mapping[Period, Decimal]:
    """Return a fixed price by period; of blocks, which no longer have one, their mean."""
    if isinstance(price, Decimal):
        return dict.fromkeys(PERIODS, price)
    if isinstance(price, Mapping):
        return price
    energy_kwh = sum((block.energy_kwh for block in price), Decimal(0))
    cost_eur = sum((block.energy_kwh * block.price_eur_per_kwh for block in price), Decimal(0))
    mean = (cost_eur / energy_kwh).quantize(_STEP, ROUND_HALF_UP) if energy_kwh else Decimal(0)
    return dict.fromkeys(PERIODS, mean)
