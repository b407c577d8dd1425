"""What a home could do about its bill, by what it saves in a year: each with its facts, its range and the next step.

Savings that draw on the same kWh are not added: the total goes down the list and leaves out whatever overlaps with
something already counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.advice.recommendation import (
    Kind,
    Recommendation,
    RecommendationInputs,
    candidates,
)
from expert_bot.energy.bill.money import cents

THRESHOLD_EUR: Final = Decimal(12)
"""Least saving per year, in the middle of its range, that is worth anyone's time: one euro a month."""

_OVERLAPS: Final = frozenset(
    frozenset(pair)
    for pair in (
        (Kind.TARIFF, Kind.SHIFT),
        (Kind.TARIFF, Kind.SOLAR),
        (Kind.TARIFF, Kind.POWER),
        (Kind.TARIFF, Kind.BASE_LOAD),
        (Kind.TARIFF, Kind.ANOMALY),
        (Kind.SHIFT, Kind.ANOMALY),
        (Kind.SOLAR, Kind.ANOMALY),
        (Kind.SHIFT, Kind.SOLAR),
        (Kind.BASE_LOAD, Kind.SOLAR),
        (Kind.BASE_LOAD, Kind.ANOMALY),
    )
)
"""Pairs that save on the same energy: another price changes what everything else is worth, the sun covers part of
what would be shifted or switched off, a risen base load is part of the base load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """The most saving first; `total_eur_*`: of those that do not overlap. `skipped`: what could not be looked at, and why."""

    items: tuple[Recommendation, ...]
    total_eur_low: Decimal
    total_eur_high: Decimal
    threshold_eur: Decimal
    skipped: Mapping[str, str]


def recommend(inputs: RecommendationInputs, *, threshold_eur: Decimal = THRESHOLD_EUR) -> Recommendations:
    """Return what is worth doing, ranked by the middle of its saving; nothing below the threshold."""
    worth = [each for each in candidates(inputs) if each.middle_eur >= threshold_eur]
    ranked = sorted(worth, key=lambda each: (-each.middle_eur, each.kind))
    items = tuple(_without_overlaps(ranked))
    counted = [each for each in items if each.is_counted]
    return Recommendations(
        items=items,
        total_eur_low=sum((each.saving_eur_low for each in counted), cents(Decimal(0))),
        total_eur_high=sum((each.saving_eur_high for each in counted), cents(Decimal(0))),
        threshold_eur=threshold_eur,
        skipped=dict(inputs.skipped),
    )


def overlap(one: Kind, other: Kind) -> bool:
    """Tell whether two savings draw on the same energy."""
    return frozenset((one, other)) in _OVERLAPS


def _without_overlaps(ranked: Sequence[Recommendation]) -> Iterator[Recommendation]:
    counted: list[Kind] = []
    for each in ranked:
        same = tuple(kind for kind in counted if overlap(kind, each.kind))
        if not same:
            counted.append(each.kind)
        yield replace(each, is_counted=not same, overlaps_with=same)
