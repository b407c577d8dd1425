"""Grouping of one topic's outgoing messages into requests, never two requests with the same ordering key at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from expert_bot.errors import BusUnavailableError


class Outgoing:
    """One message on its way out: its protobuf body and the future its publisher awaits."""

    __slots__ = ("body", "confirmed", "key", "size")

    def __init__(self, body: Any, key: str, confirmed: asyncio.Future[str]) -> None:  # noqa: ANN401 - untyped generated class
        self.body = body
        self.confirmed = confirmed
        self.key = key
        self.size: int = body.ByteSize()

    def confirm(self, message_id: str) -> None:
        """Hand the message id to the publisher, if it still waits."""
        if not self.confirmed.done():
            self.confirmed.set_result(message_id)

    def fail(self, error: Exception) -> None:
        """Hand the failure to the publisher, if it still waits; an outage as its own copy.

        A shared exception would collect the traceback of everyone who waited for the same request.
        """
        if self.confirmed.done():
            return
        if isinstance(error, BusUnavailableError):
            copy = BusUnavailableError(str(error), retry_after_s=error.retry_after_s)
            copy.__cause__ = error.__cause__
            error = copy
        self.confirmed.set_exception(error)


class Batches:
    """The buffer of one topic. `send` settles every message of the batch it is given.

    Requests without ordering keys may overlap. A message whose key is in flight waits; if its predecessor fails, it
    fails too, because it would overtake the predecessor's repetition.
    """

    def __init__(
        self,
        *,
        send: Callable[[list[Outgoing]], Awaitable[None]],
        max_batch: int,
        max_batch_bytes: int,
        flush_after_s: float,
    ) -> None:
        self._send = send
        self._max_batch = max_batch
        self._max_batch_bytes = max_batch_bytes
        self._flush_after_s = flush_after_s
        self._waiting: list[Outgoing] = []
        self._waiting_bytes = 0
        self._busy_keys: set[str] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, outgoing: Outgoing) -> None:
        """Buffer a message; it leaves with the next batch its ordering key allows."""
        self._waiting.append(outgoing)
        self._waiting_bytes += outgoing.size
        if len(self._waiting) >= self._max_batch or self._waiting_bytes >= self._max_batch_bytes:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_after_s, self._flush)

    async def drain(self) -> None:
        """Send everything buffered and return when every request has been answered."""
        self._flush()
        while self._requests:
            await asyncio.wait(self._requests)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while batch := self._take():
            keys = {outgoing.key for outgoing in batch if outgoing.key}
            self._busy_keys |= keys
            request = asyncio.get_running_loop().create_task(self._dispatch(batch, keys))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def _take(self) -> list[Outgoing]:
        """Remove and return what may leave now, oldest first; a message too big for the batch ends it."""
        batch: list[Outgoing] = []
        kept: list[Outgoing] = []
        size = 0
        for position, outgoing in enumerate(self._waiting):
            if outgoing.confirmed.cancelled():
                continue
            if outgoing.key in self._busy_keys:
                kept.append(outgoing)
                continue
            if batch and (len(batch) >= self._max_batch or size + outgoing.size > self._max_batch_bytes):
                kept += self._waiting[position:]
                break
            batch.append(outgoing)
            size += outgoing.size
        self._waiting = kept
        self._waiting_bytes = sum(outgoing.size for outgoing in kept)
        return batch

    async def _dispatch(self, batch: list[Outgoing], keys: set[str]) -> None:
        try:
            await self._send(batch)
        finally:
            for (
                outgoing
            ) in batch:  # nobody may wait for ever, even if the channel was closed under the request
                outgoing.fail(BusUnavailableError("the publish request was interrupted"))
            self._busy_keys -= keys
            self._fail_successors(batch)
            if self._waiting:
                self._flush()

    def _fail_successors(self, batch: list[Outgoing]) -> None:
        broken = {
            outgoing.key: error
            for outgoing in batch
            if outgoing.key and isinstance(error := _error_of(outgoing), BusUnavailableError)
        }
        if broken:
            for outgoing in self._waiting:
                if error := broken.get(outgoing.key):
                    outgoing.fail(error)
            self._waiting = [outgoing for outgoing in self._waiting if not outgoing.confirmed.done()]


def _error_of(outgoing: Outgoing) -> BaseException | None:
    return None if outgoing.confirmed.cancelled() else outgoing.confirmed.exception()
