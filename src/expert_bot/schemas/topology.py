"""The topics and subscriptions the service needs, derived from the event families.

Terraform, the emulators and the embedded bus are all set up from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from expert_bot.schemas.families import all_families

ARCHIVE_SUBSCRIPTION: Final = "expert-bot-dead-letters"
MAX_DELIVERY_ATTEMPTS: Final = 20
ACK_DEADLINE_S: Final = 60
PUSH_ACK_DEADLINE_S: Final = 600
MIN_BACKOFF_S: Final = 10
MAX_BACKOFF_S: Final = 600
RETENTION_S: Final = 7 * 24 * 3600
DEAD_LETTER_RETENTION_S: Final = 31 * 24 * 3600
REPLAY_HORIZON_S: Final = 7 * 24 * 3600
NEEDED_DEDUP_DAYS: Final = (RETENTION_S + DEAD_LETTER_RETENTION_S + REPLAY_HORIZON_S) // (24 * 3600) + 1
"""How long a finished event must be remembered for no copy of it to come later: all retentions, replays, and a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic and what it carries."""

    name: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription and its delivery policy; durations in seconds.

    `dead_letter_topic`: the broker's own backstop after `max_delivery_attempts`; None for the dead letters themselves.
    `filter`: Pub/Sub filter; cannot be changed after creation, so the replay clause is there from the first day.
    """

    name: str
    topic: str
    ordered: bool = True
    ack_deadline_s: int = ACK_DEADLINE_S
    push_ack_deadline_s: int = PUSH_ACK_DEADLINE_S
    min_backoff_s: int = MIN_BACKOFF_S
    max_backoff_s: int = MAX_BACKOFF_S
    retention_s: int = RETENTION_S
    dead_letter_topic: str | None = DEAD_LETTER_TOPIC
    max_delivery_attempts: int = MAX_DELIVERY_ATTEMPTS
    filter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that must exist on the bus."""

    topics: tuple[Topic, ...]
    subscriptions: tuple[Subscription, ...]


def replay_filter(subscription: str) -> str:
    """Return the filter that lets ordinary messages through, and of replayed ones only those meant for this subscription."""
    return f'NOT attributes:replayfor OR attributes.replayfor = "{subscription}"'


@cache
def topology() -> Topology:
    """Return the topology the current event families need."""
    families = all_families()
    topics = [
        topic
        for family in families
        for topic in (
            Topic(name=family.request_topic, purpose=f"Requests of the {family.name} family."),
            Topic(name=family.reply_topic, purpose=f"Replies and failures of the {family.name} family."),
        )
    ]
    topics.append(
        Topic(
            name=DEAD_LETTER_TOPIC, purpose="Events that could not be handled, bytes unchanged, with reasons."
        )
    )
    subscriptions = [
        Subscription(
            name=family.subscription, topic=family.request_topic, filter=replay_filter(family.subscription)
        )
        for family in families
    ]
    subscriptions.append(
        Subscription(
            name=ARCHIVE_SUBSCRIPTION,
            topic=DEAD_LETTER_TOPIC,
            ordered=False,
            dead_letter_topic=None,
            retention_s=DEAD_LETTER_RETENTION_S,
        )
    )
    return Topology(topics=tuple(topics), subscriptions=tuple(subscriptions))
