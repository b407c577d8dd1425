"""From a checked input to a bill; the files it names are opened by whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from expert_bot.energy.bill.bill import Bill, compute_bill
from expert_bot.energy.bill.bill_input import (
    BillInput,
    ContractInput,
    Energy,
    EnergyPrices,
    FixedInput,
    PeriodInput,
    PerPowerPeriod,
    PowerPrices,
    PvpcInput,
)
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BillPeriod,
    BonoSocial,
    Contract,
    EnergyBlock,
    EnergyPrice,
    ExtraLine,
    FixedTariff,
    PvpcTariff,
    SurplusTerms,
    Tariff,
)
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod, Rules

OpenCurve = Callable[[str, TariffZone], Curve]
OpenPrices = Callable[[str, TariffZone], HourlyPrices]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRequest:
    """Everything `compute_bill` takes."""

    contract: Contract
    period: BillPeriod
    consumption: BilledConsumption
    meter_rental_days: int | None = None
    financing_eur_per_day: Decimal | None = None
    services: tuple[ExtraLine, ...] = ()

    def compute(self, *, rules: Rules, confirmed: Mapping[Month, bool] | None = None) -> Bill:
        """Return the bill. Raises as `compute_bill` does."""
        return compute_bill(
            self.contract,
            self.period,
            self.consumption,
            rules=rules,
            meter_rental_days=self.meter_rental_days,
            financing_eur_per_day=self.financing_eur_per_day,
            services=self.services,
            confirmed=confirmed,
        )


def bill_request(document: BillInput, *, open_curve: OpenCurve, open_prices: OpenPrices) -> BillRequest:
    """Build what a bill is computed from. Raises ValueError if the period cannot be, or the curve lacks its days."""
    period = _period(document.period)
    return BillRequest(
        contract=contract_of(document.contract, open_prices),
        period=period,
        consumption=_consumption(document, period, open_curve),
        meter_rental_days=document.meter_rental_days,
        financing_eur_per_day=document.financing_eur_per_day,
        services=tuple(ExtraLine(label=each.label, eur=each.eur) for each in document.services),
    )


def _consumption(document: BillInput, period: BillPeriod, open_curve: OpenCurve) -> BilledConsumption:
    consumption = document.consumption
    if consumption.kwh is not None:
        return BilledConsumption(
            energy_kwh=_by_period(consumption.kwh), surplus_kwh=consumption.surplus_kwh or Decimal(0)
        )
    return BilledConsumption.of_curve(
        open_curve(consumption.curve_file or "", document.contract.zone), period
    )


def _period(document: PeriodInput) -> BillPeriod:
    return BillPeriod(
        start=document.start,
        end=document.end,
        days=document.days or _inclusive_days(document.start, document.end),
        due=document.due,
        days_in_year=document.days_in_year,
    )


def _inclusive_days(start: date, end: date) -> int:
    return (end - start).days + 1


def contract_of(document: ContractInput, open_prices: OpenPrices) -> Contract:
    """Build a contract. Raises what `open_prices` raises."""
    bono, surplus = document.bono_social, document.surplus
    return Contract(
        zone=document.zone,
        power_kw=_by_power_period(document.power_kw),
        tariff=_tariff(document.tariff, document.zone, open_prices),
        discounts=tuple(ExtraLine(label=each.label, eur=each.eur) for each in document.discounts),
        bono_social=BonoSocial(category=bono.category, household=bono.household) if bono else None,
        surplus=SurplusTerms(
            eur_per_kwh=surplus.eur_per_kwh, tolls_are_compensable=surplus.tolls_are_compensable
        )
        if surplus
        else None,
        is_home=document.is_home,
    )


def _tariff(document: FixedInput | PvpcInput, zone: TariffZone, open_prices: OpenPrices) -> Tariff:
    if isinstance(document, FixedInput):
        return FixedTariff(
            power_eur_per_kw_day=_by_power_period(document.power_eur_per_kw_day),
            energy=energy_price(document),
        )
    if document.mean_prices is not None:
        return PvpcTariff(mean_prices=_by_period(document.mean_prices))
    return PvpcTariff(prices=open_prices(document.prices_file or "", zone))


def energy_price(document: FixedInput) -> EnergyPrice:
    """Return the energy price of a fixed tariff."""
    price = document.energy_eur_per_kwh
    if isinstance(price, Decimal):
        return price
    if isinstance(price, EnergyPrices):
        return _by_period(price)
    return tuple(EnergyBlock(energy_kwh=block.kwh, price_eur_per_kwh=block.price) for block in price)


def _by_period(document: Energy | EnergyPrices) -> dict[Period, Decimal]:
    return {Period.P1: document.p1, Period.P2: document.p2, Period.P3: document.p3}


def _by_power_period(document: PerPowerPeriod | PowerPrices) -> dict[PowerPeriod, Decimal]:
    return {PowerPeriod.P1: document.p1, PowerPeriod.P2: document.p2}
