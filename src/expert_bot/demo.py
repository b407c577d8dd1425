"""The demonstration: a simulated household asks a question through the embedded bus, in real events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.app import make_client
from expert_bot.config import Mode, Settings
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.ingest import ImportReport, import_consumption
from expert_bot.ports import DocKey, Put
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import ChatRequested
from expert_bot.service import Worker

SOURCE: Final = "urn:smarwatt:expert-bot:demo"
USER_ID: Final = "demo"
USER_NAME: Final = "Ana Ejemplo"
DATA_UNTIL: Final = date(2026, 10, 31)
ASKED_AT: Final = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
QUESTION: Final = "¿Cuánto consumí en octubre de 2026?"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """What happened: the import, the two events, and how long each step took (seconds)."""

    imported: ImportReport
    request: CloudEvent
    reply: CloudEvent
    timings_s: dict[str, float]


async def run_demo(settings: Settings, announce: Callable[[str], None]) -> DemoRun:
    """Run the demonstration in embedded mode, in the configured data folder; running it again changes nothing there.

    `announce` is told of each step as it begins. Raises ExpertBotError.
    """
    timings_s: dict[str, float] = {}
    started = time.perf_counter()

    def step(done: str, begins: str) -> None:
        nonlocal started
        timings_s[done] = time.perf_counter() - started
        started = time.perf_counter()
        announce(begins)

    embedded = settings.model_copy(update={"mode": Mode.EMBEDDED})
    announce("Simulating two years of a household's hourly consumption")
    lines = list(write_household_csv(simulate_household(until=DATA_UNTIL)))
    step("simulate", "Importing it like any distributor's file")
    async with open_adapters(embedded) as adapters:
        await adapters.documents.commit([Put(DocKey("users", USER_ID), {"display_name": USER_NAME})])
        imported = await import_consumption(
            lines,
            USER_ID,
            adapters.analytics,
            adapters.documents,
            adapters.clock,
            adapters.identity,
        )
        step("import", "Publishing a chat request event and awaiting the reply event")
        request, reply = await _ask(embedded, adapters)
        timings_s["ask"] = time.perf_counter() - started
    return DemoRun(imported=imported, request=request, reply=reply, timings_s=timings_s)


async def _ask(settings: Settings, adapters: Adapters) -> tuple[CloudEvent, CloudEvent]:
    data = ChatRequested(message=QUESTION, user_id=USER_ID, source="demo", conversation_id=f"demo-{USER_ID}")
    worker = Worker(settings, adapters)
    worker.start()
    try:
        async with make_client(adapters, SOURCE) as client:
            request = client.make_request(data, asked_at=ASKED_AT)
            answer = await client.ask(request, timeout_s=settings.ask_timeout_s)
    finally:
        await worker.drain()
    return request, answer.event
