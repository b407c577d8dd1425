"""What the inbox is given: settings, the work on one event, and the test hook."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from expert_bot.delivery import Message
from expert_bot.ports import Write
from expert_bot.records import record
from expert_bot.schemas.dead_letter import CauseOfDeath

NOWHERE: Final = ""
"""Topic of a message that is stored like any other and published nowhere: whoever asked is handed it."""


@record(kw_only=True)
class InboxSettings:
    """`lease_s`: how long a claim lasts without a heartbeat. `retention`: how long a finished event is remembered.

    `max_attempts`: failed attempts after which an event is dead-lettered; crashes are not counted.
    """

    lease_s: float = 30.0
    retention: timedelta = timedelta(days=46)
    max_attempts: int = 10


@record(kw_only=True)
class Decision:
    """What is to happen, all or none: messages to publish and documents to write."""

    messages: tuple[Message, ...] = ()
    writes: tuple[Write, ...] = ()


class Work(Protocol):
    """The work on one event, as the inbox sees it."""

    @property
    def timeout_s(self) -> float:
        """Time one `decide` may take."""
        ...

    @property
    def handler(self) -> str:
        """Name of the handler, `""` if none knows the event."""
        ...

    async def decide(self) -> Decision:
        """Decide without effects; may be called again. Raises PermanentError, TransientError, or anything by mistake."""
        ...

    async def explain_death(self, cause: CauseOfDeath, replay: int) -> Decision:
        """Decide what tells the requester that the event died (the dead letter itself is the inbox's).

        `replay`: how many times the event has been replayed; each death is another message with another id. May be
        called again. Raises TransientError.
        """
        ...


class Failpoints(Protocol):
    """Test hook: told of every protocol step; may raise, sleep, or end the process."""

    async def reach(self, point: str) -> None:
        """Be told that a step is about to be passed: P0 claim, P1 decide, P2 commit, P3 publish, P4 mark, P5 settle."""
        ...


class NoFailpoints:
    """Nothing happens at any step: production."""

    async def reach(self, point: str) -> None:
        """Do nothing."""
