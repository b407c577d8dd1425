"""What a household would want to hear about, at most once a week."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly
from expert_bot.energy.analyses.anomaly_detection.anomaly_data import data_findings
from expert_bot.energy.analyses.anomaly_detection.anomaly_days import day_findings
from expert_bot.energy.analyses.anomaly_detection.anomaly_levels import level_findings
from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError

MIN_DAYS: Final = 28
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """The alerts told on the local days from `first` to `until` (exclusive), oldest first.

    At most one a week, Monday to Sunday. `withheld`: findings of the same weeks that were weaker.
    """

    first: date
    until: date
    alerts: tuple[Anomaly, ...]
    withheld: int


def find_anomalies(
    curve: Curve,
    *,
    first: date | None = None,
    until: date | None = None,
    price_eur_per_kwh: Mapping[Period, Decimal] | None = None,
) -> Anomalies:
    """Find what was unusual; each day is judged by the days before it only, those before `first` included.

    Default: from the first day that has four weeks before it, to the end. `price_eur_per_kwh`: for every period. Raises
    UsageError for fewer than 28 days of readings.
    """
    if not len(curve) or curve.first_day is None or curve.last_day is None:
        raise UsageError(f"anomalies need {MIN_DAYS} days of readings: there are none")
    first = first or curve.first_day + timedelta(days=MIN_DAYS)
    until = until or curve.last_day + timedelta(days=1)
    known = curve.between(None, until)
    days = (until - curve.first_day).days
    if days < MIN_DAYS:
        raise UsageError(
            f"anomalies need {MIN_DAYS} days from the first reading on: until {until} there are {max(days, 0)}"
        )
    found = [finding for finding in _findings(known) if first <= finding.told_on < until]
    alerts = [_with_eur(alert, known, price_eur_per_kwh) for alert in strongest_by_week(found)]
    return Anomalies(first=first, until=until, alerts=tuple(alerts), withheld=len(found) - len(alerts))


def _findings(curve: Curve) -> Iterator[Anomaly]:
    yield from data_findings(curve)
    # an estimate follows the distributor's profile: it says nothing about the home
    metered = curve.where(~curve.estimated)
    if len(metered):
        grid = DayGrid.of(metered)
        yield from day_findings(grid)
        yield from level_findings(grid)


def strongest_by_week(found: Iterable[Anomaly]) -> list[Anomaly]:
    """Return the strongest finding of each week, Monday to Sunday, by the day it could be told; oldest first."""
    weeks: dict[date, Anomaly] = {}
    for finding in sorted(found, key=lambda anomaly: (-anomaly.strength, anomaly.told_on, anomaly.kind)):
        weeks.setdefault(finding.told_on - timedelta(days=finding.told_on.weekday()), finding)
    return [weeks[monday] for monday in sorted(weeks)]


def _with_eur(alert: Anomaly, curve: Curve, prices: Mapping[Period, Decimal] | None) -> Anomaly:
    """Price the excess at the mean of the prices, by the energy of each period in these days."""
    if prices is None or alert.excess_kwh is None:
        return alert
    energy_kwh = curve.between(alert.first, alert.until).kwh_by_period()
    total = sum(energy_kwh.values(), Decimal(0))
    weights = energy_kwh if total else dict.fromkeys(Period, Decimal(1))
    mean = sum((prices[period] * weights[period] for period in Period), Decimal(0)) / sum(
        weights.values(), Decimal(0)
    )
    return replace(alert, excess_eur=(alert.excess_kwh * mean).quantize(_CENT, ROUND_HALF_UP))
