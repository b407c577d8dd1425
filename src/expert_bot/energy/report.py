"""The common form of an analysis: what the command line prints and what `analysis.completed` carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from expert_bot.schemas.fact import DataQuality, Fact

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
"""What a result may hold. No floating point: numbers that are not counts are decimal text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An analysis as others read it.

    `result`: stable keys, decimals as text. `facts`: every number it states with unit, period and source.
    `data_quality`: of the readings behind it, None if it used none.
    """

    result: Mapping[str, Json]
    facts: tuple[Fact, ...] = ()
    data_quality: DataQuality | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the result with `facts` and `data_quality` beside its own keys."""
        quality = None if self.data_quality is None else self.data_quality.model_dump(mode="json")
        facts: list[Json] = [fact.model_dump(mode="json", exclude_none=True) for fact in self.facts]
        return {**self.result, "facts": facts, "data_quality": quality}
