"""`expert-bot prices`: load hourly PVPC prices, from a file or from the price API."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from expert_bot.adapters import open_adapters
from expert_bot.commands.common import (
    EXIT_FAILED,
    AsJson,
    Zone,
    console,
    print_json,
    progress_console,
    start,
)
from expert_bot.config import Settings
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import expected_hours
from expert_bot.energy.prices import HourlyPrices, ParsedPrices, read_prices
from expert_bot.energy.report import Json
from expert_bot.errors import UsageError
from expert_bot.ports import Analytics, StoreReport
from expert_bot.storage.esios import EsiosClient

MAX_REJECTED_SHOWN = 20
_NOTHING = StoreReport(inserted=0, changed=0, unchanged=0)

PriceFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="PVPC prices: CSV datetime,price, ESIOS JSON or archive JSON.")
]
FirstDay = Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")]
EndDay = Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="First day after the last one.")]
Url = Annotated[str | None, typer.Option("--url", help="Where the price API is; default: the setting.")]


def add_to(app: typer.Typer) -> None:
    """Add `prices import` and `prices sync`."""
    group = typer.Typer(help="Hourly PVPC prices.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("import")(import_prices)
    group.command("sync")(sync_prices)
    app.add_typer(group, name="prices")


def import_prices(file: PriceFile, zone: Zone = TariffZone.PENINSULA, as_json: AsJson = False) -> None:
    """Load a file of hourly prices; loading it twice changes nothing."""
    settings = start(quiet=True)
    parsed = read_price_file(file, zone=zone, quiet=as_json)
    stored = asyncio.run(_store(settings, parsed.prices)) if len(parsed.prices) else _NOTHING
    report: dict[str, Json] = {
        "zone": zone.value,
        "rows_read": parsed.rows_read,
        "accepted": len(parsed.prices),
        **_stored(stored),
        "rejected": [{"line": row.line, "reason": row.reason} for row in parsed.rejected],
        **_days(parsed.prices),
    }
    if as_json:
        print_json(report)
    else:
        _show_import(parsed, stored)
    if not len(parsed.prices):
        raise typer.Exit(EXIT_FAILED)


def sync_prices(
    first: FirstDay,
    until: EndDay,
    zone: Zone = TariffZone.PENINSULA,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Load hourly prices from the price API of the system operator; days loaded before are compared, not doubled."""
    settings = start(quiet=True)
    begin, end = first.date(), until.date()
    report, prices = asyncio.run(_sync(settings, begin, end, zone, url, quiet=as_json))
    hours = sum(len(part) for part in prices)
    missing = expected_hours(begin, end, zone) - hours
    if as_json:
        print_json({"zone": zone.value, "hours": hours, "hours_missing": missing, **_stored(report)})
        return
    _show_stored(hours, report)
    if missing:
        console.print(f"[yellow]{missing} hours have no price (yet)[/]")


def read_price_file(path: Path, *, zone: TariffZone, quiet: bool) -> ParsedPrices:
    """Read a file of prices with a progress bar on standard error. Raises UsageError."""
    try:
        source, size = path.open("rb"), path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with source, Progress(transient=True, console=progress_console, disable=_no_bar(quiet)) as progress:
        reading = progress.wrap_file(source, total=size, description=f"Reading {escape(path.name)}")
        return read_prices(reading, zone=zone)


def _no_bar(quiet: bool) -> bool:  # one flag
    return quiet or not progress_console.is_terminal


async def _store(settings: Settings, prices: HourlyPrices) -> StoreReport:
    async with open_adapters(settings) as adapters:
        return await adapters.analytics.store_prices(prices)


async def _sync(
    settings: Settings, first: date, until: date, zone: TariffZone, url: str | None, *, quiet: bool
) -> tuple[StoreReport, list[HourlyPrices]]:
    """Store each part as it comes, so that what was loaded before a failure stays."""
    token = settings.esios_token.get_secret_value() if settings.esios_token else None
    async with (
        open_adapters(settings) as adapters,
        EsiosClient(base_url=url or settings.esios_url, token=token) as client,
    ):
        analytics: Analytics = adapters.analytics
        report, loaded = _NOTHING, []
        with Progress(transient=True, console=progress_console, disable=_no_bar(quiet)) as progress:
            bar = progress.add_task("Loading prices", total=max((until - first).days, 0))
            async for prices in client.prices(first, until, zone):
                report = _sum(report, await analytics.store_prices(prices))
                loaded.append(prices)
                progress.update(bar, advance=_day_count(prices))
        return report, loaded


def _sum(one: StoreReport, other: StoreReport) -> StoreReport:
    return StoreReport(
        inserted=one.inserted + other.inserted,
        changed=one.changed + other.changed,
        unchanged=one.unchanged + other.unchanged,
    )


def _day_count(prices: HourlyPrices) -> int:
    return (prices.last_day - prices.first_day).days + 1 if prices.first_day and prices.last_day else 0


def _stored(report: StoreReport) -> dict[str, Json]:
    return {"inserted": report.inserted, "changed": report.changed, "unchanged": report.unchanged}


def _days(prices: HourlyPrices) -> dict[str, Json]:
    days = {"first_day": prices.first_day, "last_day": prices.last_day}
    return {name: None if day is None else day.isoformat() for name, day in days.items()}


def _show_stored(hours: int, report: StoreReport) -> None:
    console.print(
        f"{hours} hours with a price: {report.inserted} new, {report.changed} changed, {report.unchanged} unchanged"
    )


def _show_import(parsed: ParsedPrices, stored: StoreReport) -> None:
    _show_stored(len(parsed.prices), stored)
    if parsed.prices.first_day:
        console.print(f"{parsed.prices.first_day} .. {parsed.prices.last_day} ({parsed.prices.zone.value})")
    else:
        console.print("[bold red]nothing usable: nothing was stored[/]")
    for row in parsed.rejected[:MAX_REJECTED_SHOWN]:
        console.print(f"  line {row.line}: {escape(row.reason)}", soft_wrap=True)
    if len(parsed.rejected) > MAX_REJECTED_SHOWN:
        console.print(f"  ... and {len(parsed.rejected) - MAX_REJECTED_SHOWN} more; --json lists all")
