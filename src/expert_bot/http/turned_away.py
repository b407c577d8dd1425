"""Requests that are turned away for now: what is down, and when to come again."""

from __future__ import annotations

import math
from typing import Final

from aiohttp import web

from expert_bot.errors import TransientError
from expert_bot.http.problems import problem_response

RETRY_AFTER_S: Final = 5.0
"""When to come again if what is down does not say."""


def unavailable(error: TransientError, said: str, **members: str) -> web.Response:
    """Return the 503 of an outage. `said`: what cannot be done right now; `members`: extension members."""
    after_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return problem_response(503, said, headers=retry_after(after_s), **members)


def retry_after(after_s: float) -> dict[str, str]:
    """Return the header that says when to come again: whole seconds, one at least."""
    return {"Retry-After": str(max(1, math.ceil(after_s)))}
