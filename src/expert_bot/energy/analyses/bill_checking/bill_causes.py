"""Why a printed line is not the computed one: the line again with other rows, other days, another length of the year."""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import Final, TypeVar

from expert_bot.energy.bill.bill import Bill
from expert_bot.energy.bill.contract import BillPeriod, PvpcTariff
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.rules import RuleNotLoaded, Rules, Status, Table
from expert_bot.energy.rules.rows import Row

AnyRow = TypeVar("AnyRow", bound=Row)
_ALWAYS: Final = {"first": date(2000, 1, 1), "until": date(2101, 1, 1)}
_YEAR_LENGTHS: Final = (365, 366)
_MOST_CHANGES: Final = 2


class CauseCode(StrEnum):
    """What kind of cause it is."""

    TOLLS_OF_OTHER_DATE = "tolls_of_other_date"
    ELECTRICITY_TAX_OF_OTHER_DATE = "electricity_tax_of_other_date"
    VAT_OF_OTHER_DATE = "vat_of_other_date"
    FINANCING_OF_OTHER_DATE = "financing_of_other_date"
    BONO_SOCIAL_OF_OTHER_DATE = "bono_social_of_other_date"
    MARGIN_LEFT_OUT = "margin_left_out"
    FLOOR_NOT_APPLIED = "floor_not_applied"
    FINANCING_LEFT_OUT = "financing_left_out"
    YEAR_LENGTH = "year_length"
    DAY_COUNT = "day_count"
    OTHER_BASE = "other_base"
    ROUNDING = "rounding"
    FOLLOWS_OTHER_LINES = "follows_other_lines"
    NOT_PRINTED = "not_printed"
    NOT_IN_BILL = "not_in_bill"
    DOES_NOT_ADD_UP = "does_not_add_up"
    CONDITIONAL_LAW = "conditional_law"
    OFFICIAL_DATA_PENDING = "official_data_pending"

    @property
    def is_rate(self) -> bool:
        """Whether a value of another date, or a rate that was not applied, is the cause."""
        return self in _RATES


_RATES: Final = frozenset(
    {
        CauseCode.TOLLS_OF_OTHER_DATE,
        CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE,
        CauseCode.VAT_OF_OTHER_DATE,
        CauseCode.FINANCING_OF_OTHER_DATE,
        CauseCode.BONO_SOCIAL_OF_OTHER_DATE,
        CauseCode.MARGIN_LEFT_OUT,
        CauseCode.FLOOR_NOT_APPLIED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a line is as printed. `norm`: the rule that was used although it does not hold, where there is one."""

    code: CauseCode
    text: str
    norm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing done otherwise: how the bill is asked for, or by which rules, and what it is called."""

    cause: Cause
    apply: Callable[[BillRequest, Rules], tuple[BillRequest, Rules]]


def find_line_causes(
    request: BillRequest,
    printed_eur: Decimal,
    *,
    rules: Rules,
    amount_of: Callable[[Bill], Decimal | None],
    line_id: str,
) -> tuple[Cause, ...]:
    """Return the fewest changes that give exactly the printed amount, at most two; empty if none do.

    Among as few, those to the latest earlier rule come first.
    """
    changes = tuple(_changes(request, rules, line_id))
    for count in range(1, _MOST_CHANGES + 1):
        for chosen in combinations(changes, count):
            changed = _apply(chosen, request, rules)
            if changed is None:
                continue
            if amount_of(changed) == printed_eur:
                return tuple(change.cause for change in chosen)
    return ()


def frozen_at(table: Table[AnyRow], row: AnyRow, **changes: object) -> Table[AnyRow]:
    """Return a table in which one row holds on every day."""
    return table.model_copy(update={"rows": (row.model_copy(update={**_ALWAYS, **changes}),)})


def other_rows(table: Table[AnyRow], days: BillPeriod) -> Iterator[AnyRow]:
    """Yield the settled rows of a table that do not hold on a bill's last day: earlier ones, latest first, then later."""
    settled = [row for row in table.rows if row.status is Status.IN_FORCE]
    yield from (row for row in reversed(settled) if row.until <= days.tax_day)
    yield from (row for row in settled if row.first > days.tax_day)


def dated(what: str, row: Row, code: CauseCode) -> Cause:
    """Return the cause that a row was used outside its dates."""
    return Cause(code=code, text=f"{what} of {row.first} to {row.until} (not included)", norm=row.norm)


def year_length_change(period: BillPeriod) -> Iterator[Change]:
    """Yield the changes to another length of the year: two for days of a leap year and of another."""
    actual = _lengths(period)
    for other in _YEAR_LENGTHS:
        if actual != (other,):
            text = f"yearly amounts divided by {other} days, not {' and '.join(map(str, actual))}"
            yield Change(
                cause=Cause(code=CauseCode.YEAR_LENGTH, text=text),
                apply=lambda request, rules, other=other: (  # type: ignore[misc]  # the default binds the loop's value
                    replace(request, period=replace(request.period, days_in_year=other)),
                    rules,
                ),
            )


def _changes(request: BillRequest, rules: Rules, line_id: str) -> Iterator[Change]:
    is_power = line_id.startswith("power")
    is_pvpc = isinstance(request.contract.tariff, PvpcTariff)
    if is_power and is_pvpc:
        yield from _table_changes(
            request, rules.tolls_charges, "tolls_charges", "tolls and charges", CauseCode.TOLLS_OF_OTHER_DATE
        )
        yield _without_margin(rules)
    if line_id == "bono_financing" and request.financing_eur_per_day is None:
        yield from _table_changes(
            request,
            rules.bono_social_financing,
            "bono_social_financing",
            "financing",
            CauseCode.FINANCING_OF_OTHER_DATE,
        )
    if line_id == "bono_discount":
        yield from _table_changes(
            request,
            rules.bono_social_percent,
            "bono_social_percent",
            "percentage",
            CauseCode.BONO_SOCIAL_OF_OTHER_DATE,
        )
    if is_power or line_id in {"bono_financing", "bono_discount", "meter_rental"}:
        if not is_power or is_pvpc:
            yield from year_length_change(request.period)
        yield from _day_changes(request)


def _table_changes(
    request: BillRequest, table: Table[AnyRow], name: str, what: str, code: CauseCode
) -> Iterator[Change]:
    for row in other_rows(table, request.period):
        frozen = frozen_at(table, row)
        yield Change(
            cause=dated(what, row, code),
            apply=lambda request, rules, frozen=frozen: (request, replace(rules, **{name: frozen})),  # type: ignore[misc]  # a table of the same kind
        )


def _without_margin(rules: Rules) -> Change:
    table = rules.pvpc_margin
    row = table.rows[-1]
    free = frozen_at(table, row, eur_per_kw_year=Decimal(0))
    return Change(
        cause=Cause(
            code=CauseCode.MARGIN_LEFT_OUT,
            text=f"without the margin of {row.eur_per_kw_year:f} EUR/kW a year",
            norm=row.norm,
        ),
        apply=lambda request, rules: (request, replace(rules, pvpc_margin=free)),
    )


def _day_changes(request: BillRequest) -> Iterator[Change]:
    for step in (-1, 1):
        days = request.period.days + step
        yield Change(
            cause=Cause(code=CauseCode.DAY_COUNT, text=f"{days} days, not {request.period.days}"),
            apply=lambda request, rules, days=days: (  # type: ignore[misc]  # the default binds the loop's value
                replace(
                    request,
                    period=replace(request.period, days=days),
                    meter_rental_days=days,
                ),
                rules,
            ),
        )


def _apply(changes: tuple[Change, ...], request: BillRequest, rules: Rules) -> Bill | None:
    try:
        for change in changes:
            request, rules = change.apply(request, rules)
        return request.compute(rules=rules)
    except (ValueError, RuleNotLoaded):  # days that cannot be, or before the loaded rules
        return None


def _lengths(period: BillPeriod) -> tuple[int, ...]:
    """Return what the yearly amounts of a bill are divided by."""
    if period.days_in_year is not None:
        return (period.days_in_year,)
    years = range(period.first.year, (period.until - timedelta(days=1)).year + 1)
    return tuple(dict.fromkeys(366 if isleap(year) else 365 for year in years))
