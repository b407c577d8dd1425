"""Commands that publish a request event and await its reply: ask, upload, analyse."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel, ValidationError

from expert_bot import show
from expert_bot.adapters import open_adapters
from expert_bot.app import make_client
from expert_bot.commands.common import EXIT_FAILED, AsJson, MaybeZone, User, print_json, start
from expert_bot.config import Mode, Settings
from expert_bot.errors import UsageError
from expert_bot.publishers import RequestFailedError
from expert_bot.schemas.data import describe_violations
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.analysis import AnalysisRequested
from expert_bot.schemas.events.chat import ChatRequested
from expert_bot.schemas.events.document import MAX_INLINE_BYTES, DocumentUploaded
from expert_bot.service import Worker

CLI_SOURCE: Final = "urn:smarwatt:expert-bot:cli"
_PROBLEM_TYPE: Final = ".failed.v1"
_UNENCODED_SHARE: Final = 3 / 4


def add_to(app: typer.Typer) -> None:
    """Add `ask`, `upload` and `analyse`."""
    app.command()(ask)
    app.command()(upload)
    app.command()(analyse)


def ask(
    question: Annotated[str, typer.Argument(help="The question, in Spanish.")],
    user: User,
    conversation: Annotated[str | None, typer.Option(help="Continue this conversation.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a chat request event and print its reply. In embedded mode this process also does the work."""
    data = {
        "message": question,
        "user_id": user,
        "source": "expert_bot_cli",
        "conversation_id": conversation,
    }
    _exchange(ChatRequested, data, show.reply, as_json=as_json)


def upload(
    file: Annotated[Path, typer.Argument(help="A consumption file, or what Datadis says of the supply.")],
    user: User,
    document: Annotated[
        str | None, typer.Option("--document", help="The document's id; a new one unless given.")
    ] = None,
    zone: MaybeZone = None,
    as_json: AsJson = False,
) -> None:
    """Publish a document event with a file in it, and print what came of it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    most = int((MAX_INLINE_BYTES - 1024) * _UNENCODED_SHARE)
    if len(content) > most:
        raise UsageError(
            f"{file} has {len(content)} bytes, an event holds {most}: use `expert-bot import consumption`, or publish its URI"
        )
    data = {
        "user_id": user,
        "document_id": document or uuid.uuid4().hex,
        "content": base64.b64encode(content).decode(),
        "content_encoding": "base64",
        "zone": zone.value if zone else None,
    }
    _exchange(DocumentUploaded, data, show.processed, as_json=as_json)


def analyse(
    kind: Annotated[
        str,
        typer.Argument(
            help="consumption, bill_check, tariff_comparison, contracted_power, forecast, anomalies, solar, recommendations"
        ),
    ],
    user: User,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First local day.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last.")
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option("--parameters", metavar="FILE.json", help="`parameters` of the analysis request event."),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="The task's id; derived unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish an analysis event for a user's stored data, and print its result."""
    if (first is None) != (until is None):
        raise UsageError("--from and --to go together")
    data: dict[str, Any] = {"user_id": user, "kind": kind, "task_id": task}
    if first is not None and until is not None:
        data["period"] = {"start": first.date().isoformat(), "end": until.date().isoformat()}
    if parameters is not None:
        data["parameters"] = _read_parameters(parameters)
    _exchange(AnalysisRequested, data, show.analysed, as_json=as_json)


def _read_parameters(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error


def _exchange(schema: type[BaseModel], data: dict[str, Any], present: show.Present, *, as_json: bool) -> None:
    """Publish a request, await its reply, print it. Exit code 1 if it failed. Raises UsageError."""
    settings = start(quiet=True)
    try:
        checked = schema.model_validate(data)
    except ValidationError as error:
        raise UsageError(describe_violations(error)) from error
    started = time.perf_counter()
    request, reply = asyncio.run(_ask(settings, checked))
    if as_json:
        took_ms = round((time.perf_counter() - started) * 1000, 1)
        print_json({**show.exchange(request, reply), "took_ms": took_ms})
    elif reply.type.endswith(_PROBLEM_TYPE):
        show.problem(reply)
    else:
        present(reply)
    if reply.type.endswith(_PROBLEM_TYPE):
        raise typer.Exit(EXIT_FAILED)


async def _ask(settings: Settings, data: BaseModel) -> tuple[CloudEvent, CloudEvent]:
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
