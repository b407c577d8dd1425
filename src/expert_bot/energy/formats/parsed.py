"""What a consumption file held: readings, monthly maxima, the contract, and the rows that could not be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import HourlyReading


class Layout(StrEnum):
    """The layouts that are known."""

    HOUSEHOLD = "household_csv"
    DATADIS_API = "datadis_json"
    DATADIS_WEB = "datadis_web_csv"
    E_DISTRIBUCION = "e_distribucion_csv"
    I_DE = "i_de_csv"
    CNMC = "cnmc_csv"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not used. `reason`: what was wrong and what is allowed.

    `line`: number of the line in the file, in JSON of the element in its list; both from 1.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum:
    """The highest power of a month in one power period, by the meter.

    `period`: as the distributor names it (`PUNTA`, `LLANO`, `VALLE`, `P1`...). `power_kw`: 0 or more.
    `day`, `minute`: local clock of the reading, `minute` 0..1440 of the day.
    """

    month: Month
    period: str
    power_kw: Decimal
    day: date
    minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyContract:
    """What Datadis says of a supply's contract; what it leaves out is None or empty.

    `power_kw`: contracted power by power period, first P1. `time_discrimination`, `access_fare`: as written.
    """

    distributor: str | None
    marketer: str | None
    access_fare: str | None
    time_discrimination: str | None
    power_kw: tuple[Decimal, ...]
    province: str | None
    starts_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCurve:
    """What a file held: `readings` by time, each hour once; `rejected` by line; blank lines and headers are no rows.

    `rows_read`: used rows (one for each reading and maximum, four for an hour of quarters) and rejected rows together.
    `cups`: the supply point, never to be shown unmasked; `notes`: what is odd but does no harm, such as wrong check
    letters of the CUPS, labels that are read otherwise than is usual in the layout, cells about panels that are not known.
    """

    layout: Layout
    readings: tuple[HourlyReading, ...]
    rejected: tuple[RejectedRow, ...]
    rows_read: int
    cups: str | None = None
    maxima: tuple[Maximum, ...] = ()
    contract: SupplyContract | None = None
    notes: tuple[str, ...] = ()
