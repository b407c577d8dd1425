"""What came out of checking a bill: a status for each line, and why."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from expert_bot.energy.analyses.bill_checking.bill_causes import Cause, CauseCode
from expert_bot.energy.bill.bill import Bill


class LineStatus(StrEnum):
    """What came out for a line."""

    MATCHES = "matches"
    DIFFERS = "differs"
    WRONG_RATE = "wrong_rate"
    DIFFERENT_BASE = "different_base"
    PENDING = "pending_official_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCheck:
    """One line. `expected_eur` is None while official data are pending; `difference_eur`: printed less expected."""

    id: str
    label: str
    printed_eur: Decimal | None
    expected_eur: Decimal | None
    status: LineStatus
    causes: tuple[Cause, ...] = ()

    @property
    def difference_eur(self) -> Decimal | None:
        """Printed less expected; None if one of them is missing."""
        if self.printed_eur is None or self.expected_eur is None:
            return None
        return self.printed_eur - self.expected_eur


@dataclass(frozen=True, slots=True, kw_only=True)
class BillCheck:
    """All lines in the bill's order, then the total; `causes`: each once. `bill`: as computed, None if it cannot be."""

    lines: tuple[LineCheck, ...]
    bill: Bill | None

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Return the causes of all lines, each once; those that only follow from other lines are left out."""
        found = dict.fromkeys(cause for line in self.lines for cause in line.causes)
        return tuple(cause for cause in found if cause.code is not CauseCode.FOLLOWS_OTHER_LINES)

    @property
    def all_match(self) -> bool:
        """Whether every line matches."""
        return all(line.status is LineStatus.MATCHES for line in self.lines)
