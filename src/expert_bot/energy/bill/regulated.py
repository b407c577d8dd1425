"""Terms of a bill that the law sets by the day: power of the PVPC, financing, meter rental, bono social, tolls."""

from __future__ import annotations

from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod, BonoCategory, BonoSocial, Contract
from expert_bot.energy.bill.money import cents, total
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod, Rules, Table
from expert_bot.energy.rules.rows import Row

_MONTHS: Final = 12
_PERCENT: Final = Decimal("0.01")
_DAYS: Final = 365
_DAYS_OF_LEAP_YEAR: Final = 366


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive billed days in which no rule changes, nor the length of the year."""

    first: date
    days: int
    days_in_year: int

    def of_year(self, per_year: Decimal) -> Decimal:
        """Return the share of a yearly amount, exact as far as decimals go."""
        return per_year * self.days / self.days_in_year


def stretches(
    first: date, until: date, *tables: Table[Row], days_in_year: int | None = None
) -> Iterator[Stretch]:
    """Cut the days from `first` to `until` (exclusive) where a row of the tables or the length of the year changes."""
    cuts = {first, until}
    cuts.update(row.first for table in tables for row in table.rows if first < row.first < until)
    years = range(first.year, until.year + 1)
    cuts.update(
        date(later, 1, 1)
        for earlier, later in pairwise(years)
        if _length(earlier) != _length(later) and first < date(later, 1, 1) < until
    )
    for start, end in pairwise(sorted(cuts)):
        yield Stretch(start, (end - start).days, days_in_year or _length(start.year))


def pvpc_power(contract: Contract, period: BillPeriod, power: PowerPeriod, *, rules: Rules) -> Decimal:
    """Return the power term in EUR: tolls and charges, on P1 the margin too; each price a printed line of its own."""
    return total(
        cents(
            stretch.of_year(
                contract.power_kw[power] * pvpc_eur_per_kw_year(power, stretch.first, rules=rules)
            )
        )
        for stretch in _of_period(period, rules.tolls_charges, rules.pvpc_margin)
    )


def pvpc_eur_per_kw_year(power: PowerPeriod, day: date, *, rules: Rules) -> Decimal:
    """Return what a kW of the PVPC costs per year at the prices of a day, without taxes."""
    price = rules.tolls_charges.on(day).power_eur_per_kw_year(power)
    return price + rules.pvpc_margin.on(day).eur_per_kw_year if power is PowerPeriod.P1 else price


def financing(period: BillPeriod, *, rules: Rules, eur_per_day: Decimal | None = None) -> Decimal:
    """Return the financing of the bono social in EUR, by the rules unless the bill prints EUR per day."""
    if eur_per_day is not None:
        return cents(eur_per_day * period.days)
    table = rules.bono_social_financing
    return total(
        cents(stretch.of_year(table.on(stretch.first).eur_per_year)) for stretch in _of_period(period, table)
    )


def meter_rental(period: BillPeriod, *, rules: Rules, days: int | None = None) -> Decimal:
    """Return the rental in EUR of `days` (those of the bill unless given) up to the last billed day."""
    table = rules.meter_rental
    first = period.until - timedelta(days=period.days if days is None else days)
    return total(
        cents(stretch.of_year(table.on(stretch.first).eur_per_month * _MONTHS))
        for stretch in stretches(first, period.until, table, days_in_year=period.days_in_year)
    )


def bono_discount(
    bono: BonoSocial,
    period: BillPeriod,
    *,
    fixed_eur: Decimal,
    energy_eur: Decimal,
    energy_kwh: Decimal,
    rules: Rules,
) -> Decimal:
    """Return the discount in EUR, 0 or negative: on power and financing whole, on energy up to the household's limit.

    A percentage that changes inside the period counts by its days.
    """
    parts = tuple(_of_period(period, rules.bono_social_limit, rules.bono_social_percent))
    limit_kwh = bono_limit_kwh(bono, period, rules=rules)
    share = min(Decimal(1), limit_kwh / energy_kwh) if energy_kwh else Decimal(1)
    percent_days = sum((_percent(bono, part.first, rules) * part.days for part in parts), Decimal(0))
    return -cents(max(fixed_eur + energy_eur * share, Decimal(0)) * percent_days * _PERCENT / period.days)


def bono_limit_kwh(bono: BonoSocial, period: BillPeriod, *, rules: Rules) -> Decimal:
    """Return the energy that the bono social discounts at most, kWh: the household's yearly limit by the days."""
    parts = _of_period(period, rules.bono_social_limit)
    return sum((part.of_year(_limit_kwh(bono, part.first, rules)) for part in parts), Decimal(0))


def tolls_of_power(contract: Contract, period: BillPeriod, *, rules: Rules) -> Decimal:
    """Return the tolls and charges of the contracted power in EUR, exact."""
    table = rules.tolls_charges
    return sum(
        (
            stretch.of_year(contract.power_kw[each] * table.on(stretch.first).power_eur_per_kw_year(each))
            for stretch in _of_period(period, table)
            for each in PowerPeriod
        ),
        Decimal(0),
    )


def tolls_of_energy(period: BillPeriod, consumption: BilledConsumption, *, rules: Rules) -> Decimal:
    """Return the tolls and charges of the energy in EUR, exact; by days where a price changes inside the period."""
    table = rules.tolls_charges
    parts = (
        consumption.energy_kwh[each] * table.on(stretch.first).energy_eur_per_kwh(each) * stretch.days
        for stretch in _of_period(period, table)
        for each in Period
    )
    return sum(parts, Decimal(0)) / period.days


def _of_period(period: BillPeriod, *tables: Table[Row]) -> Iterator[Stretch]:
    return stretches(period.first, period.until, *tables, days_in_year=period.days_in_year)


def _limit_kwh(bono: BonoSocial, day: date, rules: Rules) -> Decimal:
    limit: Decimal = getattr(rules.bono_social_limit.on(day), bono.household.value)
    return limit


def _percent(bono: BonoSocial, day: date, rules: Rules) -> Decimal:
    row = rules.bono_social_percent.on(day)
    return row.severe_percent if bono.category is BonoCategory.SEVERE else row.vulnerable_percent


def _length(year: int) -> int:
    return _DAYS_OF_LEAP_YEAR if isleap(year) else _DAYS
