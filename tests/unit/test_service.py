"""A running worker: what its relay survives, and what it warns of at start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.config import Settings
from expert_bot.errors import ExpertBotError, StoreUnavailableError
from expert_bot.ports import Document, Where
from expert_bot.service import Worker, _warn
from expert_bot.storage.memory_documents import MemoryDocuments
from tests.waiting import until


class UnsearchableDocuments(MemoryDocuments):
    """Documents whose searches fail at first, as a store without the needed index does."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error
        self.searches = 0

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        self.searches += 1
        if self.error is not None:
            raise self.error
        return await super().find(collection, where, limit=limit)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (RuntimeError("the query requires an index"), "relay_broken"),
        (ExpertBotError("anything of ours"), "relay_broken"),
        (StoreUnavailableError("down"), "relay_failed"),
    ],
    ids=["unknown error", "our error", "outage"],
)
async def test_a_failing_relay_does_not_stop_the_worker(
    error: Exception, logged: str, tmp_path: Path
) -> None:
    """Consumers go on whatever the relay meets; it says so, and works again when its cause is gone."""
    settings = Settings(data_dir=tmp_path, relay_every_s=0.1)
    documents = UnsearchableDocuments(error)
    async with open_adapters(settings) as opened:
        adapters = Adapters(
            documents=documents,
            publisher=opened.publisher,
            identity=opened.identity,
            clock=opened.clock,
            make_consumer=opened.make_consumer,
            files=opened.files,
            analytics=opened.analytics,
        )
        worker = Worker(settings, adapters)
        with capture_logs() as log:
            worker.start()
            broken = asyncio.create_task(worker.until_broken())
            await until(lambda: documents.searches >= 2)
            documents.error = None
            seen = documents.searches
            await until(lambda: documents.searches > seen)
            assert not broken.done()
            broken.cancel()
            await worker.drain()
    assert logged in {entry["event"] for entry in log}


@pytest.mark.parametrize(("days", "warned"), [(45, True), (46, False)])
def test_a_memory_shorter_than_copies_can_be_late_is_warned_of(days: int, *, warned: bool) -> None:
    """Below 46 days a late copy could be done again: allowed, but said at start."""
    settings = Settings(dedup_retention_days=days)
    with capture_logs() as log:
        _warn(settings)
    assert warned == any(entry["event"] == "dedup_retention_too_short" for entry in log)


async def test_a_worker_that_was_never_started_can_be_drained(tmp_path: Path) -> None:
    """Whoever fails between making and starting it cleans up like everyone else."""
    settings = Settings(data_dir=tmp_path)
    async with open_adapters(settings) as adapters:
        await Worker(settings, adapters).drain()
