"""Commands: rules list, rules check."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from expert_bot.commands.common import AsJson, console, print_json
from expert_bot.energy import rules
from expert_bot.energy.calendar import madrid
from expert_bot.energy.rules.report import EXPIRY_DAYS, rules_check, rules_list

EXIT_NOT_COVERED: Final = 1

rules_app = typer.Typer(help="The regulated values that bills are computed from.", no_args_is_help=True)
On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="A day; today unless given.")]
OnlyOn = Annotated[
    datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Only what holds on this day.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(rules_app, name="rules")


@rules_app.command("list")
def list_rules(on: OnlyOn = None, as_json: AsJson = False) -> None:
    """List the loaded values with their dates, status and norm."""
    report = rules_list(rules.load(), on.date() if on else None).as_json()
    if as_json:
        print_json(report)
        return
    for table in _objects(report["tables"]):
        shown = Table(title=escape(f"{table['title']} ({table['unit']})"), title_justify="left")
        for column in ("from", "until", "values", "status", "conf.", "norm"):
            shown.add_column(column, overflow="fold")
        for row in _objects(table["rows"]):
            shown.add_row(
                row["from"],
                row["until"],
                escape(_values(row["values"])),
                row["status"],
                row["confidence"],
                escape(row["norm"]),
            )
        console.print(shown)


@rules_app.command("check")
def check(on: On = None, as_json: AsJson = False) -> None:
    """Check that every table covers a day, and tell what ends soon or is not settled. Exit code 1 if one does not."""
    day = on.date() if on else datetime.now(madrid()).date()
    report = rules_check(rules.load(), day).as_json()
    if as_json:
        print_json(report)
    else:
        for table in _objects(report["missing"]):
            console.print(
                f"[bold red]missing[/] {escape(table['title'])}: loaded from {table['from']} to {table['until']}"
            )
        for table in _objects(report["expiring"]):
            console.print(f"[yellow]ends {table['until']}[/] {escape(table['title'])}")
        for row in _objects(report["unsettled"]):
            console.print(
                f"[cyan]{row['status']}[/] {row['name']} from {row['from']} to {row['until']}: {escape(row['norm'])}"
            )
        covered = "every table covers it" if report["ok"] else "not covered"
        console.print(f"{day}: {covered}; shown is what ends within {EXPIRY_DAYS} days.")
    if not report["ok"]:
        raise typer.Exit(EXIT_NOT_COVERED)


def _values(values: dict[str, Any]) -> str:
    """Write the values of a row in one cell."""
    return "; ".join(
        f"{name} {_values(value) if isinstance(value, dict) else value}" for name, value in values.items()
    )


def _objects(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 # a list of a report's JSON
    found: list[dict[str, Any]] = value
    return found
