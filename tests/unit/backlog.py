"""A subscription with messages, on the fake server: leases, redelivery, attempts."""

from __future__ import annotations

import asyncio
import bisect
import random
from collections import Counter
from typing import Any

from tests.fake_pubsub import FakePubsub, received

FIRST_LEASE_S = 10


class Backlog:
    """Hands out `messages` (data, ordering key), earliest first, each again when its lease or its delay is over.

    `mixed`: what comes back gets any place among what waits, as if the broker knew nothing of order.
    """

    def __init__(
        self, fake: FakePubsub, messages: list[tuple[bytes, str]], *, mixed: random.Random | None = None
    ) -> None:
        self.attempts: Counter[int] = Counter()
        self.acked: list[int] = []
        self._messages = messages
        self._mixed = mixed
        self._ready = [*range(len(messages))]
        self._leases: dict[int, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()
        fake.on_pull, fake.on_ack, fake.on_modify = self._pull, self._ack, self._modify

    async def _pull(self, request: Any) -> list[Any]:
        while not self._ready:
            self._changed.clear()
            await self._changed.wait()
        numbers, self._ready = self._ready[: request.max_messages], self._ready[request.max_messages :]
        self.attempts.update(numbers)
        for number in numbers:
            self._lease(number, FIRST_LEASE_S)
        return [self._received(number) for number in numbers]

    async def _ack(self, request: Any) -> None:
        for ack_id in request.ack_ids:
            number = int(ack_id)
            if (lease := self._leases.pop(number, None)) is not None:
                lease.cancel()
                self.acked.append(number)

    async def _modify(self, request: Any) -> None:
        for ack_id in request.ack_ids:
            number = int(ack_id)
            if (lease := self._leases.pop(number, None)) is not None:
                lease.cancel()
                self._lease(number, request.ack_deadline_seconds)

    def _lease(self, number: int, seconds: float) -> None:
        self._leases[number] = asyncio.get_running_loop().call_later(seconds, self._come_back, number)

    def _come_back(self, number: int) -> None:
        del self._leases[number]
        if self._mixed is None:
            bisect.insort(self._ready, number)
        else:
            self._ready.insert(self._mixed.randint(0, len(self._ready)), number)
        self._changed.set()

    def _received(self, number: int) -> Any:
        data, key = self._messages[number]
        return received(
            str(number), data=data, key=key, attempt=self.attempts[number], message_id=f"id-{number}"
        )
