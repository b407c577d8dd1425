"""What is loaded, what is not settled, what expires: the rules as a report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

from expert_bot.energy.report import Json, Report
from expert_bot.energy.rules.rows import Row, Status
from expert_bot.energy.rules.tables import Rules, Table

EXPIRY_DAYS: Final = 60
"""How long before its end a table is reported as expiring."""

_FRAME: Final = frozenset({"first", "until", "status", "norm", "confidence", "note"})


def rules_list(rules: Rules, on: date | None = None) -> Report:
    """Return every table with its rows, or only with those that hold on a day."""
    return Report(result={"on": _day(on), "tables": [_table(table, on) for table in rules.tables()]})


def rules_check(rules: Rules, on: date) -> Report:
    """Return which tables have no usable row on a day, which end within 60 days, and what is not settled yet."""
    missing, expiring = rules.missing_on(on), rules.expiring(on, EXPIRY_DAYS)
    return Report(
        result={
            "on": on.isoformat(),
            "ok": not missing,
            "missing": [_range(table) for table in missing],
            "expiring": [_range(table) for table in expiring],
            "unsettled": list(_unsettled(rules, on)),
        }
    )


def _table(table: Table[Row], on: date | None) -> Json:
    rows: list[Json] = [_row(row) for row in table.rows if on is None or row.first <= on < row.until]
    return {**_range(table), "unit": table.unit, "rows": rows}


def _range(table: Table[Row]) -> dict[str, Json]:
    return {
        "name": table.name,
        "title": table.title,
        "from": table.first.isoformat(),
        "until": table.until.isoformat(),
    }


def _row(row: Row) -> Json:
    return {
        "from": row.first.isoformat(),
        "until": row.until.isoformat(),
        "status": row.status.value,
        "values": row.model_dump(mode="json", exclude=set(_FRAME)),
        "norm": row.norm,
        "confidence": row.confidence.value,
        "note": row.note,
    }


def _unsettled(rules: Rules, on: date) -> Iterator[Json]:
    for table in rules.tables():
        for row in table.rows:
            if row.until > on and row.status is not Status.IN_FORCE:
                yield {
                    "name": table.name,
                    "from": row.first.isoformat(),
                    "until": row.until.isoformat(),
                    "status": row.status.value,
                    "norm": row.norm,
                }


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
