"""Messages out to the embedded bus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError, TransientError
from expert_bot.publishers.pubsub_limits import check_limits
from expert_bot.storage.sqlite_bus import SqliteBus

_Waiting = tuple[Message, "asyncio.Future[str]"]


class EmbeddedPublisher:
    """The Publisher port over the embedded bus; what is published at the same time is stored in one transaction."""

    def __init__(self, bus: SqliteBus) -> None:
        self._bus = bus
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None

    async def publish(self, message: Message) -> str:
        """Return the message's id once it is on disk. Raises BusUnavailableError or MessageRefusedError."""
        check_limits(message)
        confirmed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, confirmed))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())
        return await confirmed

    async def ping(self) -> None:
        """Return if the bus's file can be read. Raises BusUnavailableError."""
        await self._bus.ping()

    async def close(self) -> None:
        """Send what is waiting, then close the bus; safe to call twice."""
        if self._sender is not None:
            await self._sender
        await self._bus.close()

    async def _send_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            for topic in dict.fromkeys(message.topic for message, _ in batch):
                # one topic, one transaction: a topic that does not exist fails its own messages only
                await self._send([waiting for waiting in batch if waiting[0].topic == topic])

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        try:
            ids = await self._bus.publish([message for message, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever happened, everyone who waits is told
            for _, confirmed in batch:
                if not confirmed.done():
                    confirmed.set_exception(_own_copy(error))
            return
        for (_, confirmed), message_id in zip(batch, ids, strict=True):
            if not confirmed.done():
                confirmed.set_result(message_id)


def _own_copy(error: Exception) -> Exception:
    """One exception per caller: a shared one would collect every caller's traceback."""
    if not isinstance(error, TransientError):
        return error
    copy = BusUnavailableError(str(error), retry_after_s=error.retry_after_s)
    copy.__cause__ = error
    return copy
