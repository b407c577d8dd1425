"""What panels on a home's roof would save: its own hours against the sun's, size by size.

Spain settles surplus by the hour (RD 244/2019): what is made and used within the same hour is saved at the hour's price,
the rest is credited at the surplus price, and a month's credit never exceeds that month's energy term.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.marginal import EnergyPrices, TaxFactors
from expert_bot.energy.analyses.sun.solar_costs import Costs, load_costs
from expert_bot.energy.analyses.sun.solar_yield import Roof, hourly_yield, load_yields
from expert_bot.energy.analyses.year import YearOfReadings
from expert_bot.energy.bill.money import cents
from expert_bot.energy.curve import NANO, Ints
from expert_bot.errors import UsageError

AT_LEAST_HOURS: Final = 7884
"""90 % of a year: a roof's winter cannot be guessed from its summer."""

DEFAULT_SIZES_KWP: Final = tuple(Decimal(half) / 2 for half in range(2, 21))
"""1.0 to 10.0 kWp: what fits on a home's roof, two panels a step."""

LARGEST_KWP: Final = 100
_WH_OF_A_KWH: Final = 1000
_NANO_OF_A_WH: Final = 1_000_000
_KWH: Final = Decimal(1)
_YEARS: Final = Decimal("0.1")
_WH_NEUR: Final = Decimal(NANO * _WH_OF_A_KWH)
"""Wh x 1e-9 EUR/kWh in one EUR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """A year of one size before taxes, scaled to 8,760 hours.

    `production_kwh` = `self_used_kwh` + `surplus_kwh`. `saved_eur`: energy not bought. `credit_eur`: paid for surplus,
    after the monthly cap, which took `capped_eur` away.
    """

    production_kwh: Decimal
    self_used_kwh: Decimal
    surplus_kwh: Decimal
    saved_eur: Decimal
    credit_eur: Decimal
    capped_eur: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarSize:
    """One size: its flows in a usual year, its saving per year with taxes, its cost and the years to pay it back.

    The saving's range holds the uncertainty of the yield and both readings of the taxes. A payback is None where
    nothing is saved.
    """

    size_kwp: Decimal
    flows: Flows
    saving_eur_low: Decimal
    saving_eur: Decimal
    saving_eur_high: Decimal
    cost_eur_low: Decimal
    cost_eur_high: Decimal
    payback_years_low: Decimal | None
    payback_years_high: Decimal | None

    @property
    def self_use_pct(self) -> Decimal:
        """Share of the production used at once, %."""
        made = self.flows.production_kwh
        return (100 * self.flows.self_used_kwh / made).quantize(_YEARS) if made else Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarStudy:
    """All sizes tried, smallest first, and the best: most saved over the horizon less its mean cost; None if none pays."""

    year: YearOfReadings
    roof: Roof
    surplus_eur_per_kwh: Decimal
    sizes: tuple[SolarSize, ...]
    best: SolarSize | None
    prices_source: str
    taxes_source: str


def study_solar(
    year: YearOfReadings,
    roof: Roof,
    *,
    prices: EnergyPrices,
    taxes: TaxFactors,
    surplus_eur_per_kwh: Decimal,
    sizes_kwp: Sequence[Decimal] = DEFAULT_SIZES_KWP,
) -> SolarStudy:
    """Return what each size would save.

    Raises UsageError for a home that has panels already, ValueError for sizes or prices that cannot be.
    """
    if not sizes_kwp or not all(0 < size <= LARGEST_KWP for size in sizes_kwp):
        raise ValueError(f"sizes_kwp must be above 0 and at most {LARGEST_KWP}")
    if surplus_eur_per_kwh < 0:
        raise ValueError(f"surplus_eur_per_kwh must be 0 or more, not {surplus_eur_per_kwh}")
    if year.curve.surplus_kwh() > 0:
        raise UsageError(
            "this home feeds energy into the grid already: its curve shows what is left, not its use"
        )
    table, costs = load_yields(), load_costs()
    factors = (1 - table.uncertainty, Decimal(1), 1 + table.uncertainty)
    panels = sorted(set(sizes_kwp))
    flows = simulate_flows(
        year,
        roof,
        prices=prices,
        surplus_eur_per_kwh=surplus_eur_per_kwh,
        sizes_kwp=[size * factor for size in panels for factor in factors],
    )
    sizes = tuple(
        _size_up(size, flows[3 * index : 3 * index + 3], taxes, costs) for index, size in enumerate(panels)
    )
    return SolarStudy(
        year=year,
        roof=roof,
        surplus_eur_per_kwh=surplus_eur_per_kwh,
        sizes=sizes,
        best=_best(sizes, costs),
        prices_source=prices.source,
        taxes_source=taxes.source,
    )


def simulate_flows(
    year: YearOfReadings,
    roof: Roof,
    *,
    prices: EnergyPrices,
    surplus_eur_per_kwh: Decimal,
    sizes_kwp: Sequence[Decimal],
) -> tuple[Flows, ...]:
    """Return the flows of each size, in the order given, in whole Wh of each hour and exact EUR."""
    curve = year.curve
    used_wh = (curve.energy_nkwh + _NANO_OF_A_WH // 2) // _NANO_OF_A_WH
    price_neur = prices.of_hours(curve)
    yield_wh = hourly_yield(roof, curve.start_hours) * _WH_OF_A_KWH
    starts = _month_starts(curve.local_days)
    daylight = np.union1d(np.flatnonzero(yield_wh > 0), starts)  # no month may be missing in it
    bought_neur = np.add.reduceat(used_wh * price_neur, starts)
    light_used, light_price, light_yield = used_wh[daylight], price_neur[daylight], yield_wh[daylight]
    months = _month_starts(curve.local_days[daylight])
    credit_neur = int(surplus_eur_per_kwh * NANO)
    flows = []
    for size in sizes_kwp:
        made = np.rint(light_yield * float(size)).astype(np.int64)
        used = np.minimum(made, light_used)
        saved = np.add.reduceat(used * light_price, months)
        surplus = np.add.reduceat(made - used, months)
        worth = surplus * credit_neur
        credit = cap_credit(worth, bought_neur - saved)
        flows.append(
            _flows(
                year.to_year,
                made_wh=int(made.sum()),
                used_wh=int(used.sum()),
                saved=int(saved.sum()),
                credit=int(credit.sum()),
                worth=int(worth.sum()),
            )
        )
    return tuple(flows)


def cap_credit(worth: Ints, energy_term: Ints) -> Ints:
    """Return what is paid for a month's surplus: at most that month's energy term (RD 244/2019, art. 14)."""
    return np.minimum(worth, np.maximum(energy_term, 0))


def _flows(to_year: Decimal, *, made_wh: int, used_wh: int, saved: int, credit: int, worth: int) -> Flows:
    def energy(amount_wh: int) -> Decimal:
        return (to_year * amount_wh / _WH_OF_A_KWH).quantize(_KWH, ROUND_HALF_UP)

    def money(amount: int) -> Decimal:
        return to_year * amount / _WH_NEUR

    production, self_used = energy(made_wh), energy(used_wh)
    return Flows(
        production_kwh=production,
        self_used_kwh=self_used,
        surplus_kwh=production - self_used,
        saved_eur=cents(money(saved)),
        credit_eur=cents(money(credit)),
        capped_eur=cents(money(worth - credit)),
    )


def _size_up(size_kwp: Decimal, flows: Sequence[Flows], taxes: TaxFactors, costs: Costs) -> SolarSize:
    gains = [each.saved_eur + each.credit_eur for each in flows]
    low, middle, high = (
        cents(min(gains) * taxes.low),
        cents(gains[1] * taxes.middle),
        cents(max(gains) * taxes.high),
    )
    cost_low, cost_high = costs.of(size_kwp)
    return SolarSize(
        size_kwp=size_kwp,
        flows=flows[1],
        saving_eur_low=low,
        saving_eur=middle,
        saving_eur_high=high,
        cost_eur_low=cents(cost_low),
        cost_eur_high=cents(cost_high),
        payback_years_low=_payback(cost_low, high),
        payback_years_high=_payback(cost_high, low),
    )


def _payback(cost_eur: Decimal, saving_eur: Decimal) -> Decimal | None:
    return (cost_eur / saving_eur).quantize(_YEARS, ROUND_HALF_UP) if saving_eur > 0 else None


def _best(sizes: Iterable[SolarSize], costs: Costs) -> SolarSize | None:
    def gain(size: SolarSize) -> Decimal:
        return size.saving_eur * costs.horizon_years - (size.cost_eur_low + size.cost_eur_high) / 2

    best = max(sizes, key=gain)
    return best if gain(best) > 0 else None


def _month_starts(local_days: Ints) -> Ints:
    """Return the positions at which a calendar month of days (since 1970-01-01) begins."""
    months = local_days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return np.flatnonzero(np.diff(months, prepend=months[0] - 1))
