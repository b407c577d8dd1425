"""The typical week of a home: mean energy by weekday and hour of the local clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from expert_bot.energy.curve import NANO, Curve, Ints
from expert_bot.energy.quality import CurveQuality, quality_of
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact, FactPeriod

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SOURCE: Final = "query: mean of the readings of the file by weekday and hour of the local clock"
_FIRST_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
_HOURS: Final = 24
_WATT_HOUR: Final = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekProfile:
    """Mean kWh by weekday (0 Monday..6) and local hour (0..23): `sum_nkwh` over `hours` readings, each shape (7, 24)."""

    sum_nkwh: Ints
    hours: Ints
    quality: CurveQuality

    def mean_kwh(self, weekday: int, hour: int) -> Decimal | None:
        """Return a mean rounded to the watt-hour, None where no hour has a reading."""
        count = int(self.hours[weekday, hour])
        if not count:
            return None
        exact = Decimal(int(self.sum_nkwh[weekday, hour])) / (count * NANO)
        return exact.quantize(_WATT_HOUR, ROUND_HALF_UP)


def week_profile(curve: Curve, first: date | None = None, until: date | None = None) -> WeekProfile:
    """Average the local days from `first` to `until` (exclusive; None: where the curve begins, ends). Raises ValueError."""
    quality = quality_of(curve, first, until)
    part = curve.between(quality.first, quality.until)
    cells = (part.local_days + _FIRST_WEEKDAY) % len(WEEKDAYS) * _HOURS + part.local_hours
    sums = np.zeros(len(WEEKDAYS) * _HOURS, dtype=np.int64)
    np.add.at(sums, cells, part.energy_nkwh)
    hours = np.bincount(cells, minlength=len(sums)).astype(np.int64)
    shape = (len(WEEKDAYS), _HOURS)
    return WeekProfile(sum_nkwh=sums.reshape(shape), hours=hours.reshape(shape), quality=quality)


def week_report(profile: WeekProfile) -> Report:
    """Return the week as others read it: `mean_kwh` by weekday, 24 texts each, null where there is no reading."""
    means: dict[str, Json] = {}
    highest: tuple[Decimal, str, int] | None = None
    for number, weekday in enumerate(WEEKDAYS):
        row = [profile.mean_kwh(number, hour) for hour in range(_HOURS)]
        means[weekday] = [None if mean is None else f"{mean:f}" for mean in row]
        for hour, mean in enumerate(row):
            if mean is not None and (highest is None or mean > highest[0]):
                highest = (mean, weekday, hour)
    quality = profile.quality.as_data_quality()
    period = FactPeriod(start=profile.quality.first.isoformat(), end=profile.quality.until.isoformat())
    facts: tuple[Fact, ...] = ()
    peak: Json = None
    if highest is not None:
        mean, weekday, hour = highest
        peak = {"weekday": weekday, "hour": hour, "mean_kwh": f"{mean:f}"}
        facts = (
            Fact(
                id="week_peak_mean",
                value=f"{mean:f}",
                unit="kWh",
                period=period,
                source=_SOURCE,
                data_quality=quality,
            ),
            Fact(id="week_peak_weekday", value=weekday, unit="word", period=period, source=_SOURCE),
            Fact(id="week_peak_hour", value=str(hour), unit="h", period=period, source=_SOURCE),
        )
    return Report(
        result={
            "from": profile.quality.first.isoformat(),
            "to": profile.quality.until.isoformat(),
            "rows": int(profile.hours.sum()),
            "peak": peak,
            "mean_kwh": means,
        },
        facts=facts,
        data_quality=quality,
    )
