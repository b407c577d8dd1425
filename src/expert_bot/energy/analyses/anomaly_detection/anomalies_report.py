"""Anomalies as others read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from expert_bot.energy.analyses.anomaly_detection.anomalies import Anomalies
from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

ANOMALY_SOURCE: Final = "anomalies: robust z (median, MAD) against earlier days of the same kind"
PRICE_SOURCE: Final = "energy more or less than usual, times the price given"


def anomalies_report(result: Anomalies, *, quality: DataQuality | None = None) -> Report:
    """Return the alerts; keys in docs/reference/cli.md. `quality`: of the days looked at."""
    shown: dict[str, Json] = {
        "start": result.first.isoformat(),
        "end": result.until.isoformat(),
        "alerts": [_alert(alert) for alert in result.alerts],
        "withheld": result.withheld,
    }
    facts = (
        fact
        for number, alert in enumerate(result.alerts, start=1)
        for fact in _facts(f"alert_{number}", alert)
    )
    return Report(result=shown, facts=tuple(facts), data_quality=quality)


def _alert(alert: Anomaly) -> Json:
    return {
        "kind": alert.kind.value,
        "start": alert.first.isoformat(),
        "end": alert.until.isoformat(),
        "told_on": alert.told_on.isoformat(),
        "strength": f"{alert.strength:.1f}",
        "unit": alert.unit,
        "actual": f"{alert.actual:f}",
        "usual": f"{alert.usual:f}",
        "excess_kwh": None if alert.excess_kwh is None else f"{alert.excess_kwh:f}",
        "excess_eur": None if alert.excess_eur is None else f"{alert.excess_eur:f}",
        "lasting": alert.is_lasting,
        "reason": alert.reason,
    }


def _facts(name: str, alert: Anomaly) -> Iterator[Fact]:
    values: list[tuple[str, str, str, str]] = [
        ("kind", alert.kind.value, "word", ANOMALY_SOURCE),
        ("actual", f"{alert.actual:f}", alert.unit, ANOMALY_SOURCE),
        ("usual", f"{alert.usual:f}", alert.unit, ANOMALY_SOURCE),
    ]
    if alert.excess_kwh is not None:
        values.append(("excess_kwh", f"{alert.excess_kwh:f}", "kWh", ANOMALY_SOURCE))
    if alert.excess_eur is not None:
        values.append(("excess_eur", f"{alert.excess_eur:f}", "EUR", PRICE_SOURCE))
    period = FactPeriod(start=alert.first.isoformat(), end=alert.until.isoformat())
    for part, value, unit, source in values:
        yield Fact.model_validate(
            {"id": f"{name}_{part}", "value": value, "unit": unit, "period": period, "source": source}
        )
