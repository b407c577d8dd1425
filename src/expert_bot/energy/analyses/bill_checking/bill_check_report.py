"""The common form of a checked bill."""

from __future__ import annotations

from decimal import Decimal

from expert_bot.energy.analyses.bill_checking.bill_causes import Cause
from expert_bot.energy.analyses.bill_checking.bill_check import TOTAL
from expert_bot.energy.analyses.bill_checking.bill_checked import BillCheck, LineCheck
from expert_bot.energy.analyses.year import make_fact, text
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact


def bill_check_report(check: BillCheck) -> Report:
    """Return the common form.

    Keys: `all_match`, `lines` (each `id`, `label`, `printed_eur`, `expected_eur`, `difference_eur`, `status`, `causes`),
    `causes` (each once: `code`, `text`, `norm`), `too_much_eur` (printed total less the computed one; negative: too
    little; null if one of them is missing). A status is `matches`, `differs`, `wrong_rate`, `different_base` or
    `pending_official_data`.
    """
    causes: list[Json] = [_cause(cause) for cause in check.causes]
    return Report(
        result={
            "all_match": check.all_match,
            "too_much_eur": _maybe(_too_much(check)),
            "lines": [_line(line) for line in check.lines],
            "causes": causes,
        },
        facts=(*_facts(check), *(check.bill.facts if check.bill else ())),
        data_quality=check.bill.data_quality if check.bill else None,
    )


def _line(line: LineCheck) -> Json:
    causes: list[Json] = [_cause(cause) for cause in line.causes]
    return {
        "id": line.id,
        "label": line.label,
        "printed_eur": _maybe(line.printed_eur),
        "expected_eur": _maybe(line.expected_eur),
        "difference_eur": _maybe(line.difference_eur),
        "status": line.status.value,
        "causes": causes,
    }


def _cause(cause: Cause) -> Json:
    return {"code": cause.code.value, "text": cause.text, "norm": cause.norm}


def _too_much(check: BillCheck) -> Decimal | None:
    return next((line.difference_eur for line in check.lines if line.id == TOTAL), None)


def _facts(check: BillCheck) -> tuple[Fact, ...]:
    facts = []
    for line in check.lines:
        if line.printed_eur is not None:
            facts.append(make_fact(f"printed_{line.id}", line.printed_eur, "EUR", "the printed bill"))
        if line.expected_eur is not None:
            facts.append(make_fact(f"expected_{line.id}", line.expected_eur, "EUR", "the bill, recomputed"))
    return tuple(facts)


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
