"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Iterator


def jittered_delays(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield delays in seconds for ever: doubling from `first_s` to `longest_s`, each shortened by up to a half.

    The shortening keeps many workers that lost the same server from coming back at the same moment.
    """
    delay_s = first_s
    while True:
        yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
        delay_s = min(longest_s, delay_s * 2)
