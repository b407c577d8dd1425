"""One row of each table of regulated values: what it says, since when, until when and by which norm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from expert_bot.energy.readings import Period

_DECIMAL: Final = re.compile(r"\d{1,9}(\.\d{1,12})?", re.ASCII)


def _exact(value: object) -> Decimal:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError('write a number as decimal text, such as "0.81"')
    return Decimal(value)


Amount = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=100, allow_inf_nan=False)]


class PowerPeriod(StrEnum):
    """A 2.0TD power period: P1 punta (working days 8-24), P2 valle (the rest)."""

    P1 = "P1"
    P2 = "P2"


class Status(StrEnum):
    """Whether a row may be used: `pending` values are announced, not settled, and never used."""

    IN_FORCE = "in_force"
    CONDITIONAL = "conditional"
    PENDING = "pending"


class Confidence(StrEnum):
    """How sure the value is: A read in several independent sources, B in one or two, C in one, D from memory."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class Row(BaseModel):
    """A value from `first` to `until` (exclusive), local days."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    first: Annotated[date, Field(alias="from")]
    until: date
    status: Status
    norm: Annotated[str, Field(min_length=1)]
    confidence: Confidence
    note: str = ""

    @model_validator(mode="after")
    def _is_a_range(self) -> Row:
        if self.first >= self.until:
            raise ValueError(f"from {self.first} must be before until {self.until}")
        return self


class TollsAndCharges(Row):
    """Tolls and charges of 2.0TD: power in EUR/kW-year, energy in EUR/kWh."""

    toll_power: Mapping[PowerPeriod, Amount]
    charge_power: Mapping[PowerPeriod, Amount]
    toll_energy: Mapping[Period, Amount]
    charge_energy: Mapping[Period, Amount]

    @model_validator(mode="after")
    def _has_all_periods(self) -> TollsAndCharges:
        power, energy = set(PowerPeriod), set(Period)
        if {*self.toll_power} != power or {*self.charge_power} != power:
            raise ValueError("power needs P1 and P2")
        if {*self.toll_energy} != energy or {*self.charge_energy} != energy:
            raise ValueError("energy needs P1, P2 and P3")
        return self

    def power_eur_per_kw_year(self, period: PowerPeriod) -> Decimal:
        """Return toll and charge of a power period."""
        return self.toll_power[period] + self.charge_power[period]

    def energy_eur_per_kwh(self, period: Period) -> Decimal:
        """Return toll and charge of an energy period."""
        return self.toll_energy[period] + self.charge_energy[period]


class ElectricityTax(Row):
    """Rate on the base, and the least to be paid. A conditional row has `percent_if_met` beside `percent`."""

    percent: Percent
    percent_if_met: Percent | None = None
    floor_eur_per_mwh: Amount

    @model_validator(mode="after")
    def _says_both(self) -> ElectricityTax:
        if (self.status is Status.CONDITIONAL) != (self.percent_if_met is not None):
            raise ValueError("a conditional row, and only it, has percent_if_met")
        return self

    def percent_when(self, *, met: bool) -> Decimal:
        """Return the rate if the condition, where there is one, is met or not."""
        return self.percent_if_met if met and self.percent_if_met is not None else self.percent


class ReducedVat(BaseModel):
    """A lower rate for supplies up to a power (None: for no power), or severe vulnerable consumers at any power."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    percent: Percent
    power_limit_kw: Amount | None
    power_limit_included: bool
    severe_vulnerable: bool

    def holds_for(self, highest_power_kw: Decimal, *, is_severe_vulnerable: bool) -> bool:
        """Tell whether a supply gets the lower rate."""
        if self.severe_vulnerable and is_severe_vulnerable:
            return True
        if self.power_limit_kw is None:
            return False
        return highest_power_kw < self.power_limit_kw or (
            self.power_limit_included and highest_power_kw == self.power_limit_kw
        )


class Vat(Row):
    """General rate and, where there is one, the reduced rate; in a conditional row it holds only if the condition does."""

    percent: Percent
    reduced: ReducedVat | None = None

    @model_validator(mode="after")
    def _says_both(self) -> Vat:
        if self.status is Status.CONDITIONAL and self.reduced is None:
            raise ValueError("a conditional row needs a reduced rate")
        return self

    def percent_for(self, highest_power_kw: Decimal, *, is_severe_vulnerable: bool, met: bool) -> Decimal:
        """Return the rate of a supply; `met` matters only in a conditional row."""
        if self.reduced is None or (self.status is Status.CONDITIONAL and not met):
            return self.percent
        if self.reduced.holds_for(highest_power_kw, is_severe_vulnerable=is_severe_vulnerable):
            return self.reduced.percent
        return self.percent


class Igic(Row):
    """IGIC of Canarias: homes up to a power, other supplies, and what is not electricity."""

    home_percent: Percent
    home_power_limit_kw: Amount
    other_percent: Percent
    meter_rental_percent: Percent


class Ipsi(Row):
    """IPSI of Ceuta and Melilla: electricity, and what is not."""

    percent: Percent
    meter_rental_percent: Percent


class YearlyFee(Row):
    """EUR per supply and year."""

    eur_per_year: Amount


class MonthlyFee(Row):
    """EUR per month."""

    eur_per_month: Amount


class YearlyFeePerKw(Row):
    """EUR per kW of contracted power and year."""

    eur_per_kw_year: Amount


class BonoSocialPercent(Row):
    """Discount by category."""

    vulnerable_percent: Percent
    severe_percent: Percent


class BonoSocialLimit(Row):
    """Discounted kWh per year by household."""

    no_minors: Amount
    one_minor: Amount
    two_minors: Amount
    large_family: Amount
    pensioner: Amount


class PowerChangeFees(Row):
    """What a distributor charges for changing the contracted power, without VAT."""

    extension_eur_per_kw: Amount
    access_eur_per_kw: Amount
    hookup_eur: Amount
    step_kw: Amount
