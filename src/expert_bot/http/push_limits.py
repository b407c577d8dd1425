"""How many pushes are worked on at once: altogether, and of one user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class OverLimitError(Exception):
    """As much as may be is being worked on already. `of_tenant`: by this user, otherwise by all together."""

    def __init__(self, *, of_tenant: bool) -> None:
        super().__init__("too many pushes of one user" if of_tenant else "too many pushes")
        self.of_tenant = of_tenant


class PushLimits:
    """Counts running pushes. `total`: of all users together. `per_tenant`: of one."""

    def __init__(self, *, total: int, per_tenant: int) -> None:
        self._total = total
        self._per_tenant = per_tenant
        self._running = 0
        self._of_tenant: Counter[str] = Counter()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take one of all slots for as long as the block runs. Raises OverLimitError."""
        if self._running >= self._total:
            raise OverLimitError(of_tenant=False)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    @contextmanager
    def tenant_slot(self, tenant: str) -> Iterator[None]:
        """Take one of a tenant's slots for as long as the block runs. Raises OverLimitError."""
        if self._of_tenant[tenant] >= self._per_tenant:
            raise OverLimitError(of_tenant=True)
        self._of_tenant[tenant] += 1
        try:
            yield
        finally:
            self._of_tenant[tenant] -= 1
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]
