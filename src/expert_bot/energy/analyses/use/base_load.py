"""Base load: what a home draws while everyone sleeps, and what that costs in a year."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.curve import Curve, Floats
from expert_bot.energy.quality import quality_of
from expert_bot.energy.report import Json, Report
from expert_bot.errors import UsageError
from expert_bot.schemas.fact import Fact, FactPeriod

NIGHT_HOURS: Final = slice(2, 5)
"""Clock hours 2, 3 and 4: from 2:00 to 5:00."""
LOW_PERCENTILE: Final = 5.0
HIGH_PERCENTILE: Final = 10.0
MIN_NIGHTS: Final = 14
YEAR: Final = timedelta(days=365)
HOURS_A_YEAR: Final = 365 * 24
BASE_LOAD_SOURCE: Final = (
    "base load: 5th to 10th percentile of the hours from 2:00 to 5:00, median over nights"
)

_WATT: Final = Decimal("0.001")
_CENT: Final = Decimal("0.01")
_ONE_DECIMAL: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLoad:
    """The draw that never stops, from `nights` nights of the local days `first` .. `until` (exclusive).

    `base_kw`: middle of `low_kw` and `high_kw` (5th and 10th percentile of a night's hours, median over nights), to the
    watt. `standby_kwh_per_year`: of 365 days. `share_pct`: of the energy used in the period. `standby_eur_per_year`: at
    the price given. `uses_estimates`: fewer than 14 nights were metered, so that estimated ones count too.
    """

    first: date
    until: date
    nights: int
    uses_estimates: bool
    low_kw: Decimal
    base_kw: Decimal
    high_kw: Decimal
    standby_kwh_per_year: Decimal
    share_pct: Decimal | None
    standby_eur_per_year: Decimal | None


def night_base_kw(grid: DayGrid) -> tuple[Floats, Floats]:
    """Return (days,) twice: the 5th and the 10th percentile of each night's hours, kW; NaN unless all are known."""
    night = np.sort(grid.energy_kwh[:, NIGHT_HOURS], axis=1)  # NaN last
    lowest, second, last = night.T
    step = np.where(np.isnan(last), np.nan, second - lowest)
    positions = (percentile / 100 * (night.shape[1] - 1) for percentile in (LOW_PERCENTILE, HIGH_PERCENTILE))
    low, high = (lowest + position * step for position in positions)
    return low, high


def base_load(
    curve: Curve,
    *,
    first: date | None = None,
    until: date | None = None,
    price_eur_per_kwh: Decimal | None = None,
) -> BaseLoad:
    """Measure the base load of the local days from `first` to `until` (default: the last 365 days with readings).

    `price_eur_per_kwh`: mean over all hours. Raises UsageError for fewer than 14 nights.
    """
    if not len(curve) or curve.last_day is None:
        raise UsageError(f"the base load needs {MIN_NIGHTS} nights of readings: there are none")
    until = until or curve.last_day + timedelta(days=1)
    first = first or until - YEAR
    part = curve.between(first, until)
    grid = DayGrid.of(part) if len(part) else None
    low, high = (np.zeros(0), np.zeros(0)) if grid is None else night_base_kw(grid)
    known = ~np.isnan(low)
    metered = known if grid is None else known & ~grid.estimated[:, NIGHT_HOURS].any(axis=1)
    uses_estimates = int(metered.sum()) < MIN_NIGHTS
    chosen = known if uses_estimates else metered
    nights = int(chosen.sum())
    if nights < MIN_NIGHTS:
        raise UsageError(
            f"the base load needs {MIN_NIGHTS} whole nights from {first} until {until}: there are {nights}"
        )
    low_kw, high_kw = (float(np.median(column[chosen])) for column in (low, high))
    base_kw = _exact((low_kw + high_kw) / 2)
    standby_kwh = base_kw * HOURS_A_YEAR
    used_kwh = part.total_kwh()
    return BaseLoad(
        first=first,
        until=until,
        nights=nights,
        uses_estimates=uses_estimates,
        low_kw=_exact(low_kw),
        base_kw=base_kw,
        high_kw=_exact(high_kw),
        standby_kwh_per_year=standby_kwh.quantize(Decimal(1), ROUND_HALF_UP),
        share_pct=(base_kw * len(part) * 100 / used_kwh).quantize(_ONE_DECIMAL, ROUND_HALF_UP)
        if used_kwh
        else None,
        standby_eur_per_year=None
        if price_eur_per_kwh is None
        else (standby_kwh * price_eur_per_kwh).quantize(_CENT, ROUND_HALF_UP),
    )


def base_load_report(result: BaseLoad, curve: Curve) -> Report:
    """Return the base load as others read it; keys in docs/reference/cli.md. `curve`: it was measured on."""
    eur = result.standby_eur_per_year
    shown: dict[str, Json] = {
        "start": result.first.isoformat(),
        "end": result.until.isoformat(),
        "nights": result.nights,
        "uses_estimates": result.uses_estimates,
        "base_kw": str(result.base_kw),
        "low_kw": str(result.low_kw),
        "high_kw": str(result.high_kw),
        "standby_kwh_per_year": str(result.standby_kwh_per_year),
        "share_pct": None if result.share_pct is None else str(result.share_pct),
        "standby_eur_per_year": None if eur is None else str(eur),
    }
    quality = quality_of(curve, result.first, result.until).as_data_quality()
    return Report(result=shown, facts=tuple(_facts(result)), data_quality=quality)


def _facts(result: BaseLoad) -> Iterator[Fact]:
    period = FactPeriod(start=result.first.isoformat(), end=result.until.isoformat())
    source = BASE_LOAD_SOURCE
    yield Fact(id="base_load_kw", value=str(result.base_kw), unit="kW", period=period, source=source)
    yield Fact(
        id="standby_kwh_per_year",
        value=str(result.standby_kwh_per_year),
        unit="kWh/year",
        period=period,
        source=source,
    )
    if result.standby_eur_per_year is not None:
        yield Fact(
            id="standby_eur_per_year",
            value=str(result.standby_eur_per_year),
            unit="EUR/year",
            period=period,
            source=f"{source}; times the price given",
        )


def _exact(kilowatts: float) -> Decimal:
    return Decimal(repr(kilowatts)).quantize(_WATT, ROUND_HALF_UP)
