"""One thing a home could do, made of each analysis: what it saves in a year, its facts and the next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly, AnomalyKind
from expert_bot.energy.analyses.contracted_power.power import PowerAdvice
from expert_bot.energy.analyses.contracted_power.power_report import power_report
from expert_bot.energy.analyses.marginal import Terms
from expert_bot.energy.analyses.sun.solar import SolarStudy
from expert_bot.energy.analyses.sun.solar_report import solar_report
from expert_bot.energy.analyses.tariffs.comparison import Comparison
from expert_bot.energy.analyses.use.base_load import BaseLoad
from expert_bot.energy.analyses.use.shift import ShiftPotential, shift_report
from expert_bot.energy.analyses.year import make_fact, text
from expert_bot.energy.bill.money import cents
from expert_bot.energy.bill.offers import PVPC_ID
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.schemas.fact import Fact

FRUGAL_BASE_KW: Final = Decimal("0.060")
"""Base load that a home with a modern fridge, a router and nothing left on can reach."""

EASY_SHARE: Final = Decimal("0.25")
"""Part of the base load above that which switches and timers alone take away; the rest needs new appliances."""

_MONTHS: Final = 12
_DAYS_A_YEAR: Final = Decimal(365)
_DAYS_OF_EXCESS: Final = 30
_HOURS_A_YEAR: Final = 8760
_RISES: Final = frozenset({AnomalyKind.BASE_UP, AnomalyKind.LEVEL_UP})
_FALLS: Final = frozenset({AnomalyKind.BASE_DOWN, AnomalyKind.LEVEL_DOWN})
_WEEK_HOURS: Final = {Period.P1: Decimal(40), Period.P2: Decimal(40), Period.P3: Decimal(88)}
"""Hours of a usual week in each period: 168 together."""


class Kind(StrEnum):
    """What is recommended."""

    TARIFF = "tariff"
    POWER = "power"
    SHIFT = "shift"
    BASE_LOAD = "base_load"
    SOLAR = "solar"
    ANOMALY = "anomaly"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationInputs:
    """What is known about a home; None where an analysis was not asked for or could not be done.

    `terms`: prices and taxes of its contract. `skipped`: why an analysis could not be done, by kind.
    """

    terms: Terms | None = None
    comparison: Comparison | None = None
    power: PowerAdvice | None = None
    shift: ShiftPotential | None = None
    base_load: BaseLoad | None = None
    solar: SolarStudy | None = None
    anomalies: Sequence[Anomaly] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One thing to do. `saving_eur_*`: per year, taxes in, 0 or more. `cost_eur_*`: once; None if it costs nothing.

    `is_counted`: whether its saving is in the total; if not, `overlaps_with` says what it overlaps with there.
    """

    kind: Kind
    saving_eur_low: Decimal
    saving_eur_high: Decimal
    next_step: str
    facts: tuple[Fact, ...]
    cost_eur_low: Decimal | None = None
    cost_eur_high: Decimal | None = None
    is_counted: bool = True
    overlaps_with: tuple[Kind, ...] = ()

    @property
    def middle_eur(self) -> Decimal:
        """The middle of the saving's range, which decides the rank."""
        return (self.saving_eur_low + self.saving_eur_high) / 2


def candidates(inputs: RecommendationInputs) -> Iterator[Recommendation]:
    """Yield what each analysis that was done recommends, however little it saves."""
    for found in (
        _tariff(inputs.comparison),
        _power(inputs.power),
        _shift(inputs.shift),
        _base_load(inputs.base_load, inputs.terms),
        _solar(inputs.solar),
        _anomaly(inputs.anomalies, inputs.terms),
    ):
        if found is not None:
            yield found


def _tariff(comparison: Comparison | None) -> Recommendation | None:
    """Return the cheapest offer if it is cheaper than the current tariff, scaled to twelve months."""
    if comparison is None or comparison.current is None:
        return None
    best = comparison.costs[0]
    if (
        best.saving_eur is None
        or best.saving_low_eur is None
        or best.saving_high_eur is None
        or best.saving_eur <= 0
    ):
        return None
    to_year = Decimal(_MONTHS) / comparison.months
    low = cents(max(best.saving_low_eur, Decimal(0)) * to_year)
    high = cents(best.saving_high_eur * to_year)
    source = f"comparison: full bills of {comparison.months} months, {comparison.first} to {comparison.until}"
    anyone = "a reference retailer" if best.offer.id == PVPC_ID else "its retailer"
    return Recommendation(
        kind=Kind.TARIFF,
        saving_eur_low=low,
        saving_eur_high=high,
        next_step=f"Ask {best.offer.retailer or anyone} for {best.offer.name}; check its conditions and its"
        " end date. Changing retailer is free, and the supply is not cut.",
        facts=(
            make_fact("tariff_best", best.offer.id, "word", source),
            make_fact("tariff_saving_low", low, "EUR/year", source),
            make_fact("tariff_saving_high", high, "EUR/year", source),
        ),
    )


def _power(advice: PowerAdvice | None) -> Recommendation | None:
    if advice is None or not advice.lowers:
        return None
    wanted = text(advice.advised_kw[PowerPeriod.P1])
    first = (
        "Get the monthly maxima from the distributor; if they agree, ask"
        if advice.peaks.is_estimate
        else "Ask"
    )
    return Recommendation(
        kind=Kind.POWER,
        saving_eur_low=advice.saving_eur_low,
        saving_eur_high=advice.saving_eur_high,
        cost_eur_low=advice.fee_eur_low,
        cost_eur_high=advice.fee_eur_high,
        next_step=f"{first} the retailer to lower P1 to {wanted} kW and to leave P2. Only one change in 12 months.",
        facts=power_report(advice).facts,
    )


def _shift(shift: ShiftPotential | None) -> Recommendation | None:
    if shift is None:
        return None
    return Recommendation(
        kind=Kind.SHIFT,
        saving_eur_low=shift.saving_eur_low,
        saving_eur_high=shift.saving_eur_high,
        next_step="Run the washing machine, the dishwasher and the water heater at night or at the weekend (P3).",
        facts=shift_report(shift).facts,
    )


def _base_load(base: BaseLoad | None, terms: Terms | None) -> Recommendation | None:
    """Return what the base load above a frugal one costs; a quarter of it goes without buying anything."""
    if base is None or terms is None or terms.energy is None:
        return None
    excess_kwh = max(base.base_kw - FRUGAL_BASE_KW, Decimal(0)) * _HOURS_A_YEAR
    price = _mean_price(terms.energy.eur_per_kwh)
    low, high = (
        cents(excess_kwh * EASY_SHARE * price * terms.taxes.low),
        cents(excess_kwh * price * terms.taxes.high),
    )
    source = f"kWh above {text(FRUGAL_BASE_KW)} kW x mean price x taxes; low: a quarter of it"
    return Recommendation(
        kind=Kind.BASE_LOAD,
        saving_eur_low=low,
        saving_eur_high=high,
        next_step="Find what runs all night: switch off what is on standby, and measure fridge and freezer.",
        facts=(
            make_fact(
                "base_load", base.base_kw, "kW", "5th to 10th percentile of the hours from 2:00 to 5:00"
            ),
            make_fact("base_load_saving_low", low, "EUR/year", source),
            make_fact("base_load_saving_high", high, "EUR/year", source),
        ),
    )


def _solar(study: SolarStudy | None) -> Recommendation | None:
    if study is None or study.best is None:
        return None
    best = study.best
    return Recommendation(
        kind=Kind.SOLAR,
        saving_eur_low=best.saving_eur_low,
        saving_eur_high=best.saving_eur_high,
        cost_eur_low=best.cost_eur_low,
        cost_eur_high=best.cost_eur_high,
        next_step=f"Get three offers for about {text(best.size_kwp)} kWp, and ask the town hall for its tax rebates.",
        facts=solar_report(study).facts,
    )


def _anomaly(anomalies: Sequence[Anomaly], terms: Terms | None) -> Recommendation | None:
    """Return the latest lasting change if it was a rise: what it costs in a year if nothing is done, 0 if it ends."""
    lasting = [each for each in anomalies if each.kind in _RISES | _FALLS]
    if not lasting or terms is None or terms.energy is None:
        return None
    last = max(lasting, key=lambda each: each.told_on)
    if last.kind in _FALLS:
        return None
    excess_kwh = last.excess_kwh or Decimal(0)
    per_year_kwh = excess_kwh * _DAYS_A_YEAR / _DAYS_OF_EXCESS
    high = cents(per_year_kwh * _mean_price(terms.energy.eur_per_kwh) * terms.taxes.high)
    source = f"lasting change since {last.first}, kWh of 30 days x 365 / 30 x mean price x taxes"
    return Recommendation(
        kind=Kind.ANOMALY,
        saving_eur_low=cents(Decimal(0)),
        saving_eur_high=high,
        next_step=f"Find out what has changed since {last.first}: {last.reason}",
        facts=(
            make_fact("anomaly_kind", last.kind.value, "word", source),
            make_fact("anomaly_since", last.first.isoformat(), "date", source),
            make_fact("anomaly_saving_high", high, "EUR/year", source),
        ),
    )


def _mean_price(eur_per_kwh: Mapping[Period, Decimal]) -> Decimal:
    """Return what a kWh drawn all week costs on average."""
    hours = sum(_WEEK_HOURS.values(), Decimal(0))
    return sum((eur_per_kwh[period] * weight for period, weight in _WEEK_HOURS.items()), Decimal(0)) / hours
