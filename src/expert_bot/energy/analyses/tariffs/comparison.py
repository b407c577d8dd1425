"""Tariff comparison: the user's own last 12 months through the full bill of each offer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.tariffs.comparison_months import (
    MonthBasis,
    MonthCost,
    Supply,
    fixed_month,
    month_bases,
    pvpc_month,
)
from expert_bot.energy.analyses.tariffs.comparison_window import compared_months, variation_of
from expert_bot.energy.bill.contract import FixedTariff, PvpcTariff
from expert_bot.energy.bill.money import cents, total
from expert_bot.energy.bill.offers import PVPC_ID, Offer
from expert_bot.energy.bill.taxes import MET, NOT_MET
from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices, energy_cost
from expert_bot.energy.quality import CurveQuality, quality_of
from expert_bot.energy.rules import Rules

PVPC_MAX_KW: Final = 10
"""Highest contracted power the PVPC is open to (RD 216/2014, art. 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCost:
    """What the compared months cost with an offer, EUR with taxes.

    `total_eur`: None while a conditional law is not settled; `readings` has the total under each outcome then.
    `saving_eur`: against the current tariff (positive: the offer is cheaper), None without one; `saving_low_eur` and
    `saving_high_eur` its range. `energy_taxed_eur`: the part that grows with consumption.
    """

    offer: Offer
    months: tuple[MonthCost, ...]
    total_eur: Decimal | None
    readings: Mapping[str, Decimal]
    energy_taxed_eur: Decimal
    saving_eur: Decimal | None = None
    saving_low_eur: Decimal | None = None
    saving_high_eur: Decimal | None = None

    @property
    def ranked_by_eur(self) -> Decimal:
        """The total; while a law is not settled, that of the law as it stands if the condition is not met."""
        return self.readings[NOT_MET] if self.total_eur is None else self.total_eur


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """An offer that is not ranked, and why."""

    offer: Offer
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Offers by cost, the cheapest first.

    `first`, `until` (exclusive): the compared days; `months`: full calendar months among them that have readings.
    `variation`: share by which consumption may differ, behind the ranges of the savings. `current`: the user's tariff,
    also among `costs` if it can be computed.
    """

    first: date
    until: date
    months: int
    costs: tuple[OfferCost, ...]
    unavailable: tuple[Unavailable, ...]
    current: OfferCost | None
    variation: Decimal
    quality: CurveQuality
    energy_kwh: Mapping[str, Decimal] = field(default_factory=dict)


def compare(
    curve: Curve,
    offers: Sequence[Offer],
    supply: Supply,
    *,
    rules: Rules,
    current_id: str | None = None,
    prices: HourlyPrices | None = None,
    first: date | None = None,
    until: date | None = None,
    contracted_on: date | None = None,
    confirmed: Mapping[Month, bool] | None = None,
) -> Comparison:
    """Compare offers, and the PVPC, on the full calendar months of a curve.

    The last 12 full months before the curve's last day unless `first` and `until` (exclusive) say which days; months of
    which only some days are inside are left out. Each month is taxed by the law of its last day. `contracted_on`: offers
    that cannot be contracted on this day are not ranked (the current one is). Raises ValueError if no month is full or
    `current_id` is none of the offers, RuleNotLoaded for months before or after the loaded rules.
    """
    if curve.zone is not supply.zone:
        raise ValueError(f"the hours are labelled for {curve.zone}, the supply is in {supply.zone}")
    offers = (*offers, _pvpc(prices, curve))
    if current_id is not None and current_id not in {offer.id for offer in offers}:
        known = ", ".join(offer.id for offer in offers)
        raise ValueError(f"the current tariff {current_id!r} is none of the offers: {known}")
    compared = compared_months(curve, first, until)
    bases = tuple(month_bases(compared, supply, rules=rules, confirmed=confirmed))
    costs: list[OfferCost] = []
    unavailable: list[Unavailable] = []
    for offer in offers:
        is_current = offer.id == current_id
        if contracted_on is not None and not is_current and not offer.is_valid_on(contracted_on):
            unavailable.append(Unavailable(offer=offer, reason=f"cannot be contracted on {contracted_on}"))
            continue
        try:
            costs.append(_cost(offer, bases, supply, rules, confirmed))
        except ValueError as error:
            unavailable.append(Unavailable(offer=offer, reason=str(error)))
    quality = quality_of(compared, bases[0].month.first_day, bases[-1].month.end)
    variation = variation_of(curve, compared, quality)
    current = next((cost for cost in costs if cost.offer.id == current_id), None)
    ranked = sorted(costs, key=lambda cost: (cost.ranked_by_eur, cost.offer.id))
    with_savings = tuple(_with_saving(cost, current, variation) for cost in ranked)
    return Comparison(
        first=bases[0].month.first_day,
        until=bases[-1].month.end,
        months=len(bases),
        costs=with_savings,
        unavailable=tuple(unavailable),
        current=current,
        variation=variation,
        quality=quality,
        energy_kwh={period.value: kwh for period, kwh in compared.kwh_by_period().items()},
    )


def _pvpc(prices: HourlyPrices | None, curve: Curve) -> Offer:
    placed = prices.on_clock_of(curve.zone) if prices is not None else None
    return Offer(id=PVPC_ID, name="PVPC", retailer="", tariff=PvpcTariff(prices=placed))


def _cost(
    offer: Offer,
    bases: tuple[MonthBasis, ...],
    supply: Supply,
    rules: Rules,
    confirmed: Mapping[Month, bool] | None,
) -> OfferCost:
    tariff = offer.tariff
    if isinstance(tariff, FixedTariff):
        months = tuple(fixed_month(basis, offer, tariff, rules) for basis in bases)
    else:
        months = _pvpc_months(offer, tariff, bases, supply, rules, confirmed)
    readings = _readings(months)
    return OfferCost(
        offer=offer,
        months=months,
        total_eur=readings.get(""),
        readings={} if "" in readings else readings,
        energy_taxed_eur=sum((month.energy_taxed for month in months), Decimal(0)),
    )


def _pvpc_months(
    offer: Offer,
    tariff: PvpcTariff,
    bases: tuple[MonthBasis, ...],
    supply: Supply,
    rules: Rules,
    confirmed: Mapping[Month, bool] | None,
) -> tuple[MonthCost, ...]:
    """Bill months by the hour. Raises ValueError if the PVPC is not open to the supply, or an hour has no price."""
    if max(supply.power_kw.values()) > PVPC_MAX_KW:
        raise ValueError(f"the PVPC is open up to {PVPC_MAX_KW} kW of contracted power")
    if tariff.prices is None:
        raise ValueError("no hourly prices of the PVPC were given")
    try:
        return tuple(pvpc_month(basis, offer, supply, rules=rules, confirmed=confirmed) for basis in bases)
    except ValueError as error:
        lacking = ", ".join(_hours_without_price(bases, tariff.prices))
        raise ValueError(f"hours without a PVPC price in {lacking}") from error


def _hours_without_price(bases: Iterable[MonthBasis], prices: HourlyPrices) -> Iterator[str]:
    for basis in bases:
        missing = energy_cost(basis.hours, prices).missing_hours
        if missing:
            yield f"{basis.month} ({missing} h)"


def _readings(months: tuple[MonthCost, ...]) -> dict[str, Decimal]:
    """Add months up: once if all are settled (key: empty), else once for each outcome of the conditional laws."""
    if all("" in month.eur for month in months):
        return {"": total(month.eur[""] for month in months)}
    return {outcome: total(_under(outcome, month.eur) for month in months) for outcome in (MET, NOT_MET)}


def _under(outcome: str, eur: Mapping[str, Decimal]) -> Decimal:
    """Return a month's amount under an outcome; a month that is settled, or confirmed, has only one."""
    return eur[outcome] if len(eur) > 1 else next(iter(eur.values()))


def _with_saving(cost: OfferCost, current: OfferCost | None, variation: Decimal) -> OfferCost:
    if current is None:
        return cost
    saving = current.ranked_by_eur - cost.ranked_by_eur
    spread = abs(current.energy_taxed_eur - cost.energy_taxed_eur) * variation
    return OfferCost(
        offer=cost.offer,
        months=cost.months,
        total_eur=cost.total_eur,
        readings=cost.readings,
        energy_taxed_eur=cost.energy_taxed_eur,
        saving_eur=saving,
        saving_low_eur=cents(saving - spread),
        saving_high_eur=cents(saving + spread),
    )
