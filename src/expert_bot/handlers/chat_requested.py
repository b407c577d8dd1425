"""chat.requested: answer a household's question from its profile, and remember the turn."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from expert_bot.assistant.chat import ENGINE, LANGUAGE, ChatAnswer, answer
from expert_bot.assistant.profile import (
    Profile,
    display_name,
    new_profile_fields,
    profile_key,
    read_profile,
)
from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.errors import PermanentError
from expert_bot.handlers import Context, Reply, Result
from expert_bot.ports import Create, DocKey, Document, Update, Value, Write
from expert_bot.schemas.envelope import CloudEvent, format_timestamp
from expert_bot.schemas.events.chat import FAMILY, ChatRequested, ChatResponded

HANDLES: Final = FAMILY.requested
RESPONDED: Final = FAMILY.replies[0]
CONVERSATIONS: Final = "conversations"
MAX_TURNS: Final = 50
"""Turns kept per conversation: the last ones; at the contract's largest message they stay below a document's 1 MiB."""


async def handle(request: ChatRequested, context: Context) -> Result:
    """Answer one question.

    Writes: the profile if there was none, and the conversation with this turn, each only from the state it was read in.
    Raises StoreUnavailableError, or PermanentError(`unusable-time`, `profile-unreadable`).
    """
    _check_time(context.asked_at)
    conversation_id = request.conversation_id or _conversation_of(context.event)
    key = conversation_key(request.user_id, conversation_id)
    profile, profile_writes = await _load_profile(request.user_id, context)
    conversation = await context.documents.get(key)

    reply = answer(request, profile, context.asked_at)

    return Result(
        replies=(Reply(RESPONDED, _responded(reply, conversation_id, context.asked_at)),),
        writes=(
            *profile_writes,
            *_conversation_writes(key, conversation, conversation_id, request, reply, context),
        ),
    )


def conversation_key(user_id: str, conversation_id: str) -> DocKey:
    """Return where a user's conversation is: one user's id never leads to another user's conversation."""
    # A user id has no line end, so two different pairs never make the same text.
    digest = hashlib.sha256(f"{user_id}\n{conversation_id}".encode()).hexdigest()
    return DocKey(CONVERSATIONS, digest)


async def _load_profile(user_id: str, context: Context) -> tuple[Profile, tuple[Write, ...]]:
    """Return the profile, and the write that creates it if there was none."""
    key = profile_key(user_id)
    document = await context.documents.get(key)
    if document is not None:
        return read_profile(document), ()
    user_name = await display_name(context.identity, user_id)
    fields = new_profile_fields(user_id=user_id, user_name=user_name, created_at=context.asked_at)
    return Profile(user_name=user_name), (Create(key, fields),)


def _conversation_of(event: CloudEvent) -> str:
    """Give a question without a conversation one of its own, the same however often it is delivered."""
    return str(uuid5(uuid5(NAMESPACE_URL, event.source), event.id))


def _responded(reply: ChatAnswer, conversation_id: str, asked_at: datetime) -> ChatResponded:
    return ChatResponded(
        status=reply.status,
        response=reply.response,
        conversation_id=conversation_id,
        user_context=reply.user_context,
        timestamp=format_timestamp(asked_at),
        facts=list(reply.facts),
        engine=ENGINE,
        degraded=list(reply.degraded),
        language=LANGUAGE,
        suggestions=list(reply.suggestions),
    )


def _conversation_writes(
    key: DocKey,
    conversation: Document | None,
    conversation_id: str,
    request: ChatRequested,
    reply: ChatAnswer,
    context: Context,
) -> tuple[Write, ...]:
    """Return the write that adds this turn to its conversation; none if it is there already."""
    turn: dict[str, Value] = {
        "event_source": context.event.source,
        "event_id": context.event.id,
        "asked_at": context.asked_at,
        "message": request.message,
        "response": reply.response,
        "status": reply.status,
    }
    if conversation is None:
        return (
            Create(
                key,
                {
                    "user_id": request.user_id,
                    "conversation_id": conversation_id,
                    "created_at": context.asked_at,
                    "updated_at": context.asked_at,
                    "turn_count": 1,
                    "turns": [turn],
                },
            ),
        )
    turns, count = _turns(conversation)
    if any(_is_same_request(earlier, context.event) for earlier in turns):
        return ()
    changed: dict[str, Value] = {
        "updated_at": context.asked_at,
        "turn_count": count + 1,
        "turns": [*turns, turn][-MAX_TURNS:],
    }
    return (Update(key, changed, if_version=conversation.version),)


def _turns(conversation: Document) -> tuple[list[Value], int]:
    turns, count = conversation.fields.get("turns"), conversation.fields.get("turn_count")
    kept = turns if isinstance(turns, list) else []
    return kept, count if isinstance(count, int) else len(kept)


def _is_same_request(turn: Value, event: CloudEvent) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("event_source") == event.source
        and turn.get("event_id") == event.id
    )


def _check_time(asked_at: datetime) -> None:
    if not FIRST_YEAR <= asked_at.year <= LAST_YEAR:
        raise PermanentError(
            "unusable-time",
            f"the event's time must lie in the years {FIRST_YEAR}..{LAST_YEAR}, not {asked_at.year}",
        )
