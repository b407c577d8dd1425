"""The last year of a curve: what figures per year are computed on, and how they are scaled to a whole one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from expert_bot.energy.curve import Curve
from expert_bot.energy.quality import quality_of
from expert_bot.errors import UsageError
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

YEAR_HOURS: Final = 8760
_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class YearOfReadings:
    """The hours of the local days from `first` to `until` (exclusive), at most 365 days, and how complete they are."""

    curve: Curve
    first: date
    until: date
    quality: DataQuality

    @property
    def to_year(self) -> Decimal:
        """What an energy of these hours is multiplied by to be that of 8,760 hours."""
        return Decimal(YEAR_HOURS) / len(self.curve)

    @property
    def period(self) -> FactPeriod:
        """The days, as facts state them."""
        return FactPeriod(start=self.first.isoformat(), end=self.until.isoformat())

    def fact(self, name: str, value: Decimal | str, unit: str, source: str) -> Fact:
        """Return a fact about these days."""
        return make_fact(name, value, unit, source, period=self.period, quality=self.quality)


def last_year(curve: Curve, *, at_least_hours: int) -> YearOfReadings:
    """Return the last 365 days of a curve. Raises UsageError if they have fewer hours with a reading than asked for."""
    last, first = curve.last_day, curve.first_day
    if last is None or first is None:
        raise UsageError("there are no readings")
    until = last + timedelta(days=1)
    first = max(first, until - _YEAR)
    cut = curve.between(first, until)
    if len(cut) < at_least_hours:
        raise UsageError(
            f"this needs at least {at_least_hours} hours of readings in the year up to {last};"
            f" there are {len(cut)}: load more months"
        )
    quality = quality_of(cut, first, until).as_data_quality()
    return YearOfReadings(curve=cut, first=first, until=until, quality=quality)


def make_fact(
    name: str,
    value: Decimal | str,
    unit: str,
    source: str,
    *,
    period: FactPeriod | None = None,
    quality: DataQuality | None = None,
) -> Fact:
    """Return a fact; a Decimal becomes text without exponent. Raises ValueError for a unit that facts do not know."""
    return Fact.model_validate(
        {
            "id": name,
            "value": text(value) if isinstance(value, Decimal) else value,
            "unit": unit,
            "source": source,
            "period": period,
            "data_quality": quality,
        }
    )


def text(value: Decimal) -> str:
    """Return a Decimal as JSON carries it: plain digits."""
    return format(value, "f")
