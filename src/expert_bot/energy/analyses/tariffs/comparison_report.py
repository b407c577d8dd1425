"""A comparison as JSON: what the command line prints and `analysis.completed` carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from expert_bot.energy.analyses.tariffs.comparison import Comparison, OfferCost, Unavailable
from expert_bot.energy.bill.offers import Offer, RejectedOffer
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact, FactPeriod

_ONE_DECIMAL: Final = Decimal("0.1")
_BILLS: Final = "full bill of each calendar month by the rules of its last day"


def comparison_report(comparison: Comparison, rejected: Sequence[RejectedOffer] = ()) -> Report:
    """Return the comparison with stable keys; `rejected`: offers that could not be read."""
    current = comparison.current
    result: dict[str, Json] = {
        "first": comparison.first.isoformat(),
        "until": comparison.until.isoformat(),
        "months": comparison.months,
        "kwh": {name: f"{energy_kwh:f}" for name, energy_kwh in comparison.energy_kwh.items()},
        "current": None if current is None else current.offer.id,
        "variation_pct": f"{_percent(comparison.variation):f}",
        "offers": [_cost(rank, cost) for rank, cost in enumerate(comparison.costs, start=1)],
        "promotions": [each for cost in comparison.costs for each in _promotion(cost)],
        "unavailable": [_unavailable(each) for each in comparison.unavailable],
        "rejected": [{"index": each.index, "id": each.id, "reason": each.reason} for each in rejected],
    }
    return Report(
        result=result, facts=tuple(_facts(comparison)), data_quality=comparison.quality.as_data_quality()
    )


def _offer(offer: Offer) -> dict[str, Json]:
    return {"id": offer.id, "name": offer.name, "retailer": offer.retailer}


def _cost(rank: int, cost: OfferCost) -> Json:
    return {
        "rank": rank,
        **_offer(cost.offer),
        "total_eur": _text(cost.total_eur),
        "readings": [
            {"condition": condition, "total_eur": f"{eur:f}"} for condition, eur in cost.readings.items()
        ],
        "saving_eur": _text(cost.saving_eur),
        "saving_low_eur": _text(cost.saving_low_eur),
        "saving_high_eur": _text(cost.saving_high_eur),
        "by_month": [
            {
                "month": str(month.month),
                "eur": _text(month.eur.get("")),
                "readings": [
                    {"condition": condition, "eur": f"{eur:f}"}
                    for condition, eur in month.eur.items()
                    if condition
                ],
            }
            for month in cost.months
        ],
    }


def _promotion(cost: OfferCost) -> Iterator[Json]:
    """Yield what the first year costs with a promotion, which the ranking leaves out."""
    promotion = cost.offer.promotion
    if promotion is not None:
        yield {
            "id": cost.offer.id,
            "label": promotion.label,
            "eur": f"{promotion.eur:f}",
            "total_with_promotion_eur": f"{cost.ranked_by_eur - promotion.eur:f}",
        }


def _unavailable(each: Unavailable) -> Json:
    return {**_offer(each.offer), "reason": each.reason}


def _facts(comparison: Comparison) -> Iterator[Fact]:
    period = FactPeriod(start=comparison.first.isoformat(), end=comparison.until.isoformat())

    def fact(name: str, value: str, unit: str, source: str) -> Fact:
        return Fact.model_validate(
            {"id": name, "value": value, "unit": unit, "source": source, "period": period}
        )

    for name, energy_kwh in comparison.energy_kwh.items():
        yield fact(f"consumption_{name.lower()}", f"{energy_kwh:f}", "kWh", "hourly curve")
    yield fact(
        "consumption_variation",
        f"{_percent(comparison.variation):f}",
        "%",
        "year to year, missing, estimated",
    )
    for rank, cost in enumerate(comparison.costs, start=1):
        source = f"{cost.offer.id}: {_BILLS}"
        if cost.total_eur is not None:
            yield fact(f"offer_{rank}_total", f"{cost.total_eur:f}", "EUR", source)
        for condition, eur in cost.readings.items():
            yield fact(f"offer_{rank}_total_{condition}", f"{eur:f}", "EUR", source)
        savings = {"": cost.saving_eur, "_low": cost.saving_low_eur, "_high": cost.saving_high_eur}
        for name, saving in savings.items():
            if saving is not None:
                yield fact(f"offer_{rank}_saving{name}", f"{saving:f}", "EUR", source)


def _percent(share: Decimal) -> Decimal:
    return (share * 100).quantize(_ONE_DECIMAL, ROUND_HALF_UP)


def _text(eur: Decimal | None) -> str | None:
    return None if eur is None else f"{eur:f}"
