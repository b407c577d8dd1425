"""Whose turn it is: tenants found in raw messages, and a queue that serves them in turn."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_LOOK_AT_BYTES: Final = 4096
_USER: Final = re.compile(rb'"user_id"\s*:\s*"([^"\\]{1,256})"')

T = TypeVar("T")


def tenant_of(data: bytes, ordering_key: str) -> str:
    """Return whom a message belongs to: the `user_id` near the start of its JSON, else its ordering key, else "".

    A glance, not a parse: it decides about turns only, so a wrong answer costs fairness and nothing else.
    """
    found = _USER.search(data, 0, _LOOK_AT_BYTES)
    return found[1].decode("utf-8", "replace") if found else ordering_key


class FairQueue(Generic[T]):
    """Serves tenants round robin, and each tenant's items in the order they came."""

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}  # in the order of turns

    def __bool__(self) -> bool:
        return bool(self._items)

    def push(self, tenant: str, item: T) -> None:
        """Add an item; a tenant that had none waits for the end of the round."""
        items = self._items.get(tenant)
        if items is None:
            self._items[tenant] = deque((item,))
        else:
            items.append(item)

    def pop(self) -> T:
        """Remove and return the next tenant's earliest item. StopIteration if there is none."""
        tenant = next(iter(self._items))
        items = self._items.pop(tenant)
        item = items.popleft()
        if items:
            self._items[tenant] = items
        return item

    def remove(self, is_gone: Callable[[T], bool]) -> None:
        """Forget every item for which `is_gone` holds."""
        left = {
            tenant: deque(item for item in items if not is_gone(item))
            for tenant, items in self._items.items()
        }
        self._items = {tenant: items for tenant, items in left.items() if items}
