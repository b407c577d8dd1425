"""The JSON that `expert-bot bill` reads, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from expert_bot.energy.bill.contract import MAX_DAYS, BonoCategory, Household
from expert_bot.energy.bill.fields import (
    Day,
    Document,
    EnergyKwh,
    Eur,
    EurPerKwDay,
    FileName,
    Label,
    Number,
    PowerKw,
    PriceEurPerKwh,
    describe,
)
from expert_bot.energy.calendar import TariffZone
from expert_bot.errors import UsageError


class PerPowerPeriod(Document):
    """Contracted power, kW."""

    p1: PowerKw = Field(alias="P1")
    p2: PowerKw = Field(alias="P2")


class PowerPrices(Document):
    """EUR/kW and day."""

    p1: EurPerKwDay = Field(alias="P1")
    p2: EurPerKwDay = Field(alias="P2")


class EnergyPrices(Document):
    """EUR/kWh of each period."""

    p1: PriceEurPerKwh = Field(alias="P1")
    p2: PriceEurPerKwh = Field(alias="P2")
    p3: PriceEurPerKwh = Field(alias="P3")


class Energy(Document):
    """kWh of each period."""

    p1: EnergyKwh = Field(alias="P1")
    p2: EnergyKwh = Field(alias="P2")
    p3: EnergyKwh = Field(alias="P3")


class Block(Document):
    """kWh at one price."""

    kwh: EnergyKwh
    price: PriceEurPerKwh


def _shape(value: object) -> str:
    if isinstance(value, Mapping | EnergyPrices):
        return "per_period"
    return "blocks" if isinstance(value, list | tuple) else "one_price"


EnergyPriceInput = Annotated[
    Annotated[PriceEurPerKwh, Tag("one_price")]
    | Annotated[EnergyPrices, Tag("per_period")]
    | Annotated[list[Block], Field(min_length=1, max_length=24), Tag("blocks")],
    Discriminator(_shape),
]


class FixedInput(Document):
    """Agreed prices."""

    kind: Literal["fixed"]
    power_eur_per_kw_day: PowerPrices
    energy_eur_per_kwh: EnergyPriceInput


class PvpcInput(Document):
    """The regulated tariff: exactly one of mean prices and a file of hourly prices."""

    kind: Literal["pvpc"]
    mean_prices: EnergyPrices | None = None
    prices_file: FileName | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> PvpcInput:
        if (self.mean_prices is None) == (self.prices_file is None):
            raise ValueError("needs either mean_prices or prices_file")
        return self


class ExtraInput(Document):
    """A printed line with its amount."""

    label: Label
    eur: Eur


class DiscountInput(Document):
    """A printed discount: 0 or negative."""

    label: Label
    eur: Annotated[Eur, Field(le=0)]


class BonoInput(Document):
    """The bono social."""

    category: Annotated[BonoCategory, Field(strict=False)]
    household: Annotated[Household, Field(strict=False)]


class SurplusInput(Document):
    """What surplus energy is paid."""

    eur_per_kwh: Annotated[Number, Field(ge=0, le=10)]
    tolls_are_compensable: bool = True


class ContractInput(Document):
    """The contract."""

    zone: Annotated[TariffZone, Field(strict=False)]
    power_kw: PerPowerPeriod
    tariff: Annotated[FixedInput | PvpcInput, Field(discriminator="kind")]
    discounts: list[DiscountInput] = Field(default_factory=list, max_length=50)
    bono_social: BonoInput | None = None
    surplus: SurplusInput | None = None
    is_home: bool = True


class PeriodInput(Document):
    """The printed period."""

    start: Day
    end: Day
    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None = None
    due: Day | None = None
    days_in_year: Literal[365, 366] | None = None


class ConsumptionInput(Document):
    """Exactly one of kWh by period and a file with hours."""

    kwh: Energy | None = None
    surplus_kwh: EnergyKwh | None = None
    curve_file: FileName | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> ConsumptionInput:
        if (self.kwh is None) == (self.curve_file is None):
            raise ValueError("needs either kwh or curve_file")
        if self.curve_file is not None and self.surplus_kwh is not None:
            raise ValueError("surplus_kwh stands beside kwh only; a curve_file has its own surplus")
        return self


class BillInput(Document):
    """All that a bill is computed from."""

    contract: ContractInput
    period: PeriodInput
    consumption: ConsumptionInput
    meter_rental_days: Annotated[int, Field(ge=0, le=MAX_DAYS)] | None = None
    financing_eur_per_day: Annotated[Number, Field(ge=0, le=10)] | None = None
    services: list[ExtraInput] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _hours_have_a_curve(self) -> BillInput:
        tariff = self.contract.tariff
        if (
            isinstance(tariff, PvpcInput)
            and tariff.prices_file is not None
            and self.consumption.curve_file is None
        ):
            raise ValueError(
                "contract.tariff.prices_file needs consumption.curve_file: hours are billed by the hour"
            )
        return self


def parse_bill_input(document: object, name: str = "input") -> BillInput:
    """Check a document that `parse_json` gave. Raises UsageError naming every wrong field and what is allowed."""
    try:
        return BillInput.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"{name}: {describe(error)}") from error
