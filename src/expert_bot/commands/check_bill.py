"""Command: check-bill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from expert_bot.commands import advice_tables
from expert_bot.commands.bill import read_bill_request
from expert_bot.commands.common import AsJson, print_json, settled_law
from expert_bot.energy import rules
from expert_bot.energy.analyses.bill_checking.bill_check import check_bill
from expert_bot.energy.analyses.bill_checking.bill_check_report import bill_check_report
from expert_bot.energy.analyses.bill_checking.bill_printed import PrintedBill, split_printed
from expert_bot.energy.analyses.bill_checking.bill_qr import bill_of_qr
from expert_bot.energy.bill.fields import parse_json
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.formats.cnmc_qr import is_qr, parse_qr
from expert_bot.errors import UsageError

CheckedFile = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="The input of `bill` with a member `printed`, or a file with a QR code's address.",
    ),
]

_QR_BYTES: Final = 8192


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("check-bill")(check_printed_bill)


def check_printed_bill(file: CheckedFile, as_json: AsJson = False) -> None:
    """Check a printed bill line by line, or as far as its QR code tells it."""
    request, printed = _read_printed(file, quiet=as_json)
    try:
        check = check_bill(request, printed, rules=rules.load(), confirmed=settled_law())
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    if as_json:
        print_json(bill_check_report(check).as_json())
    else:
        advice_tables.show_bill_check(check)


def _read_printed(path: Path, *, quiet: bool) -> tuple[BillRequest, PrintedBill]:
    """Read INPUT.json with its member `printed`, or a file with the address of a QR code. Raises UsageError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    address = content[:_QR_BYTES].decode("utf-8", errors="replace").strip()
    if is_qr(address):
        return bill_of_qr(parse_qr(address), rules=rules.load())
    parsed = parse_json(content, str(path))
    try:
        document, printed = split_printed(parsed)
    except UsageError as error:
        raise UsageError(f"{path}: {error} (or the address of a QR code)") from error
    return read_bill_request(path, document, quiet=quiet), printed
