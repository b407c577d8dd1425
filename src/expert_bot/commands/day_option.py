"""Options that hold a day."""

from __future__ import annotations

from datetime import date

from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.errors import UsageError


def parse_day(option: str, text: str | None) -> date | None:
    """Read a day, None stays None. Raises UsageError that names the option."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text[:20]!r} is not a date YYYY-MM-DD") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise UsageError(f"{option} {day} must be in the years {FIRST_YEAR}..{LAST_YEAR}")
    return day
