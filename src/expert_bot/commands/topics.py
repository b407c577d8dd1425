"""`expert-bot topics`: topics and subscriptions of an embedded or emulated bus."""

from __future__ import annotations

import asyncio

import typer

from expert_bot import show
from expert_bot.adapters import open_adapters
from expert_bot.commands.common import AsJson, print_json, start
from expert_bot.schemas.topology import topology


def add_to(app: typer.Typer) -> None:
    """Add `topics apply`."""
    group = typer.Typer(help="Topics and subscriptions.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("apply")(apply_topics)
    app.add_typer(group, name="topics")


def apply_topics(as_json: AsJson = False) -> None:
    """Create the topics and subscriptions that are missing (embedded bus and emulator; Terraform in the cloud)."""
    settings = start(quiet=True)

    async def apply() -> dict[str, list[str]]:
        async with open_adapters(settings) as adapters:
            report = await adapters.require_admin().apply(topology())
            return {"created": list(report.created), "existing": list(report.existing)}

    report = asyncio.run(apply())
    if as_json:
        print_json(report)
    else:
        show.names("created", report["created"])
        show.names("already there", report["existing"])
