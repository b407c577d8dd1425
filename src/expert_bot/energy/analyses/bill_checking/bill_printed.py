"""What a bill prints, to be checked: the member `printed` of the input."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from expert_bot.energy.bill.fields import read_number
from expert_bot.energy.bill.money import cents
from expert_bot.errors import UsageError

SUMS: Final = ("power", "energy")
"""Ids a printed bill may use for all its power or energy lines together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedBill:
    """What a bill prints: EUR by line id (those of a computed bill, or `power` and `energy` for sums), and its total."""

    lines: Mapping[str, Decimal]
    total: Decimal | None = None


def merged(printed: PrintedBill, line_ids: Collection[str]) -> PrintedBill:
    """Return the printed bill with `power_..` or `energy_..` lines added up where `line_ids` has only their sum."""
    lines: dict[str, Decimal] = {}
    for name, eur in printed.lines.items():
        whole = next((each for each in SUMS if name.startswith(f"{each}_") and name not in line_ids), name)
        target = whole if whole in line_ids else name
        lines[target] = lines.get(target, Decimal(0)) + eur
    return PrintedBill(lines=lines, total=printed.total)


def split_printed(document: object) -> tuple[dict[str, object], PrintedBill]:
    """Return the input of a bill, and what its member `printed` says was printed. Raises UsageError."""
    if not isinstance(document, Mapping) or "printed" not in document:
        raise UsageError('the input of `bill` needs a member "printed" beside it: what is to be checked')
    rest = {str(name): value for name, value in document.items() if name != "printed"}
    return rest, parse_printed(document["printed"])


def parse_printed(document: object) -> PrintedBill:
    """Read the member `printed` of the input: `lines` (EUR by id) and `total`. Raises UsageError."""
    if not isinstance(document, Mapping) or not document.keys() <= {"lines", "total"} or not document:
        raise UsageError(
            'printed must be {"lines": {"power_p1": "13.58", ...}, "total": "60.77"}, one or both'
        )
    lines = document.get("lines") or {}
    if not isinstance(lines, Mapping):
        raise UsageError("printed.lines must be an object of amounts in EUR by line id")
    return PrintedBill(
        lines={str(name): _amount(f"printed.lines.{str(name)[:40]}", value) for name, value in lines.items()},
        total=None if document.get("total") is None else _amount("printed.total", document["total"]),
    )


def _amount(name: str, value: object) -> Decimal:
    try:
        return cents(read_number(value))
    except ValueError as error:
        raise UsageError(f"{name} {error}") from error
