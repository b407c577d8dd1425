"""Cells about panels: one that cannot be used costs no hour whose consumption is good."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from expert_bot.energy.formats.cells import RowError

T = TypeVar("T")


class PanelCells:
    """Reads what is fed in, made and used at once in one file, and remembers the first cell that could not be used."""

    def __init__(self) -> None:
        self._fault = ""

    @property
    def note(self) -> str:
        """What is odd about the file's cells, or empty."""
        if not self._fault:
            return ""
        return f"{self._fault}: such cells count as not known, the consumption of their hours is used"

    def or_unknown(self, parse: Callable[[T], Decimal]) -> Callable[[T], Decimal | None]:
        """Return a function that is `parse`, but None for a cell that is empty, null or not as `parse` allows."""

        def parse_if_possible(written: T) -> Decimal | None:
            if written is None or written == "":
                return None
            try:
                return parse(written)
            except RowError as error:
                self._fault = self._fault or str(error)
                return None

        return parse_if_possible
