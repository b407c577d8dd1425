"""Tables, topics and subscriptions of the embedded bus; every function is one step inside the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Final

from expert_bot.errors import BusUnavailableError
from expert_bot.schemas.topology import Subscription, replay_filter

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS subscriptions (name TEXT PRIMARY KEY, topic TEXT NOT NULL, policy TEXT NOT NULL)",
    # AUTOINCREMENT: the id of a deleted message is never given to another one
    """CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB NOT NULL, attributes TEXT NOT NULL,
        ordering_key TEXT NOT NULL, published_us INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS messages_by_age ON messages (published_us)",
    """CREATE TABLE IF NOT EXISTS deliveries (
        message_id INTEGER NOT NULL, subscription TEXT NOT NULL, ordering_key TEXT,
        due_us INTEGER, attempt INTEGER NOT NULL DEFAULT 0, leased INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (message_id, subscription)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (subscription, due_us)",
    """CREATE INDEX IF NOT EXISTS deliveries_in_order ON deliveries (subscription, ordering_key, message_id)
        WHERE ordering_key IS NOT NULL""",
)


def add_topic(connection: sqlite3.Connection, name: str) -> bool:
    """Create a topic; False if it was there."""
    return connection.execute("INSERT OR IGNORE INTO topics VALUES (?)", (name,)).rowcount == 1


def add_subscription(connection: sqlite3.Connection, policy: Subscription) -> bool:
    """Create a subscription; False if the name was taken.

    Raises BusUnavailableError if its topic is missing, ValueError for a filter this bus cannot apply.
    """
    if policy.filter not in ("", replay_filter(policy.name)):
        raise ValueError(
            f"subscription {policy.name}: the embedded bus knows no filter but the replay filter"
        )
    require_topic(connection, policy.topic)
    row = (policy.name, policy.topic, json.dumps(asdict(policy)))
    return connection.execute("INSERT OR IGNORE INTO subscriptions VALUES (?, ?, ?)", row).rowcount == 1


def remove_subscription(connection: sqlite3.Connection, name: str) -> None:
    """Delete a subscription and what only it still needed."""
    connection.execute("DELETE FROM subscriptions WHERE name = ?", (name,))
    connection.execute("DELETE FROM deliveries WHERE subscription = ?", (name,))
    connection.execute(
        "DELETE FROM messages WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = messages.id)"
    )


def topic_exists(connection: sqlite3.Connection, name: str) -> bool:
    """Tell whether there is such a topic."""
    return connection.execute("SELECT 1 FROM topics WHERE name = ?", (name,)).fetchone() is not None


def require_topic(connection: sqlite3.Connection, name: str) -> None:
    """Raise BusUnavailableError if there is no such topic."""
    if not topic_exists(connection, name):
        raise BusUnavailableError(
            f"topic {name} does not exist on the embedded bus; run `expert-bot topics apply`"
        )


def require_subscription(connection: sqlite3.Connection, name: str) -> Subscription:
    """Return a subscription's policy. Raises BusUnavailableError if there is no such subscription."""
    row = connection.execute("SELECT policy FROM subscriptions WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise BusUnavailableError(
            f"subscription {name} does not exist on the embedded bus; run `expert-bot topics apply`"
        )
    return Subscription(**json.loads(row[0]))


def subscriptions(connection: sqlite3.Connection, topic: str | None = None) -> list[Subscription]:
    """Return the policies of a topic's subscriptions, or of all."""
    rows = connection.execute(
        "SELECT policy FROM subscriptions WHERE ?1 IS NULL OR topic = ?1 ORDER BY name", (topic,)
    )
    return [Subscription(**json.loads(policy)) for (policy,) in rows]
