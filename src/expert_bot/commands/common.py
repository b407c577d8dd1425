"""What commands share: options, reading a curve file, printing JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from expert_bot.app import confirmed_months
from expert_bot.config import Settings, load_settings
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import ParsedCurve, parse_curve
from expert_bot.errors import UsageError
from expert_bot.telemetry import configure_logging

EXIT_FAILED: Final = 1

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text for people.")]
User = Annotated[str, typer.Option("--user", help="The user's account id.")]
CurveFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A consumption file in any known layout; found by its content.")
]
Zone = Annotated[TariffZone, typer.Option("--zone", help="Where the supply point is.")]
MaybeZone = Annotated[
    TariffZone | None,
    typer.Option(
        "--zone", help="Where the supply point is; default: what the profile knows, else peninsula."
    ),
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.png", help="Also draw the result into this file.")
]

console = Console(highlight=False)
progress_console = Console(stderr=True)


def start(*, quiet: bool = False) -> Settings:
    """Read the settings and configure logging. `quiet`: warnings are not shown unless asked for. Raises SettingError."""
    settings = load_settings()
    configure_logging(
        "error" if quiet and settings.log_level == "info" else settings.log_level, settings.log_format
    )
    return settings


def settled_law() -> dict[Month, bool]:
    """Return the months of conditional tax law that the settings say are settled. Raises SettingError."""
    return confirmed_months(load_settings())


def print_json(value: object) -> None:
    """Print one JSON document to standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def read_file(path: Path, *, zone: TariffZone, quiet: bool) -> ParsedCurve:
    """Parse a consumption file with a progress bar on standard error. Raises UsageError."""
    try:
        source, size = path.open("rb"), path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with (
        source,
        Progress(
            transient=True, console=progress_console, disable=quiet or not progress_console.is_terminal
        ) as progress,
    ):
        return parse_curve(
            progress.wrap_file(source, total=size, description=f"Reading {path.name}"), zone=zone
        )


def read_curve(path: Path, *, zone: TariffZone, quiet: bool) -> Curve:
    """Parse a consumption file into a curve. Raises UsageError, also if no row of it can be used."""
    parsed = read_file(path, zone=zone, quiet=quiet)
    for note in () if quiet else parsed.notes:
        progress_console.print(f"note: {note}", markup=False)
    if not parsed.readings:
        first = f"; line {parsed.rejected[0].line}: {parsed.rejected[0].reason}" if parsed.rejected else ""
        raise UsageError(f"{path}: none of its {parsed.rows_read} rows can be used{first}")
    return Curve.from_readings(parsed.readings, zone=zone)
