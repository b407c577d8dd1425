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
    START of the hour) are the supply point's wall clock; `period` is its 2.0TD energy period.
    """

    starts_at: datetime
    energy_kwh: Decimal
    method: ReadingMethod
    local_date: date
    local_hour: int
    period: Period
