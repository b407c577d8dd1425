"""What panels on a home's roof cost, from the table that comes with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What panels cost, installed, taxes in: a fixed part and a part per kWp, each from low to high, EUR."""

    fixed_low: Decimal
    fixed_high: Decimal
    per_kwp_low: Decimal
    per_kwp_high: Decimal
    horizon_years: Decimal
    source: str
    confidence: str

    def of(self, size_kwp: Decimal) -> tuple[Decimal, Decimal]:
        """Return the low and the high cost of a size, EUR."""
        return self.fixed_low + self.per_kwp_low * size_kwp, self.fixed_high + self.per_kwp_high * size_kwp


@cache
def load_costs() -> Costs:
    """Return the costs that come with the package."""
    text = resources.files("expert_bot.energy.analyses.sun").joinpath("solar_costs.json").read_text("utf-8")
    content = json.loads(text)
    return Costs(
        fixed_low=Decimal(content["fixed_eur"]["low"]),
        fixed_high=Decimal(content["fixed_eur"]["high"]),
        per_kwp_low=Decimal(content["per_kwp_eur"]["low"]),
        per_kwp_high=Decimal(content["per_kwp_eur"]["high"]),
        horizon_years=Decimal(content["horizon_years"]),
        source=content["source"],
        confidence=content["confidence"],
    )
