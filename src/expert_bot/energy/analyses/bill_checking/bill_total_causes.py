"""Why a printed total is not the computed one, where the bill's lines are not known: rates of an earlier day.

Software that was not updated uses all its old values at once. So each earlier day is tried with the rates of that day;
with a length of the year, a floor or a financing left out besides if need be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Final

from expert_bot.energy.analyses.bill_checking.bill_causes import (
    Cause,
    CauseCode,
    dated,
    frozen_at,
    year_length_change,
)
from expert_bot.energy.bill.contract import PvpcTariff
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.bill.taxes import IVA_ZONES
from expert_bot.energy.calendar import Month
from expert_bot.energy.rules import Rules, Status
from expert_bot.energy.rules.rows import Row

_NO_FLOOR: Final = Cause(code=CauseCode.FLOOR_NOT_APPLIED, text="the least tax of 1 EUR/MWh was not applied")
_NO_FINANCING: Final = Cause(
    code=CauseCode.FINANCING_LEFT_OUT, text="without the financing of the bono social"
)
_DAY: Final = timedelta(days=1)
_TABLES: Final = (
    ("tolls_charges", "tolls and charges", CauseCode.TOLLS_OF_OTHER_DATE),
    ("electricity_tax", "electricity tax", CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE),
    ("vat", "VAT", CauseCode.VAT_OF_OTHER_DATE),
)


@dataclass(frozen=True, slots=True)
class _Trial:
    request: BillRequest
    rules: Rules
    causes: tuple[Cause, ...]
    weight: int


def find_total_causes(
    request: BillRequest,
    printed_eur: Decimal,
    *,
    rules: Rules,
    confirmed: Mapping[Month, bool] | None = None,
) -> tuple[Cause, ...]:
    """Return what would give exactly the printed total, with the fewest changes; empty if nothing does.

    An explanation, not a proof: a total alone may have several.
    """
    trials = sorted(_trials(request, rules), key=lambda trial: trial.weight)
    for trial in trials:
        bill = trial.request.compute(rules=trial.rules, confirmed=confirmed)
        if trial.causes and bill.total == printed_eur:
            return trial.causes
    return ()


def _trials(request: BillRequest, rules: Rules) -> Iterator[_Trial]:
    for (stale, stale_causes, stale_weight), length, floor, financing in product(
        _stale_rules(request, rules),
        (None, *year_length_change(request.period)),
        (False, True),
        (False, True),
    ):
        asked, used, causes = request, stale, list(stale_causes)
        if length is not None:
            asked, used = length.apply(asked, used)
            causes.append(length.cause)
        if floor:
            used = _without_floor(used, request.period.tax_day)
            causes.append(_NO_FLOOR)
        if financing:
            asked = replace(asked, financing_eur_per_day=Decimal(0))
            causes.append(_NO_FINANCING)
        yield _Trial(asked, used, tuple(causes), stale_weight + (length is not None) + floor + financing)


def _stale_rules(request: BillRequest, rules: Rules) -> Iterator[tuple[Rules, tuple[Cause, ...], int]]:
    """Yield the right rules, then those of each earlier day on which one of the tables changed, latest first."""
    yield rules, (), 0
    tax_day = request.period.tax_day
    days = {
        row.until - _DAY
        for name, _, _ in _TABLES
        for row in getattr(rules, name).rows
        if row.until <= tax_day and row.status is Status.IN_FORCE
    }
    for day in sorted(days, reverse=True):
        for tables in (_TABLES, _TABLES[1:]):
            yield _of_day(request, rules, day, tables)


def _of_day(
    request: BillRequest, rules: Rules, day: date, tables: tuple[tuple[str, str, CauseCode], ...]
) -> tuple[Rules, tuple[Cause, ...], int]:
    causes = []
    for name, what, code in tables:
        table = getattr(rules, name)
        row: Row = table.on(day)
        is_of_another = name == "tolls_charges" and not isinstance(request.contract.tariff, PvpcTariff)
        is_of_another |= name == "vat" and request.contract.zone not in IVA_ZONES
        if is_of_another or _values(row) == _values(table.on(request.period.tax_day)):
            continue
        rules = replace(rules, **{name: frozen_at(table, row)})
        causes.append(dated(what, row, code))
    return rules, tuple(causes), 1


def _values(row: Row) -> dict[str, object]:
    return row.model_dump(exclude={"first", "until", "norm", "confidence", "note"})


def _without_floor(rules: Rules, day: date) -> Rules:
    table = rules.electricity_tax
    free = frozen_at(table, table.on(day), floor_eur_per_mwh=Decimal(0))
    return replace(rules, electricity_tax=free)
