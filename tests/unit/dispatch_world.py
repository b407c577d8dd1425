"""A dispatcher over memory, with two event families, and a request to send it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from expert_bot.delivery import Delivery, Message, Outcome
from expert_bot.dispatch import Dispatcher
from expert_bot.errors import ExpertBotError
from expert_bot.handlers import Context, Handler, Result, all_handlers
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import InboxSettings
from expert_bot.publishers.pubsub_limits import check_limits
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY as CHAT
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.schemas.pubsub import decode
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.users_identity import UsersIdentity

NOW = datetime(2023, 5, 2, 9, 31, tzinfo=UTC)
EMAIL = "canary@example.org"
TEXT = "canary-message-text"
DATA = {"message": TEXT, "user_id": EMAIL, "source": "energy_ia_api", "conversation_id": "conv-1"}
CE = {
    "ce-specversion": "1.0",
    "ce-id": "e-1",
    "ce-source": "//energy-ia",
    "ce-type": CHAT.requested.name,
    "ce-time": "2023-05-02T09:30:00Z",
    "ce-partitionkey": "conv-1",
    "ce-correlationid": "root-1",
    "content-type": "application/json",
}


class EchoRequested(EventData):
    """Data of a second family."""

    text: str


ECHO = EventFamily(
    name="echo",
    requested=EventType(name="com.smarwatt.echo.requested.v1", data=EchoRequested, summary="Echo.", example={"text": "a"}),
    replies=(),
    ordering_key=lambda data: data.text,
)  # fmt: skip


async def say_nothing(_request: EchoRequested, _context: Context) -> Result:
    """Answer with nothing."""
    return Result()


@dataclass
class SetClock:
    """A clock that stands where it is put."""

    instant: datetime = NOW

    def now(self) -> datetime:
        return self.instant


@dataclass
class RecordingPublisher:
    """A publisher that keeps what it is given, within the bus's limits, or fails with `failure`."""

    published: list[Message] = field(default_factory=list)
    failure: ExpertBotError | None = None

    async def publish(self, message: Message) -> str:
        if self.failure is not None:
            raise self.failure
        check_limits(message)
        self.published.append(message)
        return str(len(self.published))

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class World:
    """A dispatcher over memory."""

    def __init__(
        self,
        *,
        sources: Sequence[str] = ("//energy-ia",),
        now: datetime = NOW,
        handlers: Mapping[str, Handler] | None = None,
    ) -> None:
        self.documents = MemoryDocuments()
        self.publisher = RecordingPublisher()
        clock = SetClock(now)
        self.dispatcher = Dispatcher(
            inbox=Inbox(
                documents=self.documents, publisher=self.publisher, clock=clock, settings=InboxSettings()
            ),
            publisher=self.publisher,
            documents=self.documents,
            identity=UsersIdentity(self.documents),
            analytics=DuckdbAnalytics(Path("never-opened.duckdb"), pseudonym=str),
            files=LocalFiles(Path("/")),
            clock=clock,
            families={CHAT.subscription: CHAT, ECHO.subscription: ECHO},
            handlers={
                **all_handlers(),
                ECHO.requested.name: Handler("echo_requested", ECHO.requested, say_nothing),
                **(handlers or {}),
            },
            source="urn:smarwatt:expert-bot",
            allowed_sources=sources,
        )

    async def process(
        self,
        attributes: Mapping[str, str] = CE,
        data: bytes = json.dumps(DATA).encode(),
        *,
        subscription: str = CHAT.subscription,
        key: str = "",
    ) -> Outcome:
        """Process one delivery."""
        delivery = Delivery(
            subscription=subscription, data=data, attributes=attributes, ordering_key=key, published_at=NOW
        )
        return await self.dispatcher.process(delivery)

    @property
    def letters(self) -> list[Message]:
        """Dead letters published so far."""
        return [message for message in self.publisher.published if message.topic == DEAD_LETTER_TOPIC]

    @property
    def replies(self) -> list[CloudEvent]:
        """Replies published so far, decoded."""
        return [
            decode(message.attributes, message.data)
            for message in self.publisher.published
            if message.topic != DEAD_LETTER_TOPIC
        ]


def ce(**changes: str | None) -> dict[str, str]:
    """Return the request's attributes with some changed; None takes one away."""
    changed = CE | {f"ce-{name}": value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


def data(**changes: object) -> bytes:
    """Return the request's data with some members changed."""
    return json.dumps(DATA | changes, ensure_ascii=False).encode()
