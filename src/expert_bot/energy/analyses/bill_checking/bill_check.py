"""A printed bill against the computed one, line by line: what agrees, what does not, and why.

A line that does not agree is recomputed with other rows of the regulated tables, other day counts and other bases; what
gives exactly the printed amount with the fewest changes is named as its cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.bill_checking.bill_causes import Cause, CauseCode, find_line_causes
from expert_bot.energy.analyses.bill_checking.bill_checked import BillCheck, LineCheck, LineStatus
from expert_bot.energy.analyses.bill_checking.bill_printed import SUMS, PrintedBill, merged
from expert_bot.energy.analyses.bill_checking.bill_tax_causes import find_tax_causes, find_vat_causes
from expert_bot.energy.analyses.bill_checking.bill_total_causes import find_total_causes
from expert_bot.energy.bill.bill import Bill
from expert_bot.energy.bill.money import total
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.bill.taxes import tax_rates
from expert_bot.energy.calendar import Month
from expert_bot.energy.rules import RuleNotLoaded, Rules
from expert_bot.errors import UsageError

TAX, VAT, TOTAL = "electricity_tax", "vat", "total"
_OTHER: Final = ("meter_rental", "service_")
_CENT: Final = Decimal("0.01")
_NOTHING: Final = Decimal(0)


def check_bill(
    request: BillRequest,
    printed: PrintedBill,
    *,
    rules: Rules,
    confirmed: Mapping[Month, bool] | None = None,
) -> BillCheck:
    """Check every printed line and the total. Raises UsageError if nothing is printed, ValueError as `compute_bill`."""
    if not printed.lines and printed.total is None:
        raise UsageError("printed has neither lines nor a total: there is nothing to check")
    try:
        bill = request.compute(rules=rules, confirmed=confirmed)
    except RuleNotLoaded as error:
        return BillCheck(lines=tuple(_pending(printed, str(error))), bill=None)
    printed = merged(printed, [line.id for line in bill.lines])
    checker = _Checker(request, printed, bill, rules, confirmed)
    return BillCheck(lines=checker.check(), bill=bill)


def expected_of(bill: Bill, line_id: str) -> Decimal | None:
    """Return the computed amount of a line, or of all lines together that `power` or `energy` stands for."""
    amounts = {line.id: line.eur for line in bill.lines}
    if line_id in amounts:
        return amounts[line_id]
    parts = [eur for name, eur in amounts.items() if line_id in SUMS and name.startswith(f"{line_id}_")]
    return total(parts) if parts else None


class _Checker:
    """One check: the printed amounts beside the computed ones."""

    def __init__(
        self,
        request: BillRequest,
        printed: PrintedBill,
        bill: Bill,
        rules: Rules,
        confirmed: Mapping[Month, bool] | None,
    ) -> None:
        self._request, self._printed, self._bill, self._rules = request, printed, bill, rules
        self._confirmed = confirmed
        day = request.period.tax_day
        self._rates = tax_rates(request.contract, day, rules=rules, confirmed=confirmed)[0]
        self._labels = {line.id: line.label for line in bill.lines}
        self._is_complete = bool(printed.lines) and total(printed.lines.values()) == printed.total

    def check(self) -> tuple[LineCheck, ...]:
        lines = [self._check(line_id) for line_id in self._ids()]
        if self._printed.total is not None:
            lines.append(self._check_total(self._printed.total, lines))
        return tuple(lines)

    def _ids(self) -> list[str]:
        """Return the ids to check: those computed (a sum for its parts if it was printed), then unknown ones."""
        printed = self._printed.lines
        if not printed:
            return []
        ids: list[str] = []
        for line in [*(line.id for line in self._bill.lines), TAX, VAT]:
            name = next((each for each in SUMS if line.startswith(f"{each}_") and each in printed), line)
            if name not in ids and (name in printed or line in self._labels):
                ids.append(name)
        return ids + [name for name in printed if name not in ids]

    def _check(self, line_id: str) -> LineCheck:
        printed, expected = self._printed.lines.get(line_id), expected_of(self._bill, line_id)
        if line_id in {TAX, VAT} and self._bill.readings:
            return self._check_conditional(line_id, printed)
        if printed is None:
            is_nothing = not expected
            return self._line(
                line_id,
                printed,
                expected,
                LineStatus.MATCHES if is_nothing else LineStatus.DIFFERS,
                () if is_nothing else (Cause(code=CauseCode.NOT_PRINTED, text="the bill does not print it"),),
            )
        if expected is None:
            cause = Cause(code=CauseCode.NOT_IN_BILL, text="no such line follows from the contract")
            return self._line(line_id, printed, expected, LineStatus.DIFFERS, (cause,))
        if printed == expected:
            return self._line(line_id, printed, expected, LineStatus.MATCHES)
        causes = self._causes(line_id, printed) or _rounding(printed - expected)
        return self._line(line_id, printed, expected, _status(causes), causes)

    def _causes(self, line_id: str, printed: Decimal) -> tuple[Cause, ...]:
        if line_id == TAX:
            return find_tax_causes(
                self._request,
                printed,
                rules=self._rules,
                right=self._rates,
                base_eur=self._printed_taxed(),
                right_base_eur=self._bill.electricity_tax_base,
                other_eur=self._printed_other(),
                financing_eur=self._amount("bono_financing"),
            )
        if line_id == VAT:
            tax = self._printed.lines.get(TAX, self._bill.electricity_tax or _NOTHING)
            return find_vat_causes(
                self._request,
                printed,
                rules=self._rules,
                right=self._rates,
                electricity_eur=self._printed_taxed() + tax,
                other_eur=self._printed_other(),
                right_base_eur=self._bill.vat_base or _NOTHING,
            )
        return find_line_causes(
            self._request,
            printed,
            rules=self._rules,
            amount_of=lambda bill: expected_of(bill, line_id),
            line_id=line_id,
        )

    def _check_conditional(self, line_id: str, printed: Decimal | None) -> LineCheck:
        """Check a tax while the law leaves two readings: it matches one of them, or it has to wait."""
        amounts = {
            reading.condition: reading.electricity_tax if line_id == TAX else reading.vat
            for reading in self._bill.readings
        }
        for condition, expected in amounts.items():
            if printed == expected:
                cause = Cause(
                    code=CauseCode.CONDITIONAL_LAW, text=f"as the conditional law says if: {condition}"
                )
                return self._line(line_id, printed, expected, LineStatus.MATCHES, (cause,))
        either = " or ".join(f"{eur:f}" for eur in amounts.values())
        cause = Cause(
            code=CauseCode.OFFICIAL_DATA_PENDING,
            text=f"the law is not settled: {either} EUR on the right base",
        )
        return self._line(line_id, printed, None, LineStatus.PENDING, (cause,))

    def _check_total(self, printed: Decimal, lines: list[LineCheck]) -> LineCheck:
        if self._bill.total is None:
            return self._check_conditional_total(printed)
        if printed == self._bill.total:
            return self._line(TOTAL, printed, self._bill.total, LineStatus.MATCHES)
        if not lines:
            causes = find_total_causes(self._request, printed, rules=self._rules, confirmed=self._confirmed)
            return self._line(TOTAL, printed, self._bill.total, _status(causes), causes)
        if printed == self._sum_of_printed():
            cause = Cause(code=CauseCode.FOLLOWS_OTHER_LINES, text="the sum of the printed lines")
            return self._line(TOTAL, printed, self._bill.total, LineStatus.DIFFERENT_BASE, (cause,))
        cause = Cause(
            code=CauseCode.DOES_NOT_ADD_UP,
            text=f"the lines add up to {self._sum_of_printed():f} EUR (lines not printed as computed)",
        )
        return self._line(TOTAL, printed, self._bill.total, LineStatus.DIFFERS, (cause,))

    def _check_conditional_total(self, printed: Decimal) -> LineCheck:
        for reading in self._bill.readings:
            if printed == reading.total:
                cause = Cause(
                    code=CauseCode.CONDITIONAL_LAW,
                    text=f"as the conditional law says if: {reading.condition}",
                )
                return self._line(TOTAL, printed, reading.total, LineStatus.MATCHES, (cause,))
        either = " or ".join(f"{reading.total:f}" for reading in self._bill.readings)
        cause = Cause(code=CauseCode.OFFICIAL_DATA_PENDING, text=f"the law is not settled: {either} EUR")
        return self._line(TOTAL, printed, None, LineStatus.PENDING, (cause,))

    def _line(
        self,
        line_id: str,
        printed: Decimal | None,
        expected: Decimal | None,
        status: LineStatus,
        causes: tuple[Cause, ...] = (),
    ) -> LineCheck:
        return LineCheck(
            id=line_id,
            label=self._labels.get(line_id, line_id),
            printed_eur=printed,
            expected_eur=expected,
            status=status,
            causes=causes,
        )

    def _amount(self, line_id: str) -> Decimal:
        """Return what is printed; else what is computed, unless the printed lines alone make the printed total."""
        printed = self._printed.lines.get(line_id)
        if printed is not None:
            return printed
        return _NOTHING if self._is_complete else expected_of(self._bill, line_id) or _NOTHING

    def _printed_ids(self) -> list[str]:
        return [name for name in self._ids() or self._labels if name not in {TAX, VAT}]

    def _printed_taxed(self) -> Decimal:
        return total(self._amount(name) for name in self._printed_ids() if not name.startswith(_OTHER))

    def _printed_other(self) -> Decimal:
        return total(self._amount(name) for name in self._printed_ids() if name.startswith(_OTHER))

    def _sum_of_printed(self) -> Decimal:
        return total((self._printed_taxed(), self._printed_other(), self._amount(TAX), self._amount(VAT)))


def _status(causes: tuple[Cause, ...]) -> LineStatus:
    if any(cause.code.is_rate for cause in causes):
        return LineStatus.WRONG_RATE
    return LineStatus.DIFFERENT_BASE if causes else LineStatus.DIFFERS


def _rounding(difference_eur: Decimal) -> tuple[Cause, ...]:
    """Return that a single cent is a matter of where it was rounded."""
    if abs(difference_eur) != _CENT:
        return ()
    return (Cause(code=CauseCode.ROUNDING, text="a cent, rounded at another place"),)


def _pending(printed: PrintedBill, reason: str) -> list[LineCheck]:
    amounts = {**printed.lines, **({} if printed.total is None else {TOTAL: printed.total})}
    cause = Cause(code=CauseCode.OFFICIAL_DATA_PENDING, text=reason)
    return [
        LineCheck(
            id=name,
            label=name,
            printed_eur=eur,
            expected_eur=None,
            status=LineStatus.PENDING,
            causes=(cause,),
        )
        for name, eur in amounts.items()
    ]
