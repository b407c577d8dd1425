"""The rows of a CSV layout, cell by cell; each different cell is read once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

from expert_bot.energy.formats.cells import (
    RowError,
    parse_date,
    parse_energy,
    parse_label,
    parse_method,
    shown,
)
from expert_bot.energy.formats.csv_layouts import CsvLayout, check_width, split_columns
from expert_bot.energy.formats.panels import PanelCells
from expert_bot.energy.formats.parsed import Layout
from expert_bot.energy.formats.placing import Row
from expert_bot.energy.formats.rows import Energies
from expert_bot.energy.readings import ReadingMethod

T = TypeVar("T")

_NOTHING: Final = Energies(Decimal(0))
_SUMMER: Final = {"1": True, "0": False, "V": True, "I": False}
_UNKNOWN: Final = object()


class RowReader:
    """Reads the rows of one file. `cups`: the supply points that its rows name, as written; `panels`: its other cells."""

    def __init__(self, layout: CsvLayout) -> None:
        self.cups: set[str] = set()
        self.panels = PanelCells()
        self._layout = layout
        self._columns = layout.columns
        is_household = layout.layout is Layout.HOUSEHOLD
        name = layout.names.get
        self._day = memoised(
            partial(parse_date, name=name("start") or name("date") or "", iso_only=is_household)
        )
        self._label = memoised(
            partial(parse_label, name=name("start") or name("hour") or "", with_clock=not is_household)
        )
        role = "energy" if "energy" in layout.columns else "energy_wh"
        self._energy_at = layout.columns[role]
        self._energy = memoised(partial(parse_energy, name=layout.names[role], in_wh=role == "energy_wh"))
        self._method_at = layout.columns.get("method")
        self._method = memoised(partial(_method, name=name("method") or "", is_required=is_household))
        self._others = [self._other(role) for role in ("surplus", "generation", "self_consumption")]
        self._has_others = any(at is not None for at, _ in self._others)

    def read(self, line: int, content: bytes) -> Row[Energies]:
        """Read one row. Raises RowError if its columns, date or label are wrong; a wrong value becomes its `fault`."""
        cells = split_columns(content, self._layout.separator)
        check_width(cells, self._layout.width)
        day, label = self._when(cells)
        if "cups" in self._columns:
            self.cups.add(cells[self._columns["cups"]])
        try:
            value = self._energies(cells)
        except RowError as error:
            return Row(line, day, label, _NOTHING, str(error))
        season = self._columns.get("season")
        return Row(
            line, day, label, value, "", None if season is None else _SUMMER.get(cells[season].strip())
        )

    def _when(self, cells: list[str]) -> tuple[date, int]:
        """Return local day and label in minutes, as written."""
        start = self._columns.get("start")
        if start is not None:
            written = cells[start].strip()
            day_text, _, clock_text = written.replace("T", " ").partition(" ")
            if not clock_text:
                raise RowError(f"{self._layout.names['start']} {shown(written)} is not a date and a time")
            return self._day(day_text), self._label(clock_text)
        return self._day(cells[self._columns["date"]]), self._label(cells[self._columns["hour"]])

    def _energies(self, cells: list[str]) -> Energies:
        energy_kwh = self._energy(cells[self._energy_at])
        method = ReadingMethod.REAL if self._method_at is None else self._method(cells[self._method_at])
        if not self._has_others:
            return Energies(energy_kwh, method)
        others = (None if at is None else parse(cells[at]) for at, parse in self._others)
        return Energies(energy_kwh, method, *others)

    def _other(self, role: str) -> tuple[int | None, Callable[[str], Decimal | None]]:
        in_wh = f"{role}_wh" in self._columns
        name = self._layout.names.get(f"{role}_wh" if in_wh else role, "")
        position = self._columns.get(f"{role}_wh" if in_wh else role)
        return position, memoised(self.panels.or_unknown(partial(parse_energy, name=name, in_wh=in_wh)))


def memoised(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function that parses each text once, blanks around it removed; a refused text is parsed again."""
    known: dict[str, T] = {}

    def parse_once(text: str) -> T:
        value = known.get(text, _UNKNOWN)
        if value is _UNKNOWN:
            value = known[text] = parse(text.strip())
        return value  # type: ignore[return-value]  # _UNKNOWN was replaced

    return parse_once


def _method(text: str, *, name: str, is_required: bool) -> ReadingMethod:
    """Read the method; distributors leave it empty for values they have read."""
    return parse_method(text, name=name) if text or is_required else ReadingMethod.REAL
