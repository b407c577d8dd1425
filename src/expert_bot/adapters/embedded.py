"""Embedded mode: bus, documents and analytics in files of one machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from expert_bot.adapters.kit import Adapters
from expert_bot.adapters.local import data_folder, local_analytics
from expert_bot.config import Settings
from expert_bot.consumers.budget import Budget
from expert_bot.consumers.embedded import EmbeddedConsumer
from expert_bot.delivery import Delivery, Outcome
from expert_bot.ports import DEFAULT_MAX_WORK_S, Consumer
from expert_bot.publishers.embedded import EmbeddedPublisher
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_documents import SqliteDocuments
from expert_bot.storage.sqlite_file import SqliteFile
from expert_bot.storage.system_clock import SystemClock
from expert_bot.storage.users_identity import UsersIdentity

Process = Callable[[Delivery], Awaitable[Outcome]]


def embedded_adapters(settings: Settings, stack: AsyncExitStack) -> Adapters:
    """Return adapters of files in the data folder, closed with the stack. Raises UsageError."""
    folder = data_folder(settings)
    budget = Budget(settings.max_in_flight)
    clock = SystemClock()
    documents = SqliteDocuments(SqliteFile(folder / "documents.sqlite3"))
    bus = SqliteBus(SqliteFile(folder / "bus.sqlite3"), clock=clock)

    def make_consumer(
        subscription: str,
        process: Process,
        *,
        ordered: bool,  # noqa: ARG001  # the bus knows
        max_work_s: float = DEFAULT_MAX_WORK_S,  # noqa: ARG001  # nothing to extend: the lease is renewed by the file's owner
    ) -> Consumer:
        return EmbeddedConsumer(bus, subscription, process, budget=budget)

    publisher = EmbeddedPublisher(bus)
    analytics = local_analytics(settings, stack)
    for adapter in (documents, publisher):  # closed in the opposite order
        stack.push_async_callback(adapter.close)
    return Adapters(
        documents=documents,
        publisher=publisher,
        identity=UsersIdentity(documents),
        clock=clock,
        make_consumer=make_consumer,
        files=LocalFiles(settings.documents_dir),
        admin=bus,
        analytics=analytics,
    )
