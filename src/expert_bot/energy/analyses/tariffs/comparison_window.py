"""Which months of a curve are compared, and by how much consumption may differ from them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import Curve, day_of
from expert_bot.energy.quality import CurveQuality

MONTHS: Final = 12
USUAL_VARIATION: Final = Decimal("0.15")
"""How much a year's consumption is taken to differ from the next one, where the user's own data do not show it."""

LEAST_VARIATION: Final = Decimal("0.05")
"""Two alike years in a row do not promise a third."""

ESTIMATE_ERROR: Final = Decimal("0.2")
"""How much the energy of estimated hours may be off: distributors fit estimates to the next real reading."""


def compared_months(curve: Curve, first: date | None = None, until: date | None = None) -> Curve:
    """Return the hours of the full calendar months between two days, or of the last 12 that the curve has.

    Raises ValueError if there is none.
    """
    if curve.first_day is None or curve.last_day is None:
        raise ValueError("there are no readings to compare tariffs on")
    begin = max(first or curve.first_day, curve.first_day)
    start = Month.of(begin) if begin.day == 1 else Month.of(begin).plus(1)
    end = _month_after(curve)
    if until is not None:
        end = min(end, Month.of(until))
    if first is None:
        start = max(start, end.plus(-MONTHS))
    months = curve.between(start.first_day, end.first_day)
    if start >= end or not len(months):
        raise ValueError(
            f"no full calendar month with readings between {begin} and {until or curve.last_day}: "
            "a comparison needs at least one"
        )
    return months


def _month_after(curve: Curve) -> Month:
    """Return the first month of which the curve does not reach the last day."""
    return Month.of(day_of(int(curve.local_days[-1]) + 1))


def variation_of(curve: Curve, compared: Curve, quality: CurveQuality) -> Decimal:
    """Return by which share consumption may differ from the compared months.

    From year to year as the user's own data show it, else as usual; plus the missing hours and a fifth of the estimated.
    """
    unsure = quality.hours_expected - quality.hours + quality.estimated_hours * ESTIMATE_ERROR
    share = _year_to_year(curve, compared, quality) + unsure / quality.hours_expected
    return min(share, Decimal(1))


def _year_to_year(curve: Curve, compared: Curve, quality: CurveQuality) -> Decimal:
    before_first, before_until = (
        Month.of(day).plus(-MONTHS).first_day for day in (quality.first, quality.until)
    )
    if curve.first_day is None or curve.first_day > before_first:
        return USUAL_VARIATION
    before = curve.between(before_first, before_until)
    if len(before) < len(compared) * 9 // 10 or not before.total_kwh():
        return USUAL_VARIATION
    return max(abs(compared.total_kwh() / before.total_kwh() - 1), LEAST_VARIATION)
