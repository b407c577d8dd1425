"""Every row of the figures table, one after the other: `python -m tests.chaos [--quick] [--only NAME] [--json]`."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.ground import Ground
from tests.chaos.report import DEFAULT_FOLDER, Report
from tests.chaos.rows import ROWS, Needs, Row
from tests.emulators import firestore_emulator, pubsub_emulator

_console = Console(stderr=True)


def main(
    *,
    quick: Annotated[bool, typer.Option(help="As much as CI runs: minutes instead of an hour.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Rows by name; all if none is given.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every row; 0: a fresh one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run the rows, store their figures in `.cache/chaos`, and fail if any falls short."""
    unknown = set(only or ()) - {row.name for row in ROWS}
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}; known: {', '.join(row.name for row in ROWS)}"
        )
    chosen = [row for row in ROWS if not only or row.name in only]
    reports = [
        _run(row, f"{number}/{len(chosen)}", seed or secrets.randbelow(1_000_000) + 1, in_full=not quick)
        for number, row in enumerate(chosen, 1)
    ]
    summary = Path(os.environ.get("CHAOS_FIGURES", DEFAULT_FOLDER)) / "summary.json"
    text = json.dumps([asdict(report) for report in reports], indent=2)
    summary.write_text(text + "\n", "utf-8")
    if as_json:
        typer.echo(text)
    else:
        Console().print(_table(chosen, reports))
    raise typer.Exit(any(report.shortfalls for report in reports))


def _run(row: Row, place: str, seed: int, *, in_full: bool) -> Report:
    _console.print(f"[{place}] {row.name}: {row.claim}", markup=False)
    try:
        with tempfile.TemporaryDirectory() as folder, _ground(row, Path(folder)) as ground:
            report = row.run(ground, seed, _say, in_full=in_full)
    except Exception as error:  # noqa: BLE001  # a row that breaks is told, and the others still run
        traceback.print_exc()
        report = Report(name=row.name, seed=seed, shortfalls=[f"broke with {type(error).__name__}: {error}"])
    report.store()
    _say(f"{report.seconds:.0f} s, {'; '.join(report.shortfalls) or 'as it must be'}")
    return report


@contextlib.contextmanager
def _ground(row: Row, folder: Path) -> Iterator[Ground]:
    if row.needs is Needs.FILES:
        yield Ground(folder=folder)
        return
    with pubsub_emulator() as pubsub_host, firestore_emulator() as firestore_host:
        yield Ground(folder=folder, pubsub_host=pubsub_host, firestore_host=firestore_host)


def _say(text: str) -> None:
    _console.print(f"    {text}", markup=False, highlight=False)


def _table(rows: list[Row], reports: list[Report]) -> Table:
    table = Table("row", "must show", "figures", "seed", "seconds", "short of")
    for row, report in zip(rows, reports, strict=True):
        figures = ", ".join(f"{name} {value}" for name, value in report.figures.items() if value)
        table.add_row(
            row.name,
            row.claim,
            figures,
            str(report.seed),
            f"{report.seconds:.0f}",
            "; ".join(report.shortfalls),
        )
    return table


if __name__ == "__main__":
    typer.run(main)
