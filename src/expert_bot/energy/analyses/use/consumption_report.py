"""The consumption analysis as others read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.use.consumption import Consumption, MonthConsumption, consumption
from expert_bot.energy.calendar import time_zone_of
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import Period
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact, FactPeriod

CONSUMPTION_SOURCE: Final = "hourly readings, summed"


def consumption_report(curve: Curve, first: date | None = None, until: date | None = None) -> Report:
    """Analyse the local days from `first` to `until` (exclusive); raises as `consumption`.

    Keys in docs/reference/cli.md.
    """
    result = consumption(curve, first, until)
    starts_at, most = result.highest_hour
    shown: dict[str, Json] = {
        "start": result.quality.first.isoformat(),
        "end": result.quality.until.isoformat(),
        "hours": result.quality.hours,
        "total_kwh": f"{result.total_kwh:f}",
        "by_period_kwh": _by_period(result.by_period_kwh),
        "share_pct": None if result.share_pct is None else _by_period(result.share_pct),
        "mean_day_kwh": str(result.mean_day_kwh),
        "mean_day_by_kind_kwh": {
            kind.name.lower(): str(energy) for kind, energy in result.mean_day_by_kind_kwh.items()
        },
        "peak_hours": [
            {"local_hour": peak.local_hour, "mean_kwh": str(peak.mean_kwh)} for peak in result.peak_hours
        ],
        "highest_hour": {
            "starts_at": starts_at.astimezone(time_zone_of(curve.zone)).isoformat(),
            "kwh": f"{most:f}",
        },
        "months": [_month(month) for month in result.months],
    }
    return Report(result=shown, facts=tuple(_facts(result)), data_quality=result.quality.as_data_quality())


def _by_period(values: Mapping[Period, Decimal]) -> Json:
    return {period.value: f"{value:f}" for period, value in values.items()}


def _month(month: MonthConsumption) -> Json:
    change = month.year_change
    return {
        "month": month.usage.month,
        "total_kwh": f"{month.usage.total_kwh:f}",
        "by_period_kwh": _by_period(month.usage.energy_kwh),
        "coverage_pct": str(month.usage.coverage_pct),
        "estimated_pct": str(month.usage.estimated_pct),
        "year_change_kwh": None if change is None else f"{change.energy_kwh:f}",
        "year_change_pct": None if change is None else str(change.pct),
    }


def _facts(result: Consumption) -> Iterator[Fact]:
    period = FactPeriod(start=result.quality.first.isoformat(), end=result.quality.until.isoformat())
    totals = {"total": result.total_kwh} | {
        part.lower(): energy for part, energy in result.by_period_kwh.items()
    }
    for name, energy in totals.items():
        yield _fact(f"consumption_{name}", energy, "kWh", period)
    for part, share in (result.share_pct or {}).items():
        yield _fact(f"share_{part.lower()}", share, "%", period)
    yield _fact("mean_day_kwh", result.mean_day_kwh, "kWh", period)
    for kind, energy in result.mean_day_by_kind_kwh.items():
        yield _fact(f"mean_{kind.name.lower()}_kwh", energy, "kWh", period)
    yield _fact("highest_hour_kwh", result.highest_hour[1], "kWh", period)


def _fact(name: str, value: Decimal, unit: str, period: FactPeriod) -> Fact:
    return Fact.model_validate(
        {"id": name, "value": f"{value:f}", "unit": unit, "period": period, "source": CONSUMPTION_SOURCE}
    )
