"""How much power a home has drawn at most: by the meter's monthly maxima, or estimated from its hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import PERIODS, Curve, kwh
from expert_bot.energy.formats import Maximum
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError

HOUR_TO_PEAK_LOW: Final = Decimal("1.2")
HOUR_TO_PEAK_HIGH: Final = Decimal("1.4")
"""A home's highest quarter of an hour over its highest hour; the higher one decides the advice, so that nothing trips."""

MONTHS_USED: Final = 24
MONTHS_WANTED: Final = 12
_WATT: Final = Decimal("0.001")
_PERIOD_NAMES: Final = {
    "P1": PowerPeriod.P1,
    "1": PowerPeriod.P1,
    "PUNTA": PowerPeriod.P1,
    "LLANO": PowerPeriod.P1,
    "P2": PowerPeriod.P2,
    "2": PowerPeriod.P2,
    "P3": PowerPeriod.P2,
    "3": PowerPeriod.P2,
    "VALLE": PowerPeriod.P2,
}
_LLANO_NUMBERS: Final = frozenset({"P2", "2"})
_VALLE_NUMBERS: Final = frozenset({"P3", "3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The highest power of each period from low to high, kW, and the months behind it.

    From a maximeter both are the same; `is_estimate`: computed from hours.
    """

    low_kw: Mapping[PowerPeriod, Decimal]
    high_kw: Mapping[PowerPeriod, Decimal]
    first: Month
    last: Month
    months: int
    is_estimate: bool

    @property
    def source(self) -> str:
        """What the peaks come from."""
        if self.is_estimate:
            return f"highest hour of {self.months} months x {HOUR_TO_PEAK_LOW} to {HOUR_TO_PEAK_HIGH}"
        return f"maximeter of {self.months} months"


def find_peaks(maxima: Iterable[Maximum], curve: Curve) -> Peaks:
    """Return the peaks by the meter if it has twelve months of them; else estimated from the hours.

    An estimate is never below what the meter saw; without hours the meter has to do. Raises UsageError if there are
    neither, or as `peaks_from_meter`.
    """
    known = tuple(maxima)
    metered = peaks_from_meter(known) if known else None
    if metered is not None and (metered.months >= MONTHS_WANTED or not len(curve)):
        return metered
    estimated = peaks_from_hours(curve)
    if metered is None:
        return estimated
    return replace(
        estimated,
        low_kw={period: max(metered.low_kw[period], estimated.low_kw[period]) for period in PowerPeriod},
        high_kw={period: max(metered.high_kw[period], estimated.high_kw[period]) for period in PowerPeriod},
    )


def peaks_from_meter(maxima: Iterable[Maximum]) -> Peaks:
    """Return the peaks of the last 24 months with a maximum.

    Raises UsageError if P1 has none in them, or for a period that 2.0TD does not have.
    """
    given = tuple(maxima)
    names = {maximum.period.strip().upper() for maximum in given}
    is_llano = (
        _LLANO_NUMBERS if names & _VALLE_NUMBERS else frozenset()
    )  # three numbers: those of energy periods
    known = [
        (
            maximum.month,
            PowerPeriod.P1
            if maximum.period.strip().upper() in is_llano
            else power_period_named(maximum.period),
            maximum.power_kw,
        )
        for maximum in given
    ]
    if not known:
        raise UsageError("there are no monthly maxima")
    last = max(month for month, _, _ in known)
    used = [each for each in known if each[0] > last.plus(-MONTHS_USED)]
    peaks = {
        period: max((power for _, of, power in used if of is period), default=Decimal(0))
        for period in PowerPeriod
    }
    if not peaks[PowerPeriod.P1]:
        raise UsageError("the monthly maxima have none of P1 (punta)")
    months = {month for month, of, _ in used if of is PowerPeriod.P1}  # only P1 is ever lowered
    return Peaks(
        low_kw=peaks, high_kw=peaks, first=min(months), last=last, months=len(months), is_estimate=False
    )


def peaks_from_hours(curve: Curve) -> Peaks:
    """Estimate the peaks of a curve's last 24 months. Raises UsageError without readings."""
    if curve.last_day is None or curve.first_day is None:
        raise UsageError("there are no readings")
    last = Month.of(curve.last_day)
    used = curve.between(last.plus(1 - MONTHS_USED).first_day)
    is_valley = used.periods == PERIODS.index(Period.P3)
    hours_kw = {
        period: kwh(int(energy.max())) if len(energy) else Decimal(0)
        for period, energy in (
            (PowerPeriod.P1, used.energy_nkwh[~is_valley]),
            (PowerPeriod.P2, used.energy_nkwh[is_valley]),
        )
    }
    months = len(np.unique(used.local_days.astype("datetime64[D]").astype("datetime64[M]")))
    return Peaks(
        low_kw=_times(hours_kw, HOUR_TO_PEAK_LOW),
        high_kw=_times(hours_kw, HOUR_TO_PEAK_HIGH),
        first=Month.of(used.first_day or curve.first_day),
        last=last,
        months=months,
        is_estimate=True,
    )


def power_period_named(name: str) -> PowerPeriod:
    """Return the power period that a distributor's name means: P1 has punta and llano hours, P2 the valle.

    Raises UsageError for an unknown name.
    """
    period = _PERIOD_NAMES.get(name.strip().upper())
    if period is None:
        raise UsageError(f"no power period {name[:20]!r}; known: {', '.join(_PERIOD_NAMES)}")
    return period


def _times(powers_kw: Mapping[PowerPeriod, Decimal], factor: Decimal) -> dict[PowerPeriod, Decimal]:
    return {period: (power * factor).quantize(_WATT, ROUND_HALF_UP) for period, power in powers_kw.items()}
