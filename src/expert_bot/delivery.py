"""What comes in, what goes out, and how an incoming message is settled: shared by every transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Final

from expert_bot.records import record

REPLAY_FOR: Final = "replayfor"
"""Attribute of a replayed message: the short name of the only subscription it is meant for."""
REPLAYS: Final = "dl-replays"
"""Attribute of dead letters and replayed messages: how many times the event has been replayed."""
_TOO_MANY_DIGITS: Final = 10


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

    @property
    def replay(self) -> int:
        """How many times operations have replayed this message by now; 0 for any other delivery."""
        if REPLAY_FOR not in self.attributes:
            return 0
        count = self.attributes.get(REPLAYS, "")
        return (
            max(1, int(count)) if count.isascii() and count.isdigit() and len(count) < _TOO_MANY_DIGITS else 1
        )


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
