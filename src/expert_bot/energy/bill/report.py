"""A bill as JSON: the form the command line prints."""

from __future__ import annotations

from decimal import Decimal

from expert_bot.energy.bill.bill import Bill
from expert_bot.energy.report import Json, Report


def bill_report(bill: Bill) -> Report:
    """Return the bill with stable keys, EUR as text with two decimals, null where two readings stand instead."""
    lines: list[Json] = [{"id": line.id, "label": line.label, "eur": f"{line.eur:f}"} for line in bill.lines]
    readings: list[Json] = [
        {
            "condition": reading.condition,
            "electricity_tax": f"{reading.electricity_tax:f}",
            "vat": f"{reading.vat:f}",
            "total": f"{reading.total:f}",
        }
        for reading in bill.readings
    ]
    return Report(
        result={
            "lines": lines,
            "electricity_tax_base": f"{bill.electricity_tax_base:f}",
            "electricity_tax": _text(bill.electricity_tax),
            "vat_base": _text(bill.vat_base),
            "vat": _text(bill.vat),
            "total": _text(bill.total),
            "readings": readings,
        },
        facts=bill.facts,
        data_quality=bill.data_quality,
    )


def _text(eur: Decimal | None) -> str | None:
    return None if eur is None else f"{eur:f}"
