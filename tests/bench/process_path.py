"""How much the full processing path costs over its floor, measured in one run: `python -m tests.bench.process_path`.

The floor reads the request's JSON and builds a reply message from it. The path does everything a delivery goes through:
decode, claim, validate, handle, commit, publish, mark - over in-memory stores, so that only our own code is timed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import track
from rich.table import Table

from expert_bot.delivery import Delivery, Message
from expert_bot.dispatch import Dispatcher
from expert_bot.handlers import Context, Handler, Reply, Result, all_handlers
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import InboxSettings
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.users_identity import UsersIdentity
from expert_bot.telemetry import configure_logging

RESULTS = Path(".cache/bench/process_path.json")
REPLY = FAMILY.replies[0].data.model_validate(FAMILY.replies[0].example)


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class NullPublisher:
    """A bus that confirms at once."""

    async def publish(self, message: Message) -> str:
        return message.topic

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def echo(_request: BaseModel, _context: Context) -> Result:
    """Answer every request alike: the cheapest handler."""
    return Result(replies=(Reply(FAMILY.replies[0], REPLY),))


def make_deliveries(count: int, run: int) -> list[Delivery]:
    """Return that many different requests, as they come off the wire."""
    data = json.dumps(
        {**FAMILY.requested.example, "message": "¿Cuánto consumí en abril de 2023? " * 20}, ensure_ascii=False
    ).encode()
    deliveries = []
    for number in range(count):
        event = CloudEvent(id=f"{run}-{number}", source="urn:bench", type=FAMILY.requested.name, data=data)
        message = pubsub.encode_binary(event, FAMILY.request_topic)
        deliveries.append(
            Delivery(subscription=FAMILY.subscription, data=message.data, attributes=message.attributes)
        )
    return deliveries


def make_process(handlers: dict[str, Handler]) -> Callable[[Delivery], Awaitable[object]]:
    """Return the full path over in-memory stores."""
    documents, publisher, clock = MemoryDocuments(), NullPublisher(), SystemClock()
    inbox = Inbox(documents=documents, publisher=publisher, clock=clock, settings=InboxSettings())
    dispatcher = Dispatcher(
        inbox=inbox,
        publisher=publisher,
        documents=documents,
        identity=UsersIdentity(documents),
        analytics=DuckdbAnalytics(Path("never-opened.duckdb"), pseudonym=str),
        files=LocalFiles(Path("/")),
        clock=clock,
        families={FAMILY.subscription: FAMILY},
        handlers=handlers,
        source="urn:bench",
        allowed_sources=("*",),
    )
    return dispatcher.process


async def floor(delivery: Delivery) -> object:
    """Do the least anyone could: read the request, build a reply."""
    json.loads(delivery.data)
    data = REPLY.model_dump_json().encode()
    return Message(topic=FAMILY.reply_topic, data=data, attributes=dict(delivery.attributes))


def cpu_ms_per_1000(process: Callable[[Delivery], Awaitable[object]], deliveries: list[Delivery]) -> float:
    """Return CPU milliseconds per 1,000 deliveries, one task per delivery."""

    async def run() -> float:
        started = time.process_time()
        await asyncio.gather(*(asyncio.create_task(_call(process, delivery)) for delivery in deliveries))
        return time.process_time() - started

    return asyncio.run(run()) * 1_000_000 / len(deliveries)


async def _call(process: Callable[[Delivery], Awaitable[object]], delivery: Delivery) -> None:
    await process(delivery)


def main(
    events: int = 3000, rounds: int = 5, *, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Time floor, path with the cheapest handler, and path with the chat handler, in turn."""
    configure_logging("error", "json")
    chat_only = {FAMILY.requested.name: Handler("echo", FAMILY.requested, echo)}
    figures: dict[str, list[float]] = {"floor": [], "path": [], "path with chat handler": []}
    for run in track(range(rounds), description="rounds", disable=as_json, transient=True):
        deliveries = make_deliveries(events, run)
        figures["floor"].append(cpu_ms_per_1000(floor, deliveries))
        figures["path"].append(cpu_ms_per_1000(make_process(chat_only), deliveries))
        figures["path with chat handler"].append(
            cpu_ms_per_1000(make_process(dict(all_handlers())), deliveries)
        )
    base = median(figures["floor"])
    result = {
        name: {"cpu_ms_per_1000": round(median(values), 1), "ratio_to_floor": round(median(values) / base, 2)}
        for name, values in figures.items()
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    table = Table("what", "CPU ms per 1,000 events", "ratio to floor")
    for name, row in result.items():
        table.add_row(name, str(row["cpu_ms_per_1000"]), str(row["ratio_to_floor"]))
    Console().print(table)
    Console().print(f"stored in {RESULTS}")


if __name__ == "__main__":
    typer.run(main)
