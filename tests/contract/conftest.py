"""The adapters that each port's suite runs over.

Names (collections, users, topics, subscriptions) are new in every test, so that adapters need no wiping.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from expert_bot.ports import Documents
from expert_bot.ports_analytics import Analytics
from expert_bot.storage.pseudonyms import Pseudonyms
from tests.contract.bus_kit import BusKit, embedded_kit, pubsub_kit

PROJECT = "contract-tests"
PSEUDONYM = Pseudonyms(bytes(32))
_PREPARED: set[str] = set()


class RealClock:
    """The machine's time: suites that run over other processes' buses cannot have another one."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
def unique() -> str:
    """Make a name that no other test uses, fit for collections, topics and users."""
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture(params=["memory", "sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
async def documents(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Documents]:
    """Every adapter of Documents, empty."""
    store: Documents
    if request.param == "memory":
        from expert_bot.storage.memory_documents import MemoryDocuments  # noqa: PLC0415  # only what the row needs

        store = MemoryDocuments()
    elif request.param == "sqlite":
        from expert_bot.storage.sqlite_documents import SqliteDocuments  # noqa: PLC0415  # only what the row needs
        from expert_bot.storage.sqlite_file import SqliteFile  # noqa: PLC0415  # only what the row needs

        store = SqliteDocuments(SqliteFile(tmp_path / "documents.sqlite3"))
    else:
        from expert_bot.storage.firestore_documents import FirestoreDocuments  # noqa: PLC0415  # only what the row needs

        emulator_host = request.getfixturevalue("firestore_emulator")
        store = FirestoreDocuments(project=PROJECT, emulator_host=emulator_host, database="(default)")
    yield store
    await store.close()


@pytest.fixture(params=["duckdb", pytest.param("bigquery", marks=pytest.mark.emulator)])
async def analytics(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Analytics]:
    """Every adapter of Analytics; of BigQuery's emulator all tests share one dataset, as users do in the cloud."""
    store: Analytics
    if request.param == "duckdb":
        from expert_bot.storage.duckdb_analytics import DuckdbAnalytics  # noqa: PLC0415  # only what the row needs

        store = DuckdbAnalytics(tmp_path / "analytics.duckdb", pseudonym=PSEUDONYM)
    else:
        from expert_bot.storage.bigquery_analytics import BigqueryAnalytics  # noqa: PLC0415  # only what the row needs

        emulator_host = request.getfixturevalue("bigquery_emulator")
        store = BigqueryAnalytics(
            project=PROJECT, dataset="analytics", pseudonym=PSEUDONYM, emulator_host=emulator_host
        )
        if emulator_host not in _PREPARED:
            await store.ensure_tables()
            _PREPARED.add(emulator_host)
    yield store
    await store.close()


@pytest.fixture(params=["embedded", pytest.param("pubsub", marks=pytest.mark.emulator)])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BusKit]:
    """Every bus: its publisher, its admin and consumers of its subscriptions."""
    if request.param == "embedded":
        kit = embedded_kit(tmp_path / "bus.sqlite3", RealClock())
    else:
        kit = pubsub_kit(request.getfixturevalue("pubsub_emulator"), PROJECT)
    yield kit
    await kit.close()
