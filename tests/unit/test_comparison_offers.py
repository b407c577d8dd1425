"""Offers as JSON: good ones are read, each bad one is named with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expert_bot.energy.bill.fields import parse_json
from expert_bot.energy.bill.offers import MAX_OFFERS, parse_offers
from expert_bot.errors import UsageError

OFFER = {
    "id": "a",
    "name": "A",
    "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.02},
    "energy_eur_per_kwh": {"P1": 0.2, "P2": 0.15, "P3": 0.1},
}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        pytest.param("power_eur_per_kw_day.P2: is missing", {"power_eur_per_kw_day": {"P1": 1}}, id="power"),
        pytest.param("energy_eur_per_kwh: must be a number", {"energy_eur_per_kwh": "low"}, id="price"),
        pytest.param("blocks belong to a bill", {"energy_eur_per_kwh": [{"kwh": 1, "price": 1}]}, id="blocks"),
        pytest.param("the id pvpc means the regulated tariff", {"id": "pvpc"}, id="pvpc"),
        pytest.param("valid_from must be before", {"valid_from": "2026-01-01", "valid_until": "2026-01-01"}, id="dates"),
        pytest.param("is unknown; allowed: id, name, retailer", {"price": 1}, id="unknown member"),
        pytest.param("surplus_eur_per_kwh: Input should be greater", {"surplus_eur_per_kwh": -1}, id="surplus"),
        pytest.param("promotion.eur: Input should be greater", {"promotion": {"label": "x", "eur": -5}}, id="gift"),
    ],
)  # fmt: skip
def test_a_bad_offer_is_rejected_and_the_others_kept(expected: str, changes: dict[str, Any]) -> None:
    """Each bad offer is named with its reason; the good ones are compared."""
    document = {"offers": [{**OFFER, **changes}, {**OFFER, "id": "good"}, {**OFFER, "id": "good"}, 7]}
    parsed = parse_offers(parse_json(json.dumps(document).encode(), "offers"))
    assert [each.id for each in parsed.offers] == ["good"]
    assert [(0, changes.get("id", "a")), (2, "good"), (3, "")] == [
        (bad.index, bad.id) for bad in parsed.rejected
    ]
    assert expected in parsed.rejected[0].reason
    assert [bad.reason for bad in parsed.rejected[1:]] == ["the id good stands twice", "must be an object"]


@pytest.mark.parametrize("document", [None, {}, {"offers": 1}, "x", [{}] * (MAX_OFFERS + 1)], ids=range(5))
def test_offers_are_a_list(document: Any) -> None:  # JSON
    """Anything else, or too many, is refused."""
    with pytest.raises(UsageError, match="offers"):
        parse_offers(document)
