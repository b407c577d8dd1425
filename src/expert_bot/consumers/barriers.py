"""Ordering keys whose messages were handed back: what comes later must not overtake them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

_SHORTEST_REFUSAL_S: Final = 1.0
_LONGEST_REFUSAL_S: Final = 10.0


class _Barrier:
    __slots__ = ("awaited", "due_at", "ends_at")

    def __init__(self) -> None:
        self.awaited: deque[str] = deque()
        self.due_at = 0.0
        self.ends_at = 0.0


class Barriers:
    """Per ordering key the message ids that were handed back and are awaited, in their order; times are `time.monotonic`.

    While the first of them is awaited, every other message of the key is refused, and awaited after them. Another worker
    may have got it, so a barrier ends by itself `ack_deadline_s` seconds after the messages were due.
    """

    def __init__(self, ack_deadline_s: float) -> None:
        self._ack_deadline_s = ack_deadline_s
        self._by_key: dict[str, _Barrier] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def put(self, key: str, message_ids: Sequence[str], after_s: float, now: float) -> None:
        """Await messages that are handed back for `after_s` seconds, before whatever else the key awaits."""
        barrier = self._by_key.setdefault(key, _Barrier())
        barrier.awaited.extendleft(reversed(message_ids))
        barrier.due_at = max(barrier.due_at, now + after_s)
        barrier.ends_at = max(barrier.ends_at, barrier.due_at + self._ack_deadline_s)

    def refuse(self, key: str, message_id: str, now: float) -> float | None:
        """Return for how many seconds to hand back a message that has arrived, or None if it is its turn."""
        barrier = self._by_key.get(key)
        if barrier is None:
            return None
        if now >= barrier.ends_at:
            del self._by_key[key]
            return None
        awaited = barrier.awaited
        if awaited[0] == message_id:
            awaited.popleft()
            if not awaited:
                del self._by_key[key]
            return None
        if message_id not in awaited:
            awaited.append(message_id)
        if now >= barrier.due_at:  # each refusal costs one of the broker's attempts
            return max(_SHORTEST_REFUSAL_S, min(_LONGEST_REFUSAL_S, self._ack_deadline_s / 6))
        return barrier.due_at - now + _SHORTEST_REFUSAL_S

    def expire(self, now: float) -> None:
        """Forget barriers that have ended."""
        for key in [key for key, barrier in self._by_key.items() if now >= barrier.ends_at]:
            del self._by_key[key]
