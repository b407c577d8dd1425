"""The inbox document: one per (subscription, source, id), holding the state of that event's work and its replies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, cast

from expert_bot.delivery import Message
from expert_bot.errors import PermanentError
from expert_bot.ports import DocKey, Document, Fields, Value
from expert_bot.records import record
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC

COLLECTION: Final = "inbox"
REPLIED: Final = "replied"
MAX_STORED_BYTES: Final = 768 * 1024
"""Of messages beside an entry, whose document may have 1 MiB."""

_KEY_LENGTH: Final = 40
_END: Final = None


class State(StrEnum):
    """How far an event's work has come."""

    CLAIMED = "claimed"
    COMMITTED = "committed"
    SENT = "sent"


@record(kw_only=True)
class Entry:
    """An inbox document as read.

    `fence`: how many owners it has had. `token`: the owner's mark, unique per claim. `attempts`: failed attempts so far
    (crashes are not counted). `outcome`: `replied` or the dead letter's reason, once committed. `messages`: what is to
    be published. `needs_delivery`: the dead letter's bytes were too large to store and come from the delivery itself.
    `replay`: the latest replay that was let in, 0 for none.
    """

    state: State
    fence: int
    token: str
    lease_until: datetime
    attempts: int
    outcome: str
    messages: tuple[Message, ...]
    needs_delivery: bool
    replay: int


def entry_key(subscription: str, source: str, event_id: str) -> DocKey:
    """Return the address of an event's inbox document: evenly spread, and telling nothing about anyone."""
    # control characters cannot occur in the parts, so the separator keeps them apart
    digest = hashlib.sha256(f"{subscription}\n{source}\n{event_id}".encode()).hexdigest()
    return DocKey(COLLECTION, digest[:_KEY_LENGTH])


def read_entry(document: Document) -> Entry:
    """Read an inbox document."""
    fields = cast("Mapping[str, Any]", document.fields)
    return Entry(
        state=State(fields["state"]),
        fence=fields["fence"],
        token=fields["token"],
        lease_until=fields["lease_until"],
        attempts=fields["attempts"],
        outcome=fields.get("outcome", ""),
        messages=_read_messages(fields.get("messages", ())),
        needs_delivery=fields.get("needs_delivery", False),
        replay=fields.get("replay", 0),
    )


def new_entry(token: str, lease_until: datetime, replay: int = 0) -> Entry:
    """Return the entry of an event claimed for the first time."""
    return Entry(
        state=State.CLAIMED,
        fence=1,
        token=token,
        lease_until=lease_until,
        attempts=0,
        outcome="",
        messages=(),
        needs_delivery=False,
        replay=replay,
    )


def reopened_entry(entry: Entry, replay: int) -> Entry:
    """Return a finished entry as a replay finds it: what was answered is sent again, what died gets another chance."""
    return Entry(
        state=State.COMMITTED if entry.outcome == REPLIED else State.CLAIMED,
        fence=entry.fence,
        token=entry.token,
        lease_until=entry.lease_until,
        attempts=0,
        outcome=entry.outcome,
        messages=entry.messages,
        needs_delivery=False,
        replay=replay,
    )


def committed_entry(entry: Entry, outcome: str, messages: tuple[Message, ...]) -> Entry:
    """Return the entry once its outcome is decided.

    A dead letter larger than the document may hold is stored without its bytes: the delivery has them. Raises
    PermanentError(`reply-too-large`) for replies that are.
    """
    needs_delivery = _stored_size(messages) > MAX_STORED_BYTES
    if needs_delivery and outcome == REPLIED:
        raise PermanentError("reply-too-large", f"replies may take {MAX_STORED_BYTES} bytes in all")
    if needs_delivery:
        messages = tuple(
            replace(message, data=b"") if message.topic == DEAD_LETTER_TOPIC else message
            for message in messages
        )
    return Entry(
        state=State.COMMITTED,
        fence=entry.fence,
        token=entry.token,
        lease_until=entry.lease_until,
        attempts=entry.attempts,
        outcome=outcome,
        messages=messages,
        needs_delivery=needs_delivery,
        replay=entry.replay,
    )


def claim_fields(entry: Entry) -> Fields:
    """Return what a first claim writes."""
    return {
        "state": entry.state.value,
        "fence": entry.fence,
        "token": entry.token,
        "lease_until": entry.lease_until,
        "attempts": entry.attempts,
        "replay": entry.replay,
    }


def commit_fields(entry: Entry) -> Fields:
    """Return what a commit writes; messages as one flat list, because attribute names obey no field-name rule."""
    stored: list[Value] = []
    for message in entry.messages:
        stored += (message.topic, message.ordering_key, message.data)
        for pair in message.attributes.items():
            stored += pair
        stored.append(_END)
    return {
        "state": entry.state.value,
        "outcome": entry.outcome,
        "needs_delivery": entry.needs_delivery,
        "messages": stored,
    }


def _stored_size(messages: Sequence[Message]) -> int:
    """Return about how many bytes messages take in the document."""
    return sum(
        len(message.data) + sum(map(len, message.attributes)) + sum(map(len, message.attributes.values()))
        for message in messages
    )


def _read_messages(stored: Sequence[Any]) -> tuple[Message, ...]:
    messages = []
    rest = iter(stored)
    for topic in rest:
        ordering_key, data = next(rest), next(rest)
        attributes = {name: next(rest) for name in iter(partial(next, rest), _END)}
        messages.append(Message(topic=topic, ordering_key=ordering_key, data=data, attributes=attributes))
    return tuple(messages)
