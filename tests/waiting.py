"""Waiting in tests for something to become true, instead of sleeping for a guessed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Return once `condition` holds; fail the test, naming it, if it still does not after `within_s` seconds."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not true within {within_s} s: {condition}"
        await asyncio.sleep(0.01)
