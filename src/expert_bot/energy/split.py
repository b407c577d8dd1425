"""Consumption split into the periods of the 2.0TD, per month, and its cost at hourly PVPC prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import EnergyCost, HourlyPrices, energy_cost
from expert_bot.energy.quality import CurveQuality, quality_of
from expert_bot.energy.readings import Period
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact, FactPeriod

PERIODS_SOURCE: Final = "rule: periods of the 2.0TD, Circular CNMC 3/2020 art. 7; query: readings of the file"
PRICES_SOURCE: Final = (
    "query: readings of the file x hourly PVPC prices given, hour by hour, tolls inside, no taxes"
)
CANARY_SOURCE: Final = (
    PRICES_SOURCE
    + "; the published hour is taken as the hour of the Canary clock (which one is meant is unresolved)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSplit:
    """One local calendar month: `kwh` exact by period, `cost` None without prices."""

    month: Month
    hours: int
    kwh: dict[Period, Decimal]
    cost: EnergyCost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionSplit:
    """A curve's hours in the days from `first` to `until` (exclusive). `cost` is None without prices."""

    first: date
    until: date
    zone: TariffZone
    hours: int
    kwh: dict[Period, Decimal]
    cost: EnergyCost | None
    months: tuple[MonthSplit, ...]
    quality: CurveQuality


def split_consumption(
    curve: Curve,
    first: date | None = None,
    until: date | None = None,
    *,
    prices: HourlyPrices | None = None,
    duplicates: int = 0,
) -> ConsumptionSplit:
    """Split the hours of the local days from `first` to `until` (exclusive; None: where the curve begins, ends).

    `duplicates`: rows of the file with an hour of another row. Raises ValueError: `until` not after `first`, prices of
    another zone.
    """
    quality = quality_of(curve, first, until, duplicates=duplicates)
    part = curve.between(quality.first, quality.until)

    def cost_of(hours: Curve) -> EnergyCost | None:
        return None if prices is None else energy_cost(hours, prices)

    return ConsumptionSplit(
        first=quality.first,
        until=quality.until,
        zone=curve.zone,
        hours=len(part),
        kwh=part.kwh_by_period(),
        cost=cost_of(part),
        months=tuple(
            MonthSplit(month=month, hours=len(hours), kwh=hours.kwh_by_period(), cost=cost_of(hours))
            for month, hours in part.months()
        ),
        quality=quality,
    )


def split_report(split: ConsumptionSplit) -> Report:
    """Return the split as others read it: `rows`, `kwh`, `pvpc_energy_eur` and what stands behind them.

    `pvpc_energy_eur` is exact and unrounded; null without prices, and where an hour has none: `pvpc` then says which
    part is priced.
    """
    result: dict[str, Json] = {
        "from": split.first.isoformat(),
        "to": split.until.isoformat(),
        "zone": split.zone.value,
        "rows": split.hours,
        "kwh": _kwh_texts(split.kwh),
        "pvpc_energy_eur": _whole_cost(split.cost),
        "pvpc": _cost_json(split.cost),
        "months": [
            {
                "month": str(month.month),
                "rows": month.hours,
                "kwh": _kwh_texts(month.kwh),
                "pvpc_energy_eur": _whole_cost(month.cost),
            }
            for month in split.months
        ],
    }
    return Report(result=result, facts=_facts(split), data_quality=split.quality.as_data_quality())


def decimal_text(number: Decimal) -> str:
    """Write a number exactly, without exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _facts(split: ConsumptionSplit) -> tuple[Fact, ...]:
    period = FactPeriod(start=split.first.isoformat(), end=split.until.isoformat())
    quality = split.quality.as_data_quality()
    total = sum(split.kwh.values(), Decimal(0))
    energies = {"consumption_total": total, **{f"consumption_{p.lower()}": e for p, e in split.kwh.items()}}
    facts = [
        Fact(
            id=name,
            value=decimal_text(energy),
            unit="kWh",
            period=period,
            source=PERIODS_SOURCE,
            data_quality=quality,
        )
        for name, energy in energies.items()
    ]
    if split.cost is not None:
        source = CANARY_SOURCE if split.zone is TariffZone.CANARIAS else PRICES_SOURCE
        priced = "pvpc_energy" if not split.cost.missing_hours else "pvpc_energy_of_priced_hours"
        facts.append(
            Fact(
                id=priced,
                value=decimal_text(split.cost.eur),
                unit="EUR",
                period=period,
                source=source,
                data_quality=quality,
            )
        )
        facts.append(
            Fact(
                id="hours_without_price",
                value=str(split.cost.missing_hours),
                unit="h",
                period=period,
                source=source,
            )
        )
    return tuple(facts)


def _kwh_texts(kwh: dict[Period, Decimal]) -> dict[str, Json]:
    return {period.value: decimal_text(energy) for period, energy in kwh.items()}


def _whole_cost(cost: EnergyCost | None) -> str | None:
    return None if cost is None or cost.missing_hours else decimal_text(cost.eur)


def _cost_json(cost: EnergyCost | None) -> Json:
    if cost is None:
        return None
    return {
        "priced_hours": cost.priced_hours,
        "priced_eur": decimal_text(cost.eur),
        "missing_hours": cost.missing_hours,
        "missing_kwh": decimal_text(cost.missing_kwh),
    }
