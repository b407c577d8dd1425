"""`expert-bot import`: load data into the stores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import Progress

from expert_bot import show
from expert_bot.adapters import open_adapters
from expert_bot.commands.bill import read_json
from expert_bot.commands.common import EXIT_FAILED, AsJson, CurveFile, MaybeZone, User, print_json, start
from expert_bot.config import Settings
from expert_bot.energy.bill.offers import parse_offers
from expert_bot.energy.calendar import TariffZone
from expert_bot.errors import UsageError
from expert_bot.household import offer_fields, offer_key
from expert_bot.ingest import ImportReport, import_consumption
from expert_bot.ports import Put


def add_to(app: typer.Typer) -> None:
    """Add `import consumption` and `import offers`."""
    group = typer.Typer(help="Load data.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("consumption")(import_consumption_file)
    group.command("offers")(import_offers)
    app.add_typer(group, name="import")


def import_consumption_file(
    file: CurveFile,
    user: User,
    zone: MaybeZone = None,
    as_json: AsJson = False,
) -> None:
    """Load a household's hourly consumption and refresh its profile; loading it twice changes nothing."""
    settings = start(quiet=True)
    try:
        source, size = file.open("rb"), file.stat().st_size
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    with (
        source,
        Progress(
            transient=True,
            console=show.progress_console,
            disable=as_json or not show.progress_console.is_terminal,
        ) as progress,
    ):
        lines = progress.wrap_file(source, total=size, description=f"Reading {file.name}")
        report = asyncio.run(_import(settings, lines, user, zone))
    if as_json:
        print_json(show.import_report(report))
    else:
        show.imported(report)
    if not (report.accepted or report.also_read):
        raise typer.Exit(EXIT_FAILED)


def import_offers(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Offers, as for `compare`.")],
    as_json: AsJson = False,
) -> None:
    """Store offers, by their ids, for comparisons that bring none of their own."""
    document: Any = read_json(file)
    parsed = parse_offers(document)
    listed: list[Any] = document["offers"] if isinstance(document, dict) else document
    good = {offer.id for offer in parsed.offers}
    stored = {each["id"]: each for each in listed if isinstance(each, dict) and each.get("id") in good}
    asyncio.run(_store_offers(start(quiet=True), stored))
    rejected = [{"index": offer.index, "id": offer.id, "reason": offer.reason} for offer in parsed.rejected]
    if as_json:
        print_json({"stored": sorted(stored), "rejected": rejected})
    else:
        show.names("stored", sorted(stored))
        show.names("rejected", [f"{each['index']} {each['id']}: {each['reason']}" for each in rejected])
    if not stored:
        raise typer.Exit(EXIT_FAILED)


async def _store_offers(settings: Settings, offers: Mapping[str, dict[str, Any]]) -> None:
    async with open_adapters(settings) as adapters:
        for offer_id, offer in offers.items():
            await adapters.documents.commit([Put(offer_key(offer_id), offer_fields(offer))])


async def _import(settings: Settings, lines: BinaryIO, user: str, zone: TariffZone | None) -> ImportReport:
    async with open_adapters(settings) as adapters:
        return await import_consumption(
            lines,
            user,
            adapters.analytics,
            adapters.documents,
            adapters.clock,
            adapters.identity,
            zone=zone,
        )
