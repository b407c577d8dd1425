"""What moving use from the dearest to the cheapest hours would save."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.marginal import EnergyPrices, TaxFactors
from expert_bot.energy.analyses.year import YearOfReadings, text
from expert_bot.energy.bill.money import cents
from expert_bot.energy.curve import PERIODS, kwh, nano
from expert_bot.energy.readings import Period
from expert_bot.energy.report import Report
from expert_bot.schemas.fact import Fact

AT_LEAST_HOURS: Final = 28 * 24
"""Four weeks: fewer do not show a household's habits."""

FLEXIBLE_LOW: Final = Decimal("0.10")
FLEXIBLE_HIGH: Final = Decimal("0.30")
"""Share of the P1 energy above base load that can wait. Laundry, dryer and dishwasher are 12 % of a Spanish home's
electricity and electric hot water 7 % (IDAE, SPAHOUSEC); base load is about a third of it, so they are 17 % to 28 % of
the rest. Low: some of the machine runs; high: all of them, and a water heater with a timer."""

_SOURCE: Final = "shift: P1 kWh above base load x flexible share x (P1 - P3), taxes in"
_WH: Final = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftPotential:
    """Per year of 8,760 hours: P1 energy above base load, the part of it that can move, and what that saves, taxes in.

    `gap_eur_per_kwh`: P1 price less P3 price before taxes; nothing is saved where it is not positive.
    """

    year: YearOfReadings
    base_load_kw: Decimal
    above_base_kwh: Decimal
    movable_kwh_low: Decimal
    movable_kwh_high: Decimal
    gap_eur_per_kwh: Decimal
    saving_eur_low: Decimal
    saving_eur_high: Decimal
    prices_source: str
    taxes_source: str


def find_shift_potential(
    year: YearOfReadings, *, base_load_kw: Decimal, prices: EnergyPrices, taxes: TaxFactors
) -> ShiftPotential:
    """Return what moving P1 use to P3 would save. Raises ValueError for a negative base load."""
    if base_load_kw < 0:
        raise ValueError(f"base_load_kw must be 0 or more, not {base_load_kw}")
    curve = year.curve
    in_p1 = curve.energy_nkwh[curve.periods == PERIODS.index(Period.P1)]
    above = np.maximum(in_p1 - nano(base_load_kw.quantize(Decimal(1).scaleb(-9))), 0)
    above_base = kwh(int(above.sum())) * year.to_year
    gap = max(prices.eur_per_kwh[Period.P1] - prices.eur_per_kwh[Period.P3], Decimal(0))
    low, high = above_base * FLEXIBLE_LOW, above_base * FLEXIBLE_HIGH
    return ShiftPotential(
        year=year,
        base_load_kw=base_load_kw,
        above_base_kwh=_watt_hours(above_base),
        movable_kwh_low=_watt_hours(low),
        movable_kwh_high=_watt_hours(high),
        gap_eur_per_kwh=gap,
        saving_eur_low=cents(low * gap * taxes.low),
        saving_eur_high=cents(high * gap * taxes.high),
        prices_source=prices.source,
        taxes_source=taxes.source,
    )


def shift_report(shift: ShiftPotential) -> Report:
    """Return the common form.

    Keys: `base_load_kw`, `above_base_kwh_per_year`, `gap_eur_per_kwh`, and from `low` to `high` `flexible_share`,
    `movable_kwh_per_year`, `saving_eur_per_year`.
    """
    return Report(
        result={
            "base_load_kw": text(shift.base_load_kw),
            "above_base_kwh_per_year": text(shift.above_base_kwh),
            "flexible_share": {"low": text(FLEXIBLE_LOW), "high": text(FLEXIBLE_HIGH)},
            "movable_kwh_per_year": {
                "low": text(shift.movable_kwh_low),
                "high": text(shift.movable_kwh_high),
            },
            "gap_eur_per_kwh": text(shift.gap_eur_per_kwh),
            "saving_eur_per_year": {"low": text(shift.saving_eur_low), "high": text(shift.saving_eur_high)},
        },
        facts=_facts(shift),
        data_quality=shift.year.quality,
    )


def _facts(shift: ShiftPotential) -> tuple[Fact, ...]:
    fact = shift.year.fact
    saving = f"{_SOURCE}; {shift.taxes_source}"
    return (
        fact("shift_p1_above_base", shift.above_base_kwh, "kWh/year", "sum of P1 hours above base load"),
        fact("shift_movable_low", shift.movable_kwh_low, "kWh/year", _SOURCE),
        fact("shift_movable_high", shift.movable_kwh_high, "kWh/year", _SOURCE),
        fact("shift_price_gap", shift.gap_eur_per_kwh, "EUR/kWh", shift.prices_source),
        fact("shift_saving_low", shift.saving_eur_low, "EUR/year", saving),
        fact("shift_saving_high", shift.saving_eur_high, "EUR/year", saving),
    )


def _watt_hours(energy_kwh: Decimal) -> Decimal:
    return energy_kwh.quantize(_WH, ROUND_HALF_UP)
