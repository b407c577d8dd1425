"""Who pushes: Google's signed OIDC token of a push subscription, checked before anything else of the request is looked at.

Source: Pub/Sub, "Authentication for push subscriptions"; OpenID Connect Core 1.0, section 3.1.3.7.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from expert_bot.http.signed_tokens import FindKey, Members, NotAuthenticatedError, verified_claims

ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")

Authenticate = Callable[[str, Sequence[str]], Awaitable[None]]
"""Takes a subscription and the request's Authorization headers. Raises NotAuthenticatedError, NotAuthorizedError, KeysUnavailableError."""


class NotAuthorizedError(Exception):
    """The token is genuine, but another service account's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pusher:
    """Whose tokens a subscription's pushes carry: the exact `aud` and `email`."""

    audience: str
    email: str


async def accept_all(_subscription: str, _authorizations: Sequence[str]) -> None:
    """Accept every request: somebody in front has authenticated it, or nobody needs to."""


class OidcAuthenticator:
    """Accepts requests whose one bearer token Google has signed for the subscription's pusher.

    `pushers`: by subscription. `now`: seconds since the epoch.
    """

    def __init__(
        self, find_key: FindKey, pushers: Mapping[str, Pusher], *, now: Callable[[], float] = time.time
    ) -> None:
        self._find_key = find_key
        self._pushers = pushers
        self._now = now

    async def __call__(self, subscription: str, authorizations: Sequence[str]) -> None:
        """Return if the request may be accepted. Raises as `Authenticate` says."""
        claims = await verified_claims(authorizations, self._find_key, self._now())
        _check_identity(claims, self._pushers[subscription])


def _check_identity(claims: Members, pusher: Pusher) -> None:
    if claims.get("iss") not in ISSUERS:
        raise NotAuthenticatedError("wrong-issuer")
    if claims.get("aud") != pusher.audience:
        raise NotAuthenticatedError("wrong-audience")
    subject, email = claims.get("sub"), claims.get("email")
    if not isinstance(subject, str) or not subject:
        raise NotAuthenticatedError("no-subject")
    if claims.get("email_verified") is not True or not isinstance(email, str) or not email:
        raise NotAuthenticatedError("no-verified-email")
    if email != pusher.email:
        raise NotAuthorizedError("another service account")
