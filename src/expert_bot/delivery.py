"""What comes in, what goes out, and how an incoming message is settled: shared by every transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from expert_bot.records import record


@record(kw_only=True)
class Delivery:
    """One delivery of one bus message, from pull, push or the embedded bus.

    `subscription`: short name (`expert-bot-chat-requests`). `attempt`: the broker's own count where it gives one
    (informative only; the inbox counts for itself). `deadline_s`: event-loop time by which the outcome must be known.
    """

    subscription: str
    data: bytes
    attributes: Mapping[str, str]
    message_id: str = ""
    ordering_key: str = ""
    published_at: datetime | None = None
    attempt: int | None = None
    deadline_s: float | None = None


@record(kw_only=True)
class Message:
    """One outgoing bus message: exactly the bytes and attributes that will be on the wire."""

    topic: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""


@record()
class Ack:
    """The work is durable and its replies are confirmed. `duplicate`: it had been before this delivery."""

    duplicate: bool = False


@record()
class Retry:
    """Deliver again, not before `after_s` seconds."""

    after_s: float
    cause: str


@record()
class DeadLetter:
    """The event can never succeed; its dead letter is already confirmed, so settle it like an `Ack`."""

    reason: str


Outcome = Ack | Retry | DeadLetter
