"""What a row of a curve holds, and the book that rows are collected in."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from expert_bot.energy.formats.days import HOUR_MIN
from expert_bot.energy.formats.parsed import RejectedRow
from expert_bot.energy.formats.placing import QUARTER_MIN, Row, Rows
from expert_bot.energy.readings import ReadingMethod
from expert_bot.errors import UsageError

MAX_ROWS: Final = (5 * 365 + 2) * 24
"""Five years of hours, two leap days included; a file of quarters may have four times as many rows."""

METHOD_NAMES: Final = {ReadingMethod.REAL: "Real", ReadingMethod.ESTIMATED: "Estimado"}


class Energies(NamedTuple):
    """What one row holds, kWh; None where the file has no such column or nothing in it."""

    energy_kwh: Decimal
    method: ReadingMethod = ReadingMethod.REAL
    surplus_kwh: Decimal | None = None
    generation_kwh: Decimal | None = None
    self_consumption_kwh: Decimal | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether no energy is in it."""
        return not (self.energy_kwh or self.surplus_kwh or self.generation_kwh or self.self_consumption_kwh)

    def __str__(self) -> str:
        return f"{self.energy_kwh:f} kWh ({METHOD_NAMES[self.method]})"


class RowBook:
    """Collects rows by day, the rejected ones, the supply points they name, and what is odd about them."""

    def __init__(self) -> None:
        self.rows_by_day: Rows[Energies] = {}
        self.rejected: list[RejectedRow] = []
        self.rows_read = 0
        self.cups: set[str] = set()
        self.notes: list[str] = []
        self._quarters = 0

    def count_row(self) -> None:
        """Count a row, good or not. Raises UsageError for more rows than five years have hours, or quarters."""
        self.rows_read += 1
        if self.rows_read - self._quarters > MAX_ROWS or self.rows_read > MAX_ROWS * HOUR_MIN // QUARTER_MIN:
            raise UsageError(f"the file has more than {MAX_ROWS} rows (5 years of hours): split it")

    def add(self, row: Row[Energies]) -> None:
        """Keep a row for its day."""
        self._quarters += row.label % HOUR_MIN > 0
        self.rows_by_day.setdefault(row.day, []).append(row)

    def reject(self, line: int, reason: str) -> None:
        """Keep the reason why a row is not used."""
        self.rejected.append(RejectedRow(line, reason))
