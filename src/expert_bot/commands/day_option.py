"""Options that hold a day."""

from __future__ import annotations

from datetime import date

from expert_bot.errors import UsageError


def parse_day(option: str, text: str | None) -> date | None:
    """Read a day, None stays None. Raises UsageError that names the option."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text[:20]!r} is not a date YYYY-MM-DD") from error
