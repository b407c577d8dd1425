"""Datadis API answers, version 2 and 1: consumption by the hour, monthly maximum power, contract details.

Each element becomes a small record while the text is read, so that no tree of the whole file is ever held.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Final, NamedTuple, NoReturn

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats.cells import (
    RowError,
    parse_date,
    parse_energy,
    parse_label,
    parse_method,
    shown,
)
from expert_bot.energy.formats.csv_layouts import KNOWN, decode
from expert_bot.energy.formats.csv_rows import memoised
from expert_bot.energy.formats.datadis_supply import is_contract, is_maximum, parse_contract, parse_maximum
from expert_bot.energy.formats.days import HOUR_MIN, Edge
from expert_bot.energy.formats.hours import parsed_curve
from expert_bot.energy.formats.json_numbers import Number, number_text
from expert_bot.energy.formats.panels import PanelCells
from expert_bot.energy.formats.parsed import Layout, Maximum, ParsedCurve, SupplyContract
from expert_bot.energy.formats.placing import QUARTER_MIN, Row
from expert_bot.energy.formats.rows import MAX_ROWS, Energies, RowBook
from expert_bot.energy.readings import ReadingMethod
from expert_bot.errors import UsageError

_ENERGY: Final = "consumptionKWh"
_OTHERS: Final = ("surplusEnergyKWh", "generationEnergyKWh", "selfConsumptionEnergyKWh")
_BEFORE_A_VALUE: Final = (b",", b"[", b"{")
_LISTS: Final = ("timeCurve", "maxPower", "contract")
_NOTHING: Final = Energies(Decimal(0))
MAX_VALUES: Final = 16 * MAX_ROWS * HOUR_MIN // QUARTER_MIN
"""Nearly twice what five years of quarters need, 8 members and their object each: a tree of more takes too much memory."""
_UNKNOWN: Final[dict[str, object]] = {}


class _Element(NamedTuple):
    """The members of a consumption element that are read, as written."""

    cups: object
    date: object
    time: object
    energy: object
    method: object
    others: tuple[object, ...]


def parse_datadis(content: bytes, *, zone: TariffZone) -> ParsedCurve:
    """Read an answer, whole or only its list. Raises UsageError if it is no JSON, too much or no answer of that service.

    Of several contracts the one that started last counts, of those that started together the last one.
    """
    if sum(map(content.count, _BEFORE_A_VALUE)) > MAX_VALUES:
        raise UsageError(
            f"the JSON has more than {MAX_VALUES} values, more than 5 years of quarters have: split it"
        )
    root = _load(content)
    elements = _elements(root)
    first = next(elements, None)
    if first is None and not (isinstance(root, dict) and any(name in root for name in _LISTS)):
        raise UsageError(f"the file is JSON, but no answer of the Datadis API; {KNOWN}")
    reader, book = _Reader(), RowBook()
    maxima: list[Maximum] = []
    contracts: list[SupplyContract] = []
    for index, element in chain(() if first is None else (first,), elements):
        try:
            if isinstance(element, SupplyContract):
                contracts.append(element)
            else:
                book.count_row()
                if isinstance(element, _Element):
                    book.add(reader.read(index, element))
                elif isinstance(element, dict) and is_maximum(element):
                    maxima.append(parse_maximum(element))
                    book.cups.add(str(element.get("cups") or ""))
                else:
                    raise RowError(f"is not an object with {_ENERGY} or maxPower")  # noqa: TRY301 # one place rejects
        except RowError as error:
            book.reject(index, str(error))
    book.cups |= reader.cups
    book.notes.append(reader.panels.note)
    return parsed_curve(
        book,
        layout=Layout.DATADIS_API,
        zone=zone,
        edge=Edge.END,
        maxima=tuple(sorted(maxima, key=lambda each: (each.month, each.period, each.day, each.minute))),
        contract=max(reversed(contracts), key=_start, default=None),
    )


def _start(contract: SupplyContract) -> date:
    return contract.starts_on or date.min


class _Reader:
    """Reads consumption elements; each different text is parsed once."""

    def __init__(self) -> None:
        self.cups: set[str] = set()
        self._day = memoised(partial(parse_date, name="date"))
        self._label = memoised(partial(parse_label, name="time"))
        self._energy = memoised(partial(parse_energy, name=_ENERGY))
        self._method = memoised(_method)
        self.panels = PanelCells()
        self._others = [self._other(name) for name in _OTHERS]

    def read(self, index: int, element: _Element) -> Row[Energies]:
        """Read one element. Raises RowError if its date or time is wrong; a wrong value becomes the row's `fault`."""
        day, label = self._day(_text(element.date, "date")), self._label(_text(element.time, "time"))
        if isinstance(element.cups, str):
            self.cups.add(element.cups)
        try:
            value = Energies(
                self._energy(number_text(element.energy, _ENERGY)),
                self._method(_text(element.method, "obtainMethod", default="")),
                *(parse(written) for parse, written in zip(self._others, element.others, strict=True)),
            )
        except RowError as error:
            return Row(index, day, label, _NOTHING, str(error))
        return Row(index, day, label, value)

    def _other(self, name: str) -> Callable[[object], Decimal | None]:
        parse = memoised(partial(parse_energy, name=name))
        return self.panels.or_unknown(lambda written: parse(number_text(written, name)))


def _load(content: bytes) -> object:
    try:
        return json.loads(
            decode(content),
            object_hook=_compact,
            parse_float=Number,
            parse_int=Number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise UsageError(
            f"the file begins like JSON, but is not: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise UsageError("the file is JSON nested too deeply to be an answer of Datadis") from error


def _refuse_constant(name: str) -> NoReturn:
    raise UsageError(f"the file is not JSON: {name} is not a number")


def _compact(members: dict[str, object]) -> object:
    if _ENERGY in members:
        get = members.get
        return _Element(
            get("cups"),
            get("date"),
            get("time"),
            members[_ENERGY],
            get("obtainMethod"),
            tuple(get(name) for name in _OTHERS),
        )
    if is_contract(members):
        return parse_contract(members)
    return members if is_maximum(members) or any(name in members for name in _LISTS) else _UNKNOWN


def _elements(root: object) -> Iterator[tuple[int, object]]:
    """Yield each element with its number in its list, from 1: of the known lists, or of the document."""
    if isinstance(root, dict):
        for name in _LISTS:
            listed = root.get(name)
            if isinstance(listed, list):
                yield from enumerate(listed, start=1)
        return
    known = isinstance(root, list) and any(
        isinstance(each, (_Element, SupplyContract)) or (isinstance(each, dict) and is_maximum(each))
        for each in root
    )
    if isinstance(root, list) and known:
        yield from enumerate(root, start=1)


def _text(value: object, name: str, *, default: str | None = None) -> str:
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise RowError(f"{name} {shown(json.dumps(value, default=repr))} is not a text")
    return value


def _method(text: str) -> ReadingMethod:
    """Read the method; distributors leave it empty for values they have read."""
    return parse_method(text, name="obtainMethod") if text else ReadingMethod.REAL
