"""What a kWp of panels makes in each hour at a place in Spain, from an offline table of yields per province.

The table gives the year's kWh and their spread over the months; the sun's geometry gives the hours of a day, and scales
other tilts and orientations. Days of a month differ as the clearness of real days does (Bendt et al., 1981), because a
bright day feeds more into the grid than a dull day saves.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from typing import Final, Self

import numpy as np

from expert_bot.energy.analyses.sun.solar_geometry import (
    CLEAR_DIFFUSE,
    DAYS,
    YEAR_DIFFUSE,
    Plane,
    irradiation_kwh_per_m2,
)
from expert_bot.energy.curve import Floats, Ints
from expert_bot.errors import UsageError

_MONTH_OF_DAY: Final = np.repeat(np.arange(12), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
_LEAP_DAY: Final = 59
_PERFORMANCE_RATIO: Final = 0.80
"""kWh made per kWh of clear-sky irradiation and kWp; only how far a month is from clear skies depends on it."""

_DULLEST, _CLEAREST_MEAN = 0.08, 0.95
"""Share of a clear day's energy on the dullest day, and the highest monthly mean for which days still differ."""

_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """A row of the table. `yield_kwh_per_kwp`: a year at `reference_tilt_deg`, facing south, 14 % losses.

    `month_shares`: of the year's energy, January first, together 1.
    """

    name: str
    latitude_deg: float
    longitude_deg: float
    yield_kwh_per_kwp: Decimal
    reference_tilt_deg: float
    month_shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldTable:
    """All provinces by the names people use, and how far the figures can be trusted."""

    provinces: Mapping[str, Province]
    names: tuple[str, ...]
    uncertainty: Decimal
    source: str
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Panels in a province: `tilt_deg` 0 flat .. 90 wall, `azimuth_deg` 0 south, 90 west, -90 east.

    ValueError for angles outside 0..90 and -180..180.
    """

    province: Province
    tilt_deg: float = 30.0
    azimuth_deg: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.tilt_deg <= 90:  # noqa: PLR2004 # see docstring
            raise ValueError(f"tilt_deg must be 0 (flat) .. 90 (wall), not {self.tilt_deg}")
        if not -180 <= self.azimuth_deg <= 180:  # noqa: PLR2004 # see docstring
            raise ValueError(f"azimuth_deg must be -180..180 (0 south, 90 west), not {self.azimuth_deg}")

    @classmethod
    def in_province(cls, name: str, *, tilt_deg: float = 30.0, azimuth_deg: float = 0.0) -> Self:
        """Return panels in a province by any of its usual names. Raises UsageError for an unknown one."""
        return cls(province=find_province(name), tilt_deg=tilt_deg, azimuth_deg=azimuth_deg)


def find_province(name: str) -> Province:
    """Return a province by name or capital, whatever its accents and case. Raises UsageError listing the names."""
    table = load_yields()
    article = name.rpartition(",")  # "Coruña, A", as the statistics office writes
    names = (name, *name.split("/"), f"{article[2]} {article[0]}".strip())
    province = next((found for each in names if (found := table.provinces.get(_key(each)))), None)
    if province is None:
        raise UsageError(f"no province {name[:40]!r}; known: {', '.join(table.names)}")
    return province


def hourly_yield(roof: Roof, start_hours: Ints) -> Floats:
    """Return kWh per kWp in each hour; `start_hours`: whole hours since 1970-01-01T00Z, any length."""
    days, hours = np.divmod(start_hours, 24)
    return _yield_by_day(roof)[_days_of_leap_year(days), hours]


def year_yield_kwh_per_kwp(roof: Roof) -> Decimal:
    """Return the kWh that a kWp makes in a year of 365 days, rounded to whole kWh."""
    by_day = _yield_by_day(roof).sum(axis=1)
    return Decimal(round(float(by_day.sum() - by_day[_LEAP_DAY])))


@cache
def load_yields() -> YieldTable:
    """Return the table that comes with the package."""
    text = resources.files("expert_bot.energy.analyses.sun").joinpath("solar_yield.json").read_text("utf-8")
    content = json.loads(text)
    provinces: dict[str, Province] = {}
    for row in content["provinces"]:
        climate = content["climates"][row["climate"]]
        weights = [float(weight) for weight in climate["monthly_weights"]]
        province = Province(
            name=row["name"],
            latitude_deg=float(row["latitude_deg"]),
            longitude_deg=float(row["longitude_deg"]),
            yield_kwh_per_kwp=Decimal(row["yield_kwh_per_kwp_year"]),
            reference_tilt_deg=float(climate["reference_tilt_deg"]),
            month_shares=tuple(weight / sum(weights) for weight in weights),
        )
        provinces.update({_key(name): province for name in (row["name"], *row["also"])})
    return YieldTable(
        provinces=provinces,
        names=tuple(row["name"] for row in content["provinces"]),
        uncertainty=Decimal(content["uncertainty_pct"]) / 100,
        source=content["source"],
        confidence=content["confidence"],
    )


def _key(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()
    return " ".join(plain.replace("-", " ").split())


@lru_cache(maxsize=64)
def _yield_by_day(roof: Roof) -> Floats:
    """Return kWh per kWp, shape (366, 24 UTC hours); a year of 365 days at the reference plane sums to the table."""
    province = roof.province
    plane = Plane(
        latitude_deg=province.latitude_deg,
        longitude_deg=province.longitude_deg,
        tilt_deg=roof.tilt_deg,
        azimuth_deg=roof.azimuth_deg,
    )
    reference = replace(plane, tilt_deg=province.reference_tilt_deg, azimuth_deg=0.0)
    factors = _day_factors(reference, province)
    by_day: Floats = irradiation_kwh_per_m2(plane, diffuse_share=YEAR_DIFFUSE) * factors[:, np.newaxis]
    by_day.flags.writeable = False
    return by_day


def _day_factors(reference: Plane, province: Province) -> Floats:
    """Return what each day's irradiation is multiplied by, so that each month has its kWh of the table."""
    clear = irradiation_kwh_per_m2(reference, diffuse_share=CLEAR_DIFFUSE).sum(axis=1)
    usual = irradiation_kwh_per_m2(reference, diffuse_share=YEAR_DIFFUSE).sum(axis=1)
    factors = np.empty(DAYS)
    for month, share in enumerate(province.month_shares):
        days = np.flatnonzero(month == _MONTH_OF_DAY)
        ordinary = days != _LEAP_DAY
        energy = float(province.yield_kwh_per_kwp) * share
        clearness = energy / (float(clear[days][ordinary].sum()) * _PERFORMANCE_RATIO)
        weather = _clearness_of_days(len(days), clearness, first=int(days[0]))
        factors[days] = weather * energy / float((usual[days] * weather)[ordinary].sum())
    return factors


def _clearness_of_days(count: int, mean: float, *, first: int) -> Floats:
    """Return clearness 0..1 of a month's days: an exponential distribution between dull and clear with this mean.

    Days take its quantiles in the order of the golden ratio, so that every year is the same and no week is all alike.
    """
    target = min(max(mean, 2 * _DULLEST), _CLEAREST_MEAN)
    gamma = _solve_gamma(round(target, 4))
    quantiles = (np.arange(first, first + count) * _GOLDEN) % 1.0
    low, high = np.exp(gamma * _DULLEST), np.exp(gamma)
    clearness: Floats = np.log(low + quantiles * (high - low)) / gamma
    return clearness


@cache
def _solve_gamma(mean: float) -> float:
    """Return the exponent of the density exp(gamma x) on [dullest, 1] that has this mean, by bisection."""
    low, high = -200.0, 200.0
    for _ in range(60):
        gamma = (low + high) / 2
        low, high = (gamma, high) if _mean_of(gamma) < mean else (low, gamma)
    return (low + high) / 2 or 1e-9


def _mean_of(gamma: float) -> float:
    span = 1 - _DULLEST
    if abs(gamma * span) < 1e-6:  # noqa: PLR2004 # the density is flat
        return _DULLEST + span / 2
    return float(_DULLEST + span / (1 - np.exp(-gamma * span)) - 1 / gamma)


def _days_of_leap_year(days: Ints) -> Ints:
    """Return the row 0..365 of a leap year for days since 1970-01-01; 29 February keeps its own row."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day_of_month = (dates - months.astype("datetime64[D]")).astype(np.int64)
    month = months.astype(np.int64) % 12
    rows: Ints = np.searchsorted(_MONTH_OF_DAY, month) + day_of_month
    return rows
