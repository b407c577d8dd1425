"""What is raised where no official value is loaded."""

from __future__ import annotations

from datetime import date

from expert_bot.errors import ExpertBotError


class RuleNotLoaded(ExpertBotError):  # noqa: N818 # the name that the design and the answers use
    """No official value of `name` is loaded for `day`; loaded are the days from `first` to `until` (exclusive)."""

    def __init__(self, name: str, day: date, first: date, until: date) -> None:
        super().__init__(
            f"no official value loaded for {name} on {day}; loaded: {first} to {until} (not included)"
        )
        self.name = name
        self.day = day
        self.first = first
        self.until = until
