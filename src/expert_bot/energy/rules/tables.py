"""Tables of dated rows: looked up by day, never beyond what is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from expert_bot.energy.rules.errors import RuleNotLoaded
from expert_bot.energy.rules.rows import (
    BonoSocialLimit,
    BonoSocialPercent,
    ElectricityTax,
    Igic,
    Ipsi,
    MonthlyFee,
    PowerChangeFees,
    Row,
    Status,
    TollsAndCharges,
    Vat,
    YearlyFee,
    YearlyFeePerKw,
)

AnyRow_co = TypeVar("AnyRow_co", bound=Row, covariant=True)
_DATA: Final = "data"


class Table(BaseModel, Generic[AnyRow_co]):
    """Rows in order of time without a gap or an overlap; a pending row may only be the last."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str
    title: str
    unit: str
    rows: tuple[AnyRow_co, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_no_gap(self) -> Table[AnyRow_co]:
        for earlier, later in pairwise(self.rows):
            if earlier.until != later.first:
                kind = "gap" if earlier.until < later.first else "overlap"
                raise ValueError(f"{self.name}: {kind} between {earlier.until} and {later.first}")
            if earlier.status is Status.PENDING:
                raise ValueError(f"{self.name}: a pending row must be the last")
        if self.rows[0].status is Status.PENDING:
            raise ValueError(f"{self.name}: no row may be used")
        return self

    @property
    def first(self) -> date:
        """First day with a usable row."""
        return self.rows[0].first

    @property
    def until(self) -> date:
        """First day without a usable row."""
        return next(row for row in reversed(self.rows) if row.status is not Status.PENDING).until

    def on(self, day: date) -> AnyRow_co:
        """Return the row of a day. Raises RuleNotLoaded outside the loaded range; pending rows are outside."""
        if not self.first <= day < self.until:
            raise RuleNotLoaded(self.title, day, self.first, self.until)
        return next(row for row in reversed(self.rows) if row.first <= day)

    def between(self, first: date, until: date) -> Iterator[tuple[AnyRow_co, date, date]]:
        """Yield each row of the days from `first` to `until` (exclusive) with its own days of them.

        Raises RuleNotLoaded for the first day that is outside the loaded range.
        """
        while first < until:
            row = self.on(first)
            end = min(row.until, until)
            yield row, first, end
            first = end


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All tables of regulated values."""

    tolls_charges: Table[TollsAndCharges]
    electricity_tax: Table[ElectricityTax]
    vat: Table[Vat]
    igic: Table[Igic]
    ipsi: Table[Ipsi]
    bono_social_financing: Table[YearlyFee]
    bono_social_percent: Table[BonoSocialPercent]
    bono_social_limit: Table[BonoSocialLimit]
    meter_rental: Table[MonthlyFee]
    pvpc_margin: Table[YearlyFeePerKw]
    power_change_fees: Table[PowerChangeFees]

    def tables(self) -> tuple[Table[Row], ...]:
        """Return all tables, in the order of the class."""
        return tuple(getattr(self, name) for name in type(self).__slots__)

    def missing_on(self, day: date) -> tuple[Table[Row], ...]:
        """Return the tables without a usable row for a day."""
        return tuple(table for table in self.tables() if not table.first <= day < table.until)

    def expiring(self, day: date, within_days: int) -> tuple[Table[Row], ...]:
        """Return the tables that have a row for a day but none for some day in the `within_days` after it."""
        horizon = day + timedelta(days=within_days)
        return tuple(table for table in self.tables() if table.first <= day < table.until <= horizon)


@cache
def load() -> Rules:
    """Read the tables of this package, once. Raises ValidationError if one is not as the schema says."""
    return Rules(
        tolls_charges=_read("tolls_charges", TollsAndCharges),
        electricity_tax=_read("electricity_tax", ElectricityTax),
        vat=_read("vat", Vat),
        igic=_read("igic", Igic),
        ipsi=_read("ipsi", Ipsi),
        bono_social_financing=_read("bono_social_financing", YearlyFee),
        bono_social_percent=_read("bono_social_percent", BonoSocialPercent),
        bono_social_limit=_read("bono_social_limit", BonoSocialLimit),
        meter_rental=_read("meter_rental", MonthlyFee),
        pvpc_margin=_read("pvpc_margin", YearlyFeePerKw),
        power_change_fees=_read("power_change_fees", PowerChangeFees),
    )


def _read(name: str, row: type[AnyRow_co]) -> Table[AnyRow_co]:
    text = files(__package__).joinpath(_DATA, f"{name}.json").read_text("utf-8")
    return Table[row].model_validate_json(text)  # type: ignore[valid-type]  # the class is chosen at run time
