"""A handler's surroundings: documents in memory, analytics in a file, and a commit as the inbox would do it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from expert_bot.energy.calendar import Month
from expert_bot.handlers import Context, Result
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.problem import Problem
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.users_identity import UsersIdentity

ASKED_AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
PROBLEM = Problem(
    type="urn:expert-bot:problem:expired",
    title="Expired",
    status=410,
    detail="too late",
    reason="expired",
    retriable=True,
)


class HandlerWorld:
    """Stores, and the context of an event over them. `folder`: where files may be read."""

    def __init__(self, folder: Path) -> None:
        self.documents = MemoryDocuments()
        self.analytics = DuckdbAnalytics(folder / "analytics.duckdb", pseudonym=str)
        self.files = LocalFiles(folder)
        self.received_at = ASKED_AT + timedelta(hours=2)
        self.confirmed: dict[Month, bool] = {}

    def context(self, event_type: str, *, event_id: str = "e-1", asked_at: datetime = ASKED_AT) -> Context:
        """Return what a handler may know of this event."""
        return Context(
            event=CloudEvent(id=event_id, source="//energy-ia", type=event_type, data=b""),
            asked_at=asked_at,
            received_at=self.received_at,
            documents=self.documents,
            identity=UsersIdentity(self.documents),
            analytics=self.analytics,
            files=self.files,
            confirmed=self.confirmed,
        )

    async def commit(self, result: Result) -> Result:
        """Commit what a handler returned."""
        if result.writes:
            await self.documents.commit(result.writes)
        return result
