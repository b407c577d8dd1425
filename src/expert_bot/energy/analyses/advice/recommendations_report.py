"""The common form of recommendations."""

from __future__ import annotations

from decimal import Decimal

from expert_bot.energy.analyses.advice.recommendation import Recommendation
from expert_bot.energy.analyses.advice.recommendations import Recommendations
from expert_bot.energy.analyses.year import make_fact, text
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import DataQuality, Fact

_TOTAL_SOURCE = "sum of the recommendations that do not overlap"


def recommendations_report(advice: Recommendations, *, quality: DataQuality | None = None) -> Report:
    """Return the common form.

    Keys: `recommendations` (each `rank`, `kind`, `saving_eur_per_year` and `cost_eur` (`low`, `high`; a cost may be null),
    `next_step`, `is_counted`, `overlaps_with`, `fact_ids`), `total_eur_per_year` (`low`, `high`; overlapping savings are
    not added up), `threshold_eur_per_year`, `skipped` (each `kind`, `reason`).
    """
    listed: list[Json] = [_item(rank, item) for rank, item in enumerate(advice.items, start=1)]
    skipped: list[Json] = [{"kind": kind, "reason": reason} for kind, reason in advice.skipped.items()]
    return Report(
        result={
            "recommendations": listed,
            "total_eur_per_year": {"low": text(advice.total_eur_low), "high": text(advice.total_eur_high)},
            "threshold_eur_per_year": text(advice.threshold_eur),
            "skipped": skipped,
        },
        facts=(*(fact for item in advice.items for fact in item.facts), *_total_facts(advice)),
        data_quality=quality,
    )


def _item(rank: int, item: Recommendation) -> Json:
    overlaps: list[Json] = [kind.value for kind in item.overlaps_with]
    fact_ids: list[Json] = [fact.id for fact in item.facts]
    return {
        "rank": rank,
        "kind": item.kind.value,
        "saving_eur_per_year": {"low": text(item.saving_eur_low), "high": text(item.saving_eur_high)},
        "cost_eur": _cost(item.cost_eur_low, item.cost_eur_high),
        "next_step": item.next_step,
        "is_counted": item.is_counted,
        "overlaps_with": overlaps,
        "fact_ids": fact_ids,
    }


def _cost(low: Decimal | None, high: Decimal | None) -> Json:
    return None if low is None or high is None else {"low": text(low), "high": text(high)}


def _total_facts(advice: Recommendations) -> tuple[Fact, ...]:
    return (
        make_fact("recommended_saving_low", advice.total_eur_low, "EUR/year", _TOTAL_SOURCE),
        make_fact("recommended_saving_high", advice.total_eur_high, "EUR/year", _TOTAL_SOURCE),
    )
