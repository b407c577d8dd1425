"""The chat handler: reply and writes from profile and conversation, each turn once, nobody else's conversation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from expert_bot.assistant.profile import profile_key, usage_fields
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import MonthUsage
from expert_bot.errors import PermanentError, PreconditionFailedError
from expert_bot.handlers import Context, Result, all_handlers
from expert_bot.handlers.chat_requested import HANDLES, RESPONDED, conversation_key, handle
from expert_bot.ports import Create, Document, Put, Update
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import ChatRequested, ChatResponded
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.memory_documents import MemoryDocuments

ASKED_AT = datetime(2023, 5, 2, 9, 30, tzinfo=UTC)
EVENT = CloudEvent(id="e-1", source="//energy-ia", type=HANDLES.name, data=b"")
APRIL = MonthUsage(
    month="2023-04",
    energy_kwh={Period.P1: Decimal("74.435"), Period.P2: Decimal("81.768"), Period.P3: Decimal("137.113")},
    hours=720,
    estimated_hours=0,
    first_day="2023-04-01",
    last_day="2023-04-30",
)


@dataclass
class NamedUsers:
    """An identity that knows the names it is given."""

    names: dict[str, str] = field(default_factory=dict)

    async def display_name(self, user_id: str) -> str | None:
        return self.names.get(user_id)


def request(
    message: str = "¿Cuánto consumí en abril de 2023?",
    *,
    user: str = "user-ana",
    conversation: str | None = "c-1",
) -> ChatRequested:
    """Build a request."""
    return ChatRequested(message=message, user_id=user, source="energy_ia_api", conversation_id=conversation)


def context(documents: MemoryDocuments, event: CloudEvent = EVENT, *, name: str | None = None) -> Context:
    """Build a handler's context."""
    identity = NamedUsers({"user-ana": name} if name else {})
    return Context(
        event=event,
        asked_at=ASKED_AT,
        received_at=ASKED_AT,
        documents=documents,
        identity=identity,
        analytics=DuckdbAnalytics(Path("never-opened.duckdb"), pseudonym=str),
        files=LocalFiles(Path("/")),
        confirmed={},
    )


def responded(result: Result) -> ChatResponded:
    """Return the one reply's data."""
    (reply,) = result.replies
    assert reply.type is RESPONDED
    assert isinstance(reply.data, ChatResponded)
    return reply.data


async def ask(documents: MemoryDocuments, asked: ChatRequested, event: CloudEvent = EVENT) -> ChatResponded:
    """Handle a request and commit what it returns, as the inbox does."""
    result = await handle(asked, context(documents, event))
    if result.writes:
        await documents.commit(result.writes)
    return responded(result)


async def stored(documents: MemoryDocuments, user: str = "user-ana", conversation: str = "c-1") -> Document:
    """Return a conversation that must exist."""
    document = await documents.get(conversation_key(user, conversation))
    assert document is not None
    return document


@pytest.fixture
async def documents() -> MemoryDocuments:
    """Build a store in which Ana has a profile with one month."""
    store = MemoryDocuments()
    fields = {"user_id": "user-ana", "user_name": "Ana", "home_type": "flat", "usage": usage_fields([APRIL])}
    await store.commit([Put(profile_key("user-ana"), fields)])
    return store


def test_the_handler_is_found_by_its_type() -> None:
    """The module is registered by being there."""
    assert all_handlers()["com.smarwatt.chat.requested.v1"].name == "chat_requested"


async def test_a_question_is_answered_from_the_profile(documents: MemoryDocuments) -> None:
    """The reply carries answer, context, conversation, and the instant of the question."""
    reply = await ask(documents, request())
    assert reply.status == "success"
    assert reply.response.startswith("En abril de 2023 consumiste 293,316 kWh: 74,435 en punta")
    assert (
        reply.conversation_id,
        reply.timestamp,
        reply.engine,
        reply.language,
    ) == ("c-1", "2023-05-02T09:30:00Z", "templates", "es")
    assert (
        reply.user_context.user_name,
        reply.user_context.home_type,
        reply.user_context.consumption_profile,
    ) == ("Ana", "flat", "valle")


@pytest.mark.parametrize(
    ("user_name", "account_name"),
    [
        pytest.param("Ana", "Ana", id="account name"),
        pytest.param("Ana María", "  Ana \n María ", id="spaces folded"),
        pytest.param("Usuario", None, id="no name"),
        pytest.param("Usuario", "  ", id="blank name"),
    ],
)
async def test_a_missing_profile_is_created_minimal(user_name: str, account_name: str | None) -> None:
    """The first question of a user creates a profile with a name and the instant of the question, and no figures."""
    result = await handle(request(), context(MemoryDocuments(), name=account_name))
    fields = {"user_id": "user-ana", "user_name": user_name, "created_at": ASKED_AT, "updated_at": ASKED_AT}
    assert Create(profile_key("user-ana"), fields) == result.writes[0]
    reply = responded(result)
    assert ("no_data", user_name, False) == (
        reply.status,
        reply.user_context.user_name,
        reply.user_context.has_complete_data,
    )


async def test_a_turn_is_remembered_with_what_was_read_as_precondition(documents: MemoryDocuments) -> None:
    """The first turn creates the conversation; the next one changes exactly the state it was read in."""
    first = await handle(request(), context(documents))
    (create,) = first.writes
    assert isinstance(create, Create)
    await documents.commit(first.writes)
    conversation = await stored(documents)
    assert conversation.fields == {
        "user_id": "user-ana",
        "conversation_id": "c-1",
        "created_at": ASKED_AT,
        "updated_at": ASKED_AT,
        "turn_count": 1,
        "turns": [
            {
                "event_source": "//energy-ia",
                "event_id": "e-1",
                "asked_at": ASKED_AT,
                "message": "¿Cuánto consumí en abril de 2023?",
                "response": responded(first).response,
                "status": "success",
            }
        ],
    }
    (update,) = (await handle(request("hola"), context(documents, replace(EVENT, id="e-2")))).writes
    assert isinstance(update, Update)
    assert (conversation.version, 2) == (update.if_version, update.fields["turn_count"])


async def test_two_first_questions_at_once_do_not_overwrite_each_other(documents: MemoryDocuments) -> None:
    """Of two handlers that saw no conversation, the second one's writes are refused as a whole."""
    one = await handle(request(), context(documents))
    two = await handle(request(), context(documents, replace(EVENT, id="e-2")))
    await documents.commit(one.writes)
    with pytest.raises(PreconditionFailedError):
        await documents.commit(two.writes)


@pytest.mark.parametrize(
    ("turns", "event"),
    [
        pytest.param(1, EVENT, id="same request again"),
        pytest.param(2, replace(EVENT, source="//other"), id="same id from another source"),
        pytest.param(2, replace(EVENT, id="e-2"), id="another request"),
    ],
)
async def test_each_request_is_one_turn(documents: MemoryDocuments, turns: int, event: CloudEvent) -> None:
    """Handling a request again adds no turn and gives the same reply; another request is another turn."""
    first = await ask(documents, request())
    again = await ask(documents, request(), event)
    assert first.model_dump_json() == again.model_dump_json()
    assert turns == (await stored(documents)).fields["turn_count"]


async def test_the_last_fifty_turns_are_kept_and_all_are_counted(documents: MemoryDocuments) -> None:
    """A long conversation forgets its oldest turns, keeps its count, and answers the same as a short one."""
    replies = [await ask(documents, request(), replace(EVENT, id=f"e-{number}")) for number in range(53)]
    fields = (await stored(documents)).fields
    assert isinstance(fields["turns"], list)
    assert [f"e-{number}" for number in range(3, 53)] == [turn["event_id"] for turn in fields["turns"]]  # type: ignore[index,call-overload]  # turns are maps
    assert fields["turn_count"] == 53
    assert len({reply.model_dump_json() for reply in replies}) == 1


async def test_without_a_conversation_each_request_has_its_own(documents: MemoryDocuments) -> None:
    """The id is a UUID made of the event's source and id: the same for a redelivery, different for another event."""
    ids = [
        (await ask(documents, request(conversation=None), event)).conversation_id
        for event in (EVENT, EVENT, replace(EVENT, id="e-2"), replace(EVENT, source="//other"))
    ]
    assert [UUID(each).version for each in ids] == [5] * 4
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


async def test_nobody_reaches_the_conversation_of_another_user(documents: MemoryDocuments) -> None:
    """The same conversation id under another user is another document."""
    await ask(documents, request())
    await ask(documents, request(user="user-eva"), replace(EVENT, id="e-2"))
    assert (await stored(documents)).fields["turn_count"] == 1
    assert (await stored(documents, user="user-eva")).fields["user_id"] == "user-eva"


def test_user_and_conversation_ids_do_not_run_together() -> None:
    """Moving a character from one id to the other is another conversation; any conversation id has a document."""
    assert conversation_key("ab", "c") != conversation_key("a", "bc")
    assert len(conversation_key("a", "../" * 60).id) == 64


@pytest.mark.parametrize(
    "asked_at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)], ids=str
)
async def test_a_time_no_question_can_have_is_refused(documents: MemoryDocuments, asked_at: datetime) -> None:
    """An event from year 1 cannot say what "this month" is; it dies with the range that is allowed."""
    with pytest.raises(PermanentError, match=r"unusable-time: .*2000\.\.2100"):
        await handle(request(), replace(context(documents), asked_at=asked_at))


def broken(**month: object) -> dict[str, object]:
    """Build a usage field whose one month has wrong members."""
    usage = usage_fields([APRIL])
    assert isinstance(usage["months"], dict)
    april = usage["months"]["2023-04"]
    assert isinstance(april, dict)
    return {**usage, "months": {"2023-04": {**april, **month}}}


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param("text", id="not a map"),
        pytest.param({"months": {}}, id="no range"),
        pytest.param({**usage_fields([APRIL]), "months": {"april": {}}}, id="not a month"),
        pytest.param(broken(P1="x"), id="not a number"),
        pytest.param(broken(P1="NaN"), id="not finite"),
        pytest.param(broken(P1="-1"), id="negative"),
        pytest.param(broken(P1=74.435), id="a float"),
        pytest.param(broken(hours="720"), id="hours as text"),
        pytest.param(broken(first_day="yesterday"), id="no date"),
    ],
)
async def test_an_unreadable_profile_is_an_error_not_a_guess(usage: object) -> None:
    """Figures in another layout are never read as something else: the event dies and says what to do."""
    store = MemoryDocuments()
    await store.commit([Put(profile_key("user-ana"), {"usage": usage})])  # type: ignore[dict-item]  # wrong on purpose
    with pytest.raises(PermanentError, match=r"profile-unreadable: .*import the consumption file again"):
        await handle(request(), context(store))
