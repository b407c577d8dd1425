"""What is wrong with the data rather than with the home: holes, long estimates, a meter that suddenly counts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from expert_bot.energy.analyses.anomaly_detection.anomaly import MIN_STRENGTH, Anomaly, AnomalyKind
from expert_bot.energy.calendar import time_zone_of
from expert_bot.energy.curve import Bools, Curve, Ints, instant_of_hour

MISSING_HOURS: Final = 24
ESTIMATED_HOURS: Final = 7 * 24
ZERO_HOURS: Final = 24
ZEROS_BEFORE: Final = 0.02
"""A home that counts nothing in more than this share of the four weeks before is used to it."""

_FOUR_WEEKS: Final = 28 * 24
_DAY_H: Final = 24
_MOST_DAYS: Final = 20
"""So many days of bad data are as clear as it gets: longer is not stronger."""


def data_findings(curve: Curve) -> Iterator[Anomaly]:
    """Yield a day or more without readings, a week or more of estimates, a day or more of unwonted zeros."""
    hours = curve.start_hours
    ends = np.flatnonzero(np.diff(hours) > MISSING_HOURS)
    for index in ends.tolist():
        start, end = int(hours[index]) + 1, int(hours[index + 1])
        yield _finding(curve, AnomalyKind.MISSING, start, end, "no readings for {hours} hours from {start}")
    for start, end in _runs(hours, curve.estimated, ESTIMATED_HOURS):
        yield _finding(
            curve,
            AnomalyKind.ESTIMATED,
            start,
            end,
            "{hours} hours from {start} were estimated by the distributor, not metered",
        )
    nothing = curve.energy_nkwh == 0
    for start, end in _runs(hours, nothing, ZERO_HOURS):
        index = int(np.searchsorted(hours, start))
        if index >= _FOUR_WEEKS and nothing[index - _FOUR_WEEKS : index].mean() <= ZEROS_BEFORE:
            yield _finding(
                curve,
                AnomalyKind.ZEROS,
                start,
                end,
                "0 kWh in each of {hours} hours from {start}: a cut, or the meter",
            )


def _runs(hours: Ints, mask: Bools, at_least: int) -> Iterator[tuple[int, int]]:
    """Yield start and end (hour numbers, exclusive) of consecutive hours where `mask` is true."""
    chosen = hours[mask]
    if not len(chosen):
        return
    cuts = np.flatnonzero(np.diff(chosen) != 1)
    for first, last in zip(
        chosen[np.concatenate([[0], cuts + 1])].tolist(),
        chosen[np.concatenate([cuts, [len(chosen) - 1]])].tolist(),
        strict=True,
    ):
        if last + 1 - first >= at_least:
            yield first, last + 1


def _finding(curve: Curve, kind: AnomalyKind, start: int, end: int, reason: str) -> Anomaly:
    first, last = _local_day(curve, start), _local_day(curve, end - 1)
    count = end - start
    at_least = {AnomalyKind.ESTIMATED: ESTIMATED_HOURS}.get(kind, MISSING_HOURS)
    return Anomaly(
        kind=kind,
        first=first,
        until=last + timedelta(days=1),
        told_on=min(_local_day(curve, end), _last_day(curve)),
        strength=MIN_STRENGTH + min(count / at_least, _MOST_DAYS),
        unit="h",
        actual=Decimal(count),
        usual=Decimal(0),
        excess_kwh=None,
        reason=reason.format(hours=count, start=first),
    )


def _local_day(curve: Curve, hour: int) -> date:
    return instant_of_hour(hour).astimezone(time_zone_of(curve.zone)).date()


def _last_day(curve: Curve) -> date:
    return _local_day(curve, int(curve.start_hours[-1]))
