"""Everything that recommendations rest on, computed for one home; what cannot be done says why and harms nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from expert_bot.energy.analyses.advice.recommendation import Kind, RecommendationInputs
from expert_bot.energy.analyses.anomaly_detection.anomalies import find_anomalies
from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly
from expert_bot.energy.analyses.contracted_power.power import PowerAdvice, advise_power
from expert_bot.energy.analyses.contracted_power.power_peaks import find_peaks
from expert_bot.energy.analyses.marginal import Terms, terms_of
from expert_bot.energy.analyses.sun import solar
from expert_bot.energy.analyses.sun.solar import SolarStudy, study_solar
from expert_bot.energy.analyses.sun.solar_yield import Roof
from expert_bot.energy.analyses.tariffs.comparison import Comparison, compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply
from expert_bot.energy.analyses.use import shift
from expert_bot.energy.analyses.use.base_load import BaseLoad, base_load
from expert_bot.energy.analyses.use.shift import ShiftPotential, find_shift_potential
from expert_bot.energy.analyses.year import last_year
from expert_bot.energy.bill.contract import Contract, FixedTariff
from expert_bot.energy.bill.offers import PVPC_ID, Offer
from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import Maximum
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.rules import RuleNotLoaded, Rules
from expert_bot.errors import UsageError

Result = TypeVar("Result")
CURRENT_ID: Final = "current_contract"
"""The id of the home's own tariff among the offers it is compared with."""

DEFAULT_SURPLUS_EUR_PER_KWH: Final = Decimal("0.06")
"""What retailers paid homes for surplus in 2025 and 2026, about; assumed where the contract does not say."""

_RECENT: Final = timedelta(days=60)
_BEFORE: Final = timedelta(days=120)
"""Alerts of the last two months, judged by the four months before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home as it is known. `on`: the day whose rules hold. `prices`: of the PVPC by the hour, to compare it with.

    `roof` None: nothing is said about panels. `confirmed`: as for a bill.
    """

    curve: Curve
    contract: Contract
    on: date
    maxima: Sequence[Maximum] = ()
    offers: Sequence[Offer] = ()
    prices: HourlyPrices | None = None
    roof: Roof | None = None
    surplus_eur_per_kwh: Decimal = DEFAULT_SURPLUS_EUR_PER_KWH
    confirmed: Mapping[Month, bool] | None = None


def study_home(home: Home, *, rules: Rules) -> RecommendationInputs:
    """Return all analyses of a home that its data allow.

    Raises UsageError for a curve without readings, RuleNotLoaded if the rules do not hold on its day.
    """
    terms = terms_of(home.contract, on=home.on, rules=rules, curve=home.curve, confirmed=home.confirmed)
    skipped: dict[str, str] = {}

    def attempt(kind: Kind, study: Callable[[], Result]) -> Result | None:
        try:
            return study()
        except (UsageError, ValueError, RuleNotLoaded) as error:
            skipped[kind.value] = str(error)
            return None

    base = attempt(Kind.BASE_LOAD, lambda: base_load(home.curve))
    return RecommendationInputs(
        terms=terms,
        comparison=attempt(Kind.TARIFF, lambda: compare_tariffs(home, rules)),
        power=attempt(Kind.POWER, lambda: study_power(home, terms, rules)),
        shift=attempt(Kind.SHIFT, lambda: study_shift(home, terms, base)),
        base_load=base,
        solar=attempt(Kind.SOLAR, lambda: study_roof(home, terms)),
        anomalies=attempt(Kind.ANOMALY, lambda: _recent_anomalies(home)) or (),
        skipped=skipped,
    )


def with_current_offer(home: Home, offer_id: str) -> Home:
    """Return the home with one of its offers as its contract's tariff. Raises UsageError for an unknown id."""
    found = [offer for offer in home.offers if offer.id == offer_id]
    if not found:
        known = ", ".join(offer.id for offer in home.offers)
        raise UsageError(
            f"the current tariff {offer_id[:40]!r} is none of the offers: {known or 'there are none'}"
        )
    return replace(
        home,
        contract=replace(home.contract, tariff=found[0].tariff, surplus=found[0].surplus),
        offers=tuple(offer for offer in home.offers if offer.id != offer_id),
    )


def compare_tariffs(home: Home, rules: Rules) -> Comparison:
    """Compare the home's own tariff with the offers and the PVPC. Raises UsageError if there is nothing to compare."""
    tariff = home.contract.tariff
    is_fixed = isinstance(tariff, FixedTariff)
    prices = home.prices if isinstance(tariff, FixedTariff) else tariff.prices or home.prices
    if not home.offers and (prices is None or not is_fixed):
        raise UsageError("there are no offers to compare with")
    if not is_fixed and prices is None:
        raise UsageError("the PVPC cannot be compared without its hourly prices")
    own = (
        (Offer(id=CURRENT_ID, name="the current tariff", tariff=tariff, surplus=home.contract.surplus),)
        if is_fixed
        else ()
    )
    contract = home.contract
    comparison = compare(
        home.curve,
        (*own, *home.offers),
        Supply(
            zone=contract.zone,
            power_kw=contract.power_kw,
            bono_social=contract.bono_social,
            is_home=contract.is_home,
        ),
        rules=rules,
        current_id=CURRENT_ID if is_fixed else PVPC_ID,
        prices=prices,
        contracted_on=home.on,
        confirmed=home.confirmed,
    )
    if comparison.current is None or len(comparison.costs) < 2:  # noqa: PLR2004 # the current tariff and another
        reasons = "; ".join(f"{each.offer.id}: {each.reason}" for each in comparison.unavailable)
        raise UsageError(f"there are no two tariffs to compare: {reasons}")
    return comparison


def study_power(home: Home, terms: Terms, rules: Rules) -> PowerAdvice:
    """Advise on the contracted power, from the maximeter if there is one. Raises UsageError."""
    return advise_power(
        find_peaks(home.maxima, home.curve),
        contracted_kw=home.contract.power_kw,
        terms=terms.power,
        taxes=terms.taxes,
        fee_taxes=terms.other_taxes,
        fees=rules.power_change_fees.on(home.on),
    )


def study_shift(home: Home, terms: Terms, base: BaseLoad | None) -> ShiftPotential:
    """Return what shifting would save. Raises UsageError without a base load, a price or four weeks of readings."""
    if base is None:
        raise UsageError("the base load is not known: there are too few nights with readings")
    return find_shift_potential(
        last_year(home.curve, at_least_hours=shift.AT_LEAST_HOURS),
        base_load_kw=base.base_kw,
        prices=terms.require_energy(),
        taxes=terms.taxes,
    )


def study_roof(home: Home, terms: Terms) -> SolarStudy:
    """Return what panels would save. Raises UsageError without a roof, a price or a year of readings."""
    if home.roof is None:
        raise UsageError("the province of the roof is not known")
    return study_solar(
        last_year(home.curve, at_least_hours=solar.AT_LEAST_HOURS),
        home.roof,
        prices=terms.require_energy(),
        taxes=terms.taxes,
        surplus_eur_per_kwh=home.surplus_eur_per_kwh,
    )


def _recent_anomalies(home: Home) -> Sequence[Anomaly]:
    last = home.curve.last_day
    if last is None:
        raise UsageError("there are no readings")
    return find_anomalies(home.curve.between(last - _RECENT - _BEFORE), first=last - _RECENT).alerts
