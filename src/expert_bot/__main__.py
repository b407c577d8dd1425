"""The command line: `expert-bot`, also `python -m expert_bot`. Thin: each command reads its input and shows a result."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer
from pydantic import ValidationError
from rich.progress import Progress

from expert_bot import __version__, show
from expert_bot.app import make_client, open_adapters
from expert_bot.commands import advice, anomalies, bill, compare, consumption, forecast, prices, rules
from expert_bot.commands.common import AsJson, User, print_json
from expert_bot.config import Mode, Settings, load_settings
from expert_bot.deadletters.reading import find_letter, list_letters, note_reveal
from expert_bot.deadletters.record import DeadLetterRecord, LetterFacts
from expert_bot.demo import run_demo
from expert_bot.errors import ExpertBotError, SettingError, TransientError, UsageError
from expert_bot.ingest import ImportReport, import_consumption
from expert_bot.publishers import RequestFailedError
from expert_bot.schemas import contract as contracts
from expert_bot.schemas.data import describe_violations
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatRequested
from expert_bot.schemas.topology import topology
from expert_bot.service import Worker, run_service
from expert_bot.telemetry import configure_logging

CLI_SOURCE: Final = "urn:smarwatt:expert-bot:cli"
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_TRY_AGAIN: Final = 75

app = typer.Typer(
    name="expert-bot",
    help="Answers Spanish households' electricity questions: CloudEvents in, true numbers out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
import_app = typer.Typer(help="Load data.", no_args_is_help=True)
topics_app = typer.Typer(help="Topics and subscriptions.", no_args_is_help=True)
contract_app = typer.Typer(
    help="The generated contract: AsyncAPI, JSON Schemas, topic manifest.", no_args_is_help=True
)
deadletters_app = typer.Typer(help="What could not be handled, and why.", no_args_is_help=True)
app.add_typer(import_app, name="import")
app.add_typer(topics_app, name="topics")
app.add_typer(deadletters_app, name="deadletters")
app.add_typer(contract_app, name="contract")
for group in (bill, compare, consumption, forecast, anomalies, advice, prices, rules):
    group.add_to(app)

Root = Annotated[Path, typer.Option("--root", help="The repository's root.", exists=True, file_okay=False)]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Show the whole way of one question, with a simulated household, in embedded mode."""
    settings = _start(quiet=True)
    run = asyncio.run(run_demo(settings, announce=show.silent if as_json else show.step))
    if as_json:
        print_json({**show.exchange(run.request, run.reply), "timings_s": run.timings_s})
    else:
        show.demo(run, settings)


@app.command()
def serve() -> None:
    """Run the HTTP surface and the consumers until SIGTERM."""
    asyncio.run(run_service(_start(), with_http=True))


@app.command()
def work() -> None:
    """Run the consumers until SIGTERM."""
    asyncio.run(run_service(_start(), with_http=False))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in Spanish.")],
    user: User,
    conversation: Annotated[str | None, typer.Option(help="Continue this conversation.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a chat request event and print its reply. In embedded mode this process also does the work."""
    settings = _start(quiet=True)
    try:
        data = ChatRequested(
            message=question, user_id=user, source="expert_bot_cli", conversation_id=conversation
        )
    except ValidationError as error:
        raise UsageError(describe_violations(error)) from error
    started = time.perf_counter()
    request, reply = asyncio.run(_ask(settings, data))
    if as_json:
        print_json(
            {**show.exchange(request, reply), "took_ms": round((time.perf_counter() - started) * 1000, 1)}
        )
    else:
        show.reply(reply)
    if reply.type == FAMILY.failed.name:
        raise typer.Exit(EXIT_FAILED)


@import_app.command("consumption")
def import_consumption_file(
    file: Annotated[
        Path, typer.Argument(help="CSV: fecha,hora,consumo,met_obtencion[,datetime]; END-of-hour labels.")
    ],
    user: User,
    as_json: AsJson = False,
) -> None:
    """Load a household's hourly consumption and refresh its profile; loading it twice changes nothing."""
    settings = _start(quiet=True)
    try:
        source, size = file.open("rb"), file.stat().st_size
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    with source, Progress(transient=True, console=show.progress_console, disable=as_json) as progress:
        lines = progress.wrap_file(source, total=size, description=f"Reading {file.name}")
        report = asyncio.run(_import(settings, lines, user))
    if as_json:
        print_json(show.import_report(report))
    else:
        show.imported(report)
    if not report.accepted:
        raise typer.Exit(EXIT_FAILED)


@topics_app.command("apply")
def apply_topics(as_json: AsJson = False) -> None:
    """Create the topics and subscriptions that are missing (embedded bus and emulator; Terraform in the cloud)."""
    settings = _start(quiet=True)

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


@deadletters_app.command("list")
def list_dead_letters(
    reason: Annotated[str | None, typer.Option(help="Only letters with this reason code.")] = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, those archived last first."""
    letters = asyncio.run(_list_letters(_start(quiet=True), reason))
    if as_json:
        print_json(show.letters_report(letters))
    else:
        show.letters(letters)


@deadletters_app.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, from `deadletters list`.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show data and attribute values too; this is recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show why an event died, and what it was."""
    letter = asyncio.run(_read_letter(_start(quiet=True), letter_id, reveal=reveal))
    if as_json:
        print_json(show.letter_report(letter, reveal=reveal))
    else:
        show.letter(letter, reveal=reveal)


@contract_app.command("write")
def write_contract(root: Root = Path()) -> None:
    """Write every generated contract file below the repository's root."""
    for path, text in contracts.generated_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
        typer.echo(path)


@contract_app.command("check")
def check_contract(root: Root = Path()) -> None:
    """Fail if a generated contract file is missing, outdated or left over."""
    drifted = contracts.find_drift(root)
    if drifted:
        raise ExpertBotError(
            f"out of date: {', '.join(drifted)}; run `expert-bot contract write` and commit the result"
        )
    typer.echo("the contract files are up to date")


@contract_app.command("show")
def show_contract() -> None:
    """Print the AsyncAPI document."""
    typer.echo(contracts.generated_files()[contracts.ASYNCAPI_PATH])


async def _ask(settings: Settings, data: ChatRequested) -> tuple[CloudEvent, CloudEvent]:
    async with open_adapters(settings) as adapters:
        worker = Worker(settings, adapters) if settings.mode is Mode.EMBEDDED else None
        if worker is not None:
            worker.start()
        try:
            async with make_client(adapters, CLI_SOURCE) as client:
                request = client.make_request(data)
                try:
                    return request, (await client.ask(request, timeout_s=settings.ask_timeout_s)).event
                except RequestFailedError as failure:
                    return request, failure.event
        finally:
            if worker is not None:
                await worker.drain()


async def _import(settings: Settings, lines: BinaryIO, user: str) -> ImportReport:
    async with open_adapters(settings) as adapters:
        return await import_consumption(
            lines,
            user,
            adapters.require_analytics(),
            adapters.documents,
            adapters.clock,
            adapters.identity,
        )


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


def _start(*, quiet: bool = False) -> Settings:
    settings = load_settings()
    configure_logging(
        "error" if quiet and settings.log_level == "info" else settings.log_level, settings.log_format
    )
    return settings


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong use or setting, 75 try again later."""
    try:
        app()
    except (UsageError, SettingError) as error:
        _fail(error, EXIT_USAGE)
    except TransientError as error:
        _fail(error, EXIT_TRY_AGAIN)
    except ExpertBotError as error:
        _fail(error, EXIT_FAILED)


def _fail(error: ExpertBotError, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
