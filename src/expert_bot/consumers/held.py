"""One message between its arrival and its settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from expert_bot.consumers.fairness import tenant_of
from expert_bot.delivery import Delivery


class Held:
    """A message this process is responsible for: leased until `lease_until`, a `time.monotonic`, and `is_extended` if by us.

    `task` is set while its work runs, `started_at` (event-loop time) once that has begun, `timer` while it waits for its
    retry. `begin` starts its work. It `is_gone` once it is settled or nobody's any more.
    """

    __slots__ = (
        "_begin",
        "_received",
        "_tenant",
        "ack_id",
        "crashes",
        "data",
        "is_extended",
        "is_gone",
        "is_overdue",
        "key",
        "lease_until",
        "message",
        "size",
        "started_at",
        "task",
        "timer",
    )

    def __init__(self, received: Any, key: str, lease_until: float, begin: Callable[[Held], None]) -> None:  # noqa: ANN401 - untyped generated class
        message = received.message
        self._received = received
        self.message = message
        self.ack_id: str = received.ack_id
        self.data: bytes = message.data
        self.size = len(self.data)
        self.key = key
        self.lease_until = lease_until
        self.started_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.is_extended = False
        self.is_gone = False
        self.is_overdue = False
        self.crashes = 0
        self._begin = begin
        self._tenant: str | None = None

    @property
    def attempt(self) -> int | None:
        """The broker's count of deliveries, if it counts."""
        return self._received.delivery_attempt or None

    def tenant(self) -> str:
        """Return whose message it is."""
        if self._tenant is None:
            self._tenant = tenant_of(self.data, self.message.ordering_key)
        return self._tenant

    def delivery(self, subscription: str, deadline_s: float) -> Delivery:
        """Return what the work is given: its outcome must be known by `deadline_s`, event-loop time."""
        message = self.message
        published = message.publish_time
        attributes = message.attributes
        return Delivery(
            subscription=subscription,
            data=self.data,
            attributes={name: attributes[name] for name in attributes},  # faster than `dict`
            message_id=message.message_id,
            ordering_key=message.ordering_key,
            published_at=datetime.fromtimestamp(published.seconds + published.nanos * 1e-9, UTC),
            attempt=self.attempt,
            deadline_s=deadline_s,
        )

    def start(self) -> None:
        """Begin the work; called by whoever gives the slot."""
        self._begin(self)
