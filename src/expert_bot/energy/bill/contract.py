"""What a bill is computed from: the contract, the billed days, the energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod

MAX_DAYS: Final = 400
"""Longest billing period, in days."""

_DAY: Final = timedelta(days=1)
_MOST_EXTRA_DAYS: Final = 3


class BonoCategory(StrEnum):
    """Who gets the bono social."""

    VULNERABLE = "vulnerable"
    SEVERE = "severe"


class Household(StrEnum):
    """Which yearly limit of discounted kWh a household has (RD 897/2017, annex I)."""

    NO_MINORS = "no_minors"
    ONE_MINOR = "one_minor"
    TWO_MINORS = "two_minors"
    LARGE_FAMILY = "large_family"
    PENSIONER = "pensioner"


@dataclass(frozen=True, slots=True, kw_only=True)
class BonoSocial:
    """The bono social of a contract."""

    category: BonoCategory
    household: Household


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBlock:
    """So many kWh at one price, as a bill prints them when the price changed inside the period."""

    energy_kwh: Decimal
    price_eur_per_kwh: Decimal


EnergyPrice = Decimal | Mapping[Period, Decimal] | tuple[EnergyBlock, ...]
"""EUR/kWh without taxes: one price, one of each period, or blocks that together are the billed energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTariff:
    """Agreed prices, tolls and charges inside: power in EUR/kW and day, energy in EUR/kWh."""

    power_eur_per_kw_day: Mapping[PowerPeriod, Decimal]
    energy: EnergyPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class PvpcTariff:
    """The regulated tariff: power by the rules, energy by the hour (`prices`) or by the period's mean prices, EUR/kWh."""

    mean_prices: Mapping[Period, Decimal] | None = None
    prices: HourlyPrices | None = None


Tariff = FixedTariff | PvpcTariff


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraLine:
    """A printed line of which only the amount is known: a discount (0 or negative) or a service; EUR without VAT."""

    label: str
    eur: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SurplusTerms:
    """What surplus energy is paid: EUR/kWh, up to the energy term, or up to that without tolls and charges."""

    eur_per_kwh: Decimal
    tolls_are_compensable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A 2.0TD supply and its tariff. `is_home`: a dwelling (matters for the IGIC only)."""

    zone: TariffZone
    power_kw: Mapping[PowerPeriod, Decimal]
    tariff: Tariff
    discounts: tuple[ExtraLine, ...] = ()
    bono_social: BonoSocial | None = None
    surplus: SurplusTerms | None = None
    is_home: bool = True

    @property
    def highest_power_kw(self) -> Decimal:
        """The higher contracted power, which the limits of reduced taxes mean."""
        return max(self.power_kw.values())

    @property
    def is_severe_vulnerable(self) -> bool:
        """Whether the bono social is that of a severe vulnerable consumer."""
        return self.bono_social is not None and self.bono_social.category is BonoCategory.SEVERE


@dataclass(frozen=True, slots=True, kw_only=True)
class BillPeriod:
    """The printed period: `start` and `end` as printed, `days` as billed, `due` the day of payment if printed.

    `days_in_year`: 365 or 366 for a retailer that does not follow the calendar. ValueError if `days` cannot be.
    """

    start: date
    end: date
    days: int
    due: date | None = None
    days_in_year: int | None = None

    def __post_init__(self) -> None:
        between = (self.end - self.start).days
        if between < 0:
            raise ValueError(f"end ({self.end}) must not be before start ({self.start})")
        if not 1 <= self.days <= MAX_DAYS:
            raise ValueError(f"days must be 1..{MAX_DAYS}, not {self.days}")
        if abs(self.days - between) > _MOST_EXTRA_DAYS:
            raise ValueError(
                f"days is {self.days}, but from {self.start} to {self.end} are {between} (both ends: {between + 1})"
            )
        if self.due is not None and self.due < self.start:
            raise ValueError(f"due ({self.due}) must not be before start ({self.start})")
        if self.days_in_year not in (None, 365, 366):
            raise ValueError(f"days_in_year must be 365 or 366, not {self.days_in_year}")

    @property
    def until(self) -> date:
        """First day that is not billed any more.

        `end` itself is billed, except between two firsts of a month with as many days as lie between them.
        """
        ends_before = self.start.day == self.end.day == 1 and self.days == (self.end - self.start).days
        return self.end if ends_before else self.end + _DAY

    @property
    def first(self) -> date:
        """First billed day: `days` before `until`. So a start that only repeats the last reading is not billed."""
        return self.until - self.days * _DAY

    @property
    def tax_day(self) -> date:
        """Day whose tax rates hold for the whole bill: when it falls due, else the last billed day."""
        return self.due or self.until - _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledConsumption:
    """Energy taken from the grid per period and fed into it, kWh; `curve`: its hours, where they are known."""

    energy_kwh: Mapping[Period, Decimal]
    surplus_kwh: Decimal = field(default=Decimal(0))
    curve: Curve | None = None

    @classmethod
    def of_curve(cls, curve: Curve, period: BillPeriod) -> BilledConsumption:
        """Take the hours of the billed days. Raises ValueError if there is none."""
        billed = curve.between(period.first, period.until)
        if not len(billed):
            known = f"{curve.first_day} to {curve.last_day}" if len(curve) else "empty"
            raise ValueError(
                f"the curve ({known}) has no hour from {period.first} to {period.until} (exclusive)"
            )
        return cls(energy_kwh=billed.kwh_by_period(), surplus_kwh=billed.surplus_kwh(), curve=billed)

    @property
    def total_kwh(self) -> Decimal:
        """All energy taken from the grid."""
        return sum(self.energy_kwh.values(), Decimal(0))
