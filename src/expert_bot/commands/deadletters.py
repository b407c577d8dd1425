"""`expert-bot deadletters`: what could not be handled, and why."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Sequence
from typing import Annotated

import typer

from expert_bot import show
from expert_bot.adapters import open_adapters
from expert_bot.commands.common import AsJson, print_json, start
from expert_bot.config import Settings
from expert_bot.deadletters.reading import find_letter, list_letters, note_reveal
from expert_bot.deadletters.record import DeadLetterRecord, LetterFacts


def add_to(app: typer.Typer) -> None:
    """Add `deadletters list` and `show`."""
    group = typer.Typer(help="What could not be handled, and why.", no_args_is_help=True)
    group.command("list")(list_dead_letters)
    group.command("show")(show_dead_letter)
    app.add_typer(group, name="deadletters")


def list_dead_letters(
    reason: Annotated[str | None, typer.Option(help="Only letters with this reason code.")] = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, those archived last first."""
    letters = asyncio.run(_list_letters(start(quiet=True), reason))
    if as_json:
        print_json(show.letters_report(letters))
    else:
        show.letters(letters)


def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, from `deadletters list`.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show data and attribute values too; this is recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show why an event died, and what it was."""
    letter = asyncio.run(_read_letter(start(quiet=True), letter_id, reveal=reveal))
    if as_json:
        print_json(show.letter_report(letter, reveal=reveal))
    else:
        show.letter(letter, reveal=reveal)


async def _list_letters(settings: Settings, reason: str | None) -> Sequence[LetterFacts]:
    async with open_adapters(settings) as adapters:
        return await list_letters(adapters.documents, reason=reason)


async def _read_letter(settings: Settings, letter_id: str, *, reveal: bool) -> DeadLetterRecord:
    async with open_adapters(settings) as adapters:
        letter = await find_letter(adapters.documents, letter_id)
        if reveal:
            await note_reveal(adapters.documents, adapters.clock, letter_id, actor=_operator())
        return letter


def _operator() -> str:
    """Return who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"
