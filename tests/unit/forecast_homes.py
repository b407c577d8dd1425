"""Homes that tests of forecasts and anomalies use: simulated, flat, and the shared real ones."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import numpy as np

from expert_bot.energy.analyses.day_grid import empty_hours
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import NANO, Curve, Floats
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.simulation import simulate_household

REAL_HOMES = (0, 1, 2, 3, 4, 5, 6, 9)


@cache
def simulated(until: date = date(2023, 6, 30), months: int = 8) -> Curve:
    """Return a simulated home's curve; several seasons, both clock changes within eight months."""
    return Curve.from_readings(simulate_household(until=until, months=months))


def flat(first: date, until: date, kw: float = 0.1, zone: TariffZone = TariffZone.PENINSULA) -> Curve:
    """Return a home that always draws the same."""
    hours = empty_hours(first, until, zone)
    return with_energy(hours, np.full(len(hours), kw))


def with_energy(curve: Curve, energy_kwh: Floats) -> Curve:
    """Return the same hours with other energy, to the watt-hour."""
    whole = np.rint(energy_kwh * 1000).astype(np.int64) * (NANO // 1000)
    return Curve.of(curve.start_hours, whole, curve.estimated, zone=curve.zone)


@cache
def real_home(shared_data: Path, number: int) -> Curve:
    """Return the curve of a shared home."""
    path = shared_data / "energy" / "households_es" / f"home_{number}.csv"
    with path.open("rb") as file:
        return Curve.from_readings(parse_curve(file).readings)
