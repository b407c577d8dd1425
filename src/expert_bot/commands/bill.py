"""Command: bill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from expert_bot.commands.common import AsJson, console, print_json, read_curve, settled_law
from expert_bot.energy import rules
from expert_bot.energy.bill.bill import Bill
from expert_bot.energy.bill.bill_input import parse_bill_input
from expert_bot.energy.bill.fields import parse_json
from expert_bot.energy.bill.report import bill_report
from expert_bot.energy.bill.request import BillRequest, bill_request
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.price_files import parse_prices
from expert_bot.energy.prices import HourlyPrices
from expert_bot.errors import UsageError

InputFile = Annotated[Path, typer.Argument(metavar="INPUT.json", help="Contract, period and consumption.")]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("bill")(compute)


def compute(file: InputFile, as_json: AsJson = False) -> None:
    """Compute a bill line by line, to the cent."""
    request = read_bill_request(file, read_json(file), quiet=as_json)
    try:
        bill = request.compute(rules=rules.load(), confirmed=settled_law())
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    if as_json:
        print_json(bill_report(bill).as_json())
    else:
        show(bill)


def read_json(path: Path) -> object:
    """Read a JSON file with exact numbers. Raises UsageError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return parse_json(content, str(path))


def read_bill_request(path: Path, document: object, *, quiet: bool) -> BillRequest:
    """Check a bill's input and open the files it names, relative to the folder of `path`. Raises UsageError."""
    folder = path.parent

    def open_curve(name: str, zone: TariffZone) -> Curve:
        return read_curve(folder / name, zone=zone, quiet=quiet)

    def open_prices(name: str, zone: TariffZone) -> HourlyPrices:
        return read_prices(folder / name, zone=zone)

    try:
        return bill_request(
            parse_bill_input(document, str(path)), open_curve=open_curve, open_prices=open_prices
        )
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def read_prices(path: Path, *, zone: TariffZone) -> HourlyPrices:
    """Parse a file of hourly prices. Raises UsageError."""
    try:
        with path.open("rb") as source:
            return parse_prices(source, zone=zone)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def show(bill: Bill) -> None:
    """Show a bill as a table, and both totals where a law is conditional."""
    table = Table(title="Bill", title_justify="left", show_footer=bill.total is not None)
    table.add_column("line", footer="[bold]Total[/]")
    table.add_column("EUR", justify="right", footer=f"[bold]{bill.total}[/]")
    for line in bill.lines:
        table.add_row(escape(line.label), f"{line.eur:f}")
    console.print(table)
    if bill.readings:
        readings = Table(title="Conditional law: two readings, EUR", title_justify="left")
        for column in ("condition", "electricity tax", "VAT", "total"):
            readings.add_column(column, justify="left" if column == "condition" else "right")
        for each in bill.readings:
            readings.add_row(each.condition, f"{each.electricity_tax:f}", f"{each.vat:f}", f"{each.total:f}")
        console.print(readings)
    if bill.data_quality is not None and bill.data_quality.coverage_pct not in ("100", "100.0"):
        console.print(
            f"[yellow]Only {bill.data_quality.coverage_pct} % of the period's hours have a reading:"
            " the rest is not in this bill.[/]"
        )
