"""The embedded bus: Pub/Sub's promises in a SQLite file, for one machine; any number of its processes may share it.

At-least-once delivery with leases, attempt counts, ordering keys, retry delays, retention and the broker's own
dead-letter backstop. Instants come from the injected clock: a wrong one costs time, not messages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from expert_bot.delivery import Delivery, Message
from expert_bot.errors import BusUnavailableError
from expert_bot.ports import ApplyReport, Clock
from expert_bot.schemas.topology import Subscription, Topology
from expert_bot.storage import sqlite_bus_queue as queue
from expert_bot.storage import sqlite_bus_setup as setup
from expert_bot.storage.sqlite_file import FAILURES, SqliteFile

T = TypeVar("T")

TEMPORARY_RETENTION_S: Final = 3600
_SWEEP_EVERY_US: Final = 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A leased delivery: settle it by `ack_id` within `lease_s` seconds, or it is delivered again."""

    ack_id: str
    delivery: Delivery
    lease_s: float


class SqliteBus:
    """Topics, subscriptions and their messages. Every method is one transaction and raises BusUnavailableError."""

    def __init__(self, file: SqliteFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._listeners: set[Callable[[], None]] = set()
        self._next_sweep_us = 0
        file.add_schema(setup.SCHEMA)

    async def publish(self, messages: Sequence[Message]) -> list[str]:
        """Accept all messages or none, in order, and return their ids; what a message may be is the publisher's check."""
        now_us = self._now_us()

        def insert(connection: sqlite3.Connection) -> list[int]:
            receivers: dict[str, list[Subscription]] = {}
            for topic in {message.topic for message in messages}:
                setup.require_topic(connection, topic)
                receivers[topic] = setup.subscriptions(connection, topic)
            return [
                queue.fan_out(connection, message, receivers[message.topic], now_us) for message in messages
            ]

        ids = await self._run(insert, write=True)
        self._wake_listeners()
        return [str(message_id) for message_id in ids]

    async def receive(self, subscription: str, limit: int) -> list[Received]:
        """Lease up to `limit` deliveries that are due; of one ordering key only the earliest message."""
        now_us = self._now_us()
        if now_us >= self._next_sweep_us:
            await self.sweep()

        def is_any_due(connection: sqlite3.Connection) -> bool:
            setup.require_subscription(connection, subscription)
            return any(queue.due_deliveries(connection, subscription, min(limit, 1), now_us))

        def take(connection: sqlite3.Connection) -> list[Received]:
            policy = setup.require_subscription(connection, subscription)
            return [
                Received(
                    ack_id=str(queue.lease(connection, policy, due, now_us)),
                    delivery=queue.as_delivery(policy, due),
                    lease_s=policy.ack_deadline_s,
                )
                for due in list(queue.due_deliveries(connection, subscription, limit, now_us))
                if not queue.forward_dead(connection, policy, due, now_us)
            ]

        # An idle poll only reads, so that it never waits for, nor delays, another process's writes.
        return await self._run(take, write=True) if await self._run(is_any_due) else []

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Settle deliveries for good; ids of an earlier hand-out are ignored."""
        now_us = self._now_us()
        parsed = [queue.AckId.parse(ack_id) for ack_id in ack_ids]

        def settle(connection: sqlite3.Connection) -> bool:
            freed = [
                queue.remove_delivery(connection, ack.message_id, ack.subscription, now_us)
                for ack in parsed
                if queue.is_current(connection, ack)
            ]
            return any(freed)

        if await self._run(settle, write=True):
            self._wake_listeners()

    async def modify_deadline(self, ack_ids: Sequence[str], seconds: float) -> None:
        """Let leases end `seconds` from now; 0 gives them back at once. Ids of an earlier hand-out are ignored."""
        due_us = self._now_us() + round(seconds * 1_000_000)
        parsed = [queue.AckId.parse(ack_id) for ack_id in ack_ids]

        def extend(connection: sqlite3.Connection) -> None:
            for ack in parsed:
                queue.set_due(connection, ack, due_us, leased=seconds > 0)

        await self._run(extend, write=True)

    async def nack(self, ack_id: str, after_s: float | None = None) -> None:
        """Give a delivery back, to be handed out `after_s` seconds from now.

        None: after the subscription's own backoff, which doubles with every attempt. An id of an earlier hand-out is
        ignored.
        """
        now_us = self._now_us()
        ack = queue.AckId.parse(ack_id)

        def give_back(connection: sqlite3.Connection) -> None:
            delay_s = after_s
            if delay_s is None:
                delay_s = backoff_s(setup.require_subscription(connection, ack.subscription), ack.attempt)
            queue.set_due(connection, ack, now_us + round(delay_s * 1_000_000), leased=False)

        await self._run(give_back, write=True)

    async def sweep(self) -> None:
        """Delete what subscriptions' retention no longer covers; `receive` does so about once a minute."""
        now_us = self._now_us()

        def delete_expired(connection: sqlite3.Connection) -> None:
            for policy in setup.subscriptions(connection):
                for message_id in queue.expired_deliveries(connection, policy, now_us):
                    queue.remove_delivery(connection, message_id, policy.name, now_us)

        await self._run(delete_expired, write=True)
        self._next_sweep_us = now_us + _SWEEP_EVERY_US

    async def apply(self, topology: Topology) -> ApplyReport:
        """Create what is missing; change nothing that exists. Raises ValueError for a filter it cannot apply."""

        def create(connection: sqlite3.Connection) -> ApplyReport:
            outcomes = [(topic.name, setup.add_topic(connection, topic.name)) for topic in topology.topics]
            outcomes += [
                (policy.name, setup.add_subscription(connection, policy)) for policy in topology.subscriptions
            ]
            return ApplyReport(
                created=tuple(name for name, is_new in outcomes if is_new),
                existing=tuple(name for name, is_new in outcomes if not is_new),
            )

        return await self._run(create, write=True)

    async def create_temporary_subscription(
        self, name: str, topic: str, *, filter_expression: str = ""
    ) -> None:
        """Create an unordered subscription that keeps messages for an hour and retries at once."""
        del filter_expression  # few share an embedded bus: everything is delivered
        policy = Subscription(
            name=name,
            topic=topic,
            ordered=False,
            min_backoff_s=0,
            max_backoff_s=0,
            retention_s=TEMPORARY_RETENTION_S,
            dead_letter_topic=None,
        )
        await self._run(lambda connection: setup.add_subscription(connection, policy), write=True)

    async def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its messages; absent is fine."""
        await self._run(lambda connection: setup.remove_subscription(connection, name), write=True)

    async def ping(self) -> None:
        """Read one row."""
        await self._run(lambda connection: connection.execute("SELECT 1 FROM topics LIMIT 1").fetchone())

    async def close(self) -> None:
        """Close the file; safe to call twice."""
        await self._file.close()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` whenever this process may have made a message available."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def _wake_listeners(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def _now_us(self) -> int:
        return queue.to_us(self._clock.now())

    async def _run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        try:
            return await self._file.run(work, write=write)
        except FAILURES as error:
            raise BusUnavailableError(f"bus file {self._file.path}: {error}") from error


def backoff_s(policy: Subscription, attempt: int) -> float:
    """Return how long a subscription waits before delivery `attempt` + 1, seconds: min, doubled each time, up to max."""
    doublings = min(attempt - 1, 30)  # beyond any maximum; keeps the number small
    return min(policy.min_backoff_s * 2.0**doublings, policy.max_backoff_s)
