"""`expert-bot contract`: the generated contract files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expert_bot.errors import ExpertBotError
from expert_bot.schemas import contract as contracts

Root = Annotated[Path, typer.Option("--root", help="The repository's root.", exists=True, file_okay=False)]


def add_to(app: typer.Typer) -> None:
    """Add `contract write`, `check` and `show`."""
    group = typer.Typer(
        help="The generated contract: AsyncAPI, JSON Schemas, topic manifest.", no_args_is_help=True
    )
    group.command("write")(write_contract)
    group.command("check")(check_contract)
    group.command("show")(show_contract)
    app.add_typer(group, name="contract")


def write_contract(root: Root = Path()) -> None:
    """Write every generated contract file below the repository's root."""
    for path, text in contracts.generated_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
        typer.echo(path)


def check_contract(root: Root = Path()) -> None:
    """Fail if a generated contract file is missing, outdated or left over."""
    drifted = contracts.find_drift(root)
    if drifted:
        raise ExpertBotError(
            f"out of date: {', '.join(drifted)}; run `expert-bot contract write` and commit the result"
        )
    typer.echo("the contract files are up to date")


def show_contract() -> None:
    """Print the AsyncAPI document."""
    typer.echo(contracts.generated_files()[contracts.ASYNCAPI_PATH])
