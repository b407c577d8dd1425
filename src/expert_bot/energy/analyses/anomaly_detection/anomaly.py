"""What an anomaly is, and the numbers that decide whether something is one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

Unit = Literal["kWh", "kW", "h"]

MIN_STRENGTH: Final = 4.5
"""Robust z: how many times the usual scatter a value must lie off. Of normal scatter, one day in 150,000 does."""
MAD_TO_SIGMA: Final = 1.4826
"""Median absolute deviation to standard deviation, for normal scatter."""
SMALLEST_SCATTER: Final = 0.15
"""In logarithms: a home never is steadier than 15 %, whatever a few weeks say."""


class AnomalyKind(StrEnum):
    """What happened."""

    HIGH_DAY = "high_day"
    HIGH_NIGHT = "high_night"
    VACANCY = "vacancy"
    BASE_UP = "base_up"
    BASE_DOWN = "base_down"
    LEVEL_UP = "level_up"
    LEVEL_DOWN = "level_down"
    MISSING = "missing"
    ESTIMATED = "estimated"
    ZEROS = "zeros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """The local days from `first` to `until` (exclusive) were unusual; it could be told on the evening of `told_on`.

    `strength`: robust z, or of the data days missing; the larger, the clearer. `actual`, `usual`: in `unit` (kWh a day,
    kW by night, h of data). `excess_kwh`: more (or less) energy than usual in these days, of lasting changes in 30
    days; None for data. `excess_eur`: that at the prices given. `reason`: one plain sentence.
    """

    kind: AnomalyKind
    first: date
    until: date
    told_on: date
    strength: float
    unit: Unit
    actual: Decimal
    usual: Decimal
    excess_kwh: Decimal | None
    reason: str
    excess_eur: Decimal | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it goes on until something is done: its excess is of 30 days."""
        return self.kind in _LASTING


_LASTING: Final = frozenset(
    {AnomalyKind.BASE_UP, AnomalyKind.BASE_DOWN, AnomalyKind.LEVEL_UP, AnomalyKind.LEVEL_DOWN}
)
