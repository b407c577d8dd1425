"""Messages and deliveries of the embedded bus: every function is one step inside the caller's transaction.

A delivery is one message on one subscription. `due_us` is when it may be handed out (microseconds since 1970, UTC):
for a leased one the end of its lease, NULL while an earlier message of its ordering key is still there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from expert_bot.delivery import Delivery, Message
from expert_bot.schemas.envelope import format_timestamp
from expert_bot.schemas.topology import Subscription
from expert_bot.storage.sqlite_bus_setup import subscriptions, topic_exists

EMBEDDED_PROJECT: Final = "embedded"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that may be handed out now; `attempt`: how often it has been so far."""

    message_id: int
    attempt: int
    message: Message
    published_us: int


@dataclass(frozen=True, slots=True)
class AckId:
    """Names one hand-out of one message on one subscription; a later hand-out has another one."""

    message_id: int
    attempt: int
    subscription: str

    def __str__(self) -> str:
        return f"{self.message_id}:{self.attempt}:{self.subscription}"

    @classmethod
    def parse(cls, text: str) -> AckId:
        """Read what `str` wrote. Raises ValueError."""
        message_id, attempt, subscription = text.split(":", 2)
        return cls(int(message_id), int(attempt), subscription)


def to_us(instant: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return microseconds since 1970 as an aware instant, UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def fan_out(
    connection: sqlite3.Connection, message: Message, receivers: list[Subscription], now_us: int
) -> int:
    """Store a message and one delivery per receiver whose filter lets it through; return the message's id."""
    cursor = connection.execute(
        "INSERT INTO messages (data, attributes, ordering_key, published_us) VALUES (?, ?, ?, ?)",
        (message.data, json.dumps(dict(message.attributes)), message.ordering_key, now_us),
    )
    message_id = cursor.lastrowid
    if message_id is None:
        raise sqlite3.DatabaseError("a message was stored without an id")
    wanted = [policy for policy in receivers if _passes_filter(policy, message.attributes)]
    for policy in wanted:
        key = message.ordering_key if policy.ordered and message.ordering_key else None
        blocked = key is not None and _first_of_key(connection, policy.name, key) is not None
        connection.execute(
            "INSERT INTO deliveries (message_id, subscription, ordering_key, due_us) VALUES (?, ?, ?, ?)",
            (message_id, policy.name, key, None if blocked else now_us),
        )
    if not wanted:
        connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))
    return message_id


def due_deliveries(
    connection: sqlite3.Connection, subscription: str, limit: int, now_us: int
) -> Iterator[Due]:
    """Return what may be handed out now, longest due first."""
    rows = connection.execute(
        """SELECT message_id, attempt, data, attributes, messages.ordering_key, published_us
           FROM deliveries JOIN messages ON messages.id = message_id
           WHERE subscription = ? AND due_us <= ? ORDER BY due_us, message_id LIMIT ?""",
        (subscription, now_us, limit),
    ).fetchall()
    for message_id, attempt, data, attributes, ordering_key, published_us in rows:
        yield Due(
            message_id=message_id,
            attempt=attempt,
            message=Message(
                topic="", data=data, attributes=json.loads(attributes), ordering_key=ordering_key
            ),
            published_us=published_us,
        )


def lease(connection: sqlite3.Connection, policy: Subscription, due: Due, now_us: int) -> AckId:
    """Hand a delivery out until its ack deadline."""
    connection.execute(
        """UPDATE deliveries SET attempt = attempt + 1, leased = 1, due_us = ?
           WHERE message_id = ? AND subscription = ?""",
        (now_us + policy.ack_deadline_s * 1_000_000, due.message_id, policy.name),
    )
    return AckId(due.message_id, due.attempt + 1, policy.name)


def is_current(connection: sqlite3.Connection, ack: AckId) -> bool:
    """Tell whether this hand-out is still the latest and not given back."""
    row = connection.execute(
        "SELECT 1 FROM deliveries WHERE message_id = ? AND subscription = ? AND attempt = ? AND leased",
        (ack.message_id, ack.subscription, ack.attempt),
    ).fetchone()
    return row is not None


def set_due(connection: sqlite3.Connection, ack: AckId, due_us: int, *, leased: bool) -> None:
    """Extend a lease, or end it (`leased` False) so that the delivery is due at `due_us`; ignored if not current."""
    connection.execute(
        """UPDATE deliveries SET due_us = ?, leased = ?
           WHERE message_id = ? AND subscription = ? AND attempt = ? AND leased""",
        (due_us, leased, ack.message_id, ack.subscription, ack.attempt),
    )


def as_delivery(policy: Subscription, due: Due) -> Delivery:
    """Describe one hand-out; like Pub/Sub, count attempts only where there is a dead-letter policy."""
    return Delivery(
        subscription=policy.name,
        data=due.message.data,
        attributes=due.message.attributes,
        message_id=str(due.message_id),
        ordering_key=due.message.ordering_key,
        published_at=from_us(due.published_us),
        attempt=None if policy.dead_letter_topic is None else due.attempt + 1,
    )


def forward_dead(connection: sqlite3.Connection, policy: Subscription, due: Due, now_us: int) -> bool:
    """Move a delivery whose attempts are used up to the dead-letter topic, as Pub/Sub does; False if it cannot be."""
    topic = policy.dead_letter_topic
    if topic is None or due.attempt < policy.max_delivery_attempts:
        return False
    if not topic_exists(connection, topic):
        return False  # keeps being delivered: nothing is dropped for want of a place to put it
    marks = {
        "CloudPubSubDeadLetterSourceSubscription": policy.name,
        "CloudPubSubDeadLetterSourceSubscriptionProject": EMBEDDED_PROJECT,
        "CloudPubSubDeadLetterSourceDeliveryCount": str(due.attempt),
        "CloudPubSubDeadLetterSourceTopicPublishTime": format_timestamp(from_us(due.published_us)),
    }
    letter = Message(
        topic=topic,
        data=due.message.data,
        attributes={**due.message.attributes, **marks},
        ordering_key=due.message.ordering_key,
    )
    fan_out(connection, letter, subscriptions(connection, topic), now_us)
    remove_delivery(connection, due.message_id, policy.name, now_us)
    return True


def remove_delivery(connection: sqlite3.Connection, message_id: int, subscription: str, now_us: int) -> bool:
    """Forget a delivery for good, free the next one of its key and a message nobody needs; True if one was freed."""
    row = connection.execute(
        "DELETE FROM deliveries WHERE message_id = ? AND subscription = ? RETURNING ordering_key",
        (message_id, subscription),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "DELETE FROM messages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?1)",
        (message_id,),
    )
    successor = None if row[0] is None else _first_of_key(connection, subscription, row[0])
    if successor is None:
        return False
    freed = connection.execute(
        "UPDATE deliveries SET due_us = ? WHERE message_id = ? AND subscription = ? AND due_us IS NULL",
        (now_us, successor, subscription),
    )
    return freed.rowcount == 1


def expired_deliveries(connection: sqlite3.Connection, policy: Subscription, now_us: int) -> list[int]:
    """Return the messages that a subscription's retention no longer covers."""
    rows = connection.execute(
        """SELECT message_id FROM messages JOIN deliveries ON message_id = messages.id
           WHERE published_us < ? AND subscription = ? ORDER BY message_id""",
        (now_us - policy.retention_s * 1_000_000, policy.name),
    )
    return [message_id for (message_id,) in rows]


def _first_of_key(connection: sqlite3.Connection, subscription: str, key: str) -> int | None:
    row = connection.execute(
        "SELECT min(message_id) FROM deliveries WHERE subscription = ? AND ordering_key = ?",
        (subscription, key),
    ).fetchone()
    first: int | None = row[0]
    return first


def _passes_filter(policy: Subscription, attributes: Mapping[str, str]) -> bool:
    return not policy.filter or attributes.get("replayfor", policy.name) == policy.name
