"""People who call routes: their tokens, and the clock they are told the time by."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from expert_bot.http.callers import Callers
from expert_bot.http.firebase_tokens import TokenReader
from expert_bot.storage.local_signer import LOCAL_ISSUER, LocalSigner
from tests.token_mint import signer

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SIGNER = LocalSigner(signer("local").key)
STRANGER = LocalSigner(signer("stranger").key)
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


def bearer(user_id: str, *, by: LocalSigner = SIGNER, **changes: Any) -> dict[str, str]:
    """Return the headers of a user's request; its token outlives any run of the tests."""
    now = int(time.time())
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": "p",
        "sub": user_id,
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
    }
    return {"Authorization": f"Bearer {by.sign(claims | changes)}"}


ANA, BEA = bearer("user-ana"), bearer("user-bea")
STRANGERS = {
    "anonymous": {},
    "expired": bearer("user-ana", exp=1),
    "another signer's": bearer("user-ana", by=STRANGER),
}
"""Requests of nobody whom a route that asks for a token knows."""


async def _nobody(_user_id: str, _auth_time: int) -> bool:
    return False


def callers() -> Callers:
    """Return who decides who calls: tokens of `SIGNER`, none of them revoked."""
    return Callers(TokenReader(SIGNER.find_key, issuer=LOCAL_ISSUER, audience="p"), _nobody)


class SetClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at
