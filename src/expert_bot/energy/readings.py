"""An hour of metered consumption, labelled in local time when it is ingested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class Period(StrEnum):
    """A 2.0TD energy period (Circular CNMC 3/2020, art. 7): P1 punta, P2 llano, P3 valle."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class ReadingMethod(StrEnum):
    """How the distributor obtained the value."""

    REAL = "real"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyReading:
    """Energy used in the hour that starts at `starts_at`.

    `starts_at`: aware, UTC, on the hour. `energy_kwh` >= 0, at most 9 decimals. `local_date` and `local_hour` (0..23,
    START of the hour) are the supply point's wall clock; `period` is its 2.0TD energy period. Of homes with panels, each
    0 or more, None where the file does not say: `surplus_kwh` fed into the grid, `generation_kwh` made,
    `self_consumption_kwh` made and used at once.
    """

    starts_at: datetime
    energy_kwh: Decimal
    method: ReadingMethod
    local_date: date
    local_hour: int
    period: Period
    surplus_kwh: Decimal | None = None
    generation_kwh: Decimal | None = None
    self_consumption_kwh: Decimal | None = None
