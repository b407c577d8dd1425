"""The energy term: what the consumed energy costs, and what the surplus takes off it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from expert_bot.energy.bill.contract import BilledConsumption, EnergyBlock, EnergyPrice, PvpcTariff
from expert_bot.energy.bill.money import cents, total
from expert_bot.energy.prices import energy_cost
from expert_bot.energy.readings import Period

_ROUNDED_TO_KWH: Final = Decimal(1)


def fixed_energy(price: EnergyPrice, energy_kwh: Mapping[Period, Decimal]) -> tuple[Decimal, ...]:
    """Return the printed lines in EUR: one, or one each of P1, P2, P3. Blocks are rounded one by one, then added.

    Raises ValueError if blocks do not add up to the energy, but for a kWh of rounding in each.
    """
    if isinstance(price, Decimal):
        return (cents(price * sum(energy_kwh.values(), Decimal(0))),)
    if isinstance(price, tuple):
        _check_blocks(price, sum(energy_kwh.values(), Decimal(0)))
        return (total(cents(block.energy_kwh * block.price_eur_per_kwh) for block in price),)
    return tuple(cents(price[period] * energy_kwh[period]) for period in Period)


def pvpc_energy(tariff: PvpcTariff, consumption: BilledConsumption) -> Decimal:
    """Return the energy term of the PVPC in EUR, one printed line: by the hour, or from mean prices.

    Raises ValueError if neither is there, if hourly prices lack a curve, or if an hour has no price.
    """
    if tariff.mean_prices is not None:
        means = tariff.mean_prices
        return cents(sum((means[each] * consumption.energy_kwh[each] for each in Period), Decimal(0)))
    if tariff.prices is None or consumption.curve is None:
        raise ValueError(
            "the PVPC needs mean prices, or hourly prices together with the hours of consumption"
        )
    cost = energy_cost(consumption.curve, tariff.prices)
    if cost.missing_hours:
        hours = cost.missing_hours + cost.priced_hours
        raise ValueError(
            f"{cost.missing_hours} of the {hours} hours have no PVPC price: load the prices of all days"
        )
    return cents(cost.eur)


def compensate_surplus(
    credit_eur: Decimal, energy_eur: Decimal, not_compensable_eur: Decimal = Decimal(0)
) -> tuple[Decimal, Decimal]:
    """Return what a credit for surplus takes off the bill and what is left over, EUR.

    At most the energy term of the period less its part that the contract does not compensate, never less than 0
    (RD 244/2019, art. 14).
    """
    compensated = min(credit_eur, max(energy_eur - not_compensable_eur, Decimal(0)))
    return compensated, credit_eur - compensated


def _check_blocks(blocks: tuple[EnergyBlock, ...], consumed_kwh: Decimal) -> None:
    billed_kwh = sum((block.energy_kwh for block in blocks), Decimal(0))
    if abs(billed_kwh - consumed_kwh) > _ROUNDED_TO_KWH * len(blocks):
        raise ValueError(
            f"the energy blocks add up to {billed_kwh:f} kWh, the consumption to {consumed_kwh:f} kWh"
        )
