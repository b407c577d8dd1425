"""Who calls: a Firebase ID token, or the local signer's token of the same shape.

Source: Firebase, "Verify ID tokens using a third-party JWT library".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final

from expert_bot.http.signed_tokens import (
    SKEW_S,
    FindKey,
    Members,
    NotAuthenticatedError,
    seconds,
    verified_claims,
)
from expert_bot.records import record
from expert_bot.schemas.identifiers import USER_ID_PATTERN

FIREBASE_ISSUER: Final = "https://securetoken.google.com/"
MAX_SUBJECT_CHARS: Final = 128
_USER_ID: Final = re.compile(USER_ID_PATTERN)
_MAX_NAME_CHARS: Final = 200


class Role(StrEnum):
    """What somebody may do besides reading what is his own."""

    ADMIN = "admin"
    SERVICE = "service"
    """A sibling service: asks for users other than itself, where a route says so."""


@record(kw_only=True)
class Caller:
    """Who calls. `email` is the token's word for it: without `email_verified` it may be anybody's."""

    user_id: str
    display_name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    email_verified: bool = False
    roles: frozenset[Role] = frozenset()


@record(kw_only=True)
class SignedIn:
    """A caller, and when he proved who he is: seconds since the epoch."""

    caller: Caller
    auth_time: int


class TokenReader:
    """Reads the callers of tokens that one signer has made for one audience.

    `issuer`, `audience`: the exact `iss` and `aud`. `admin_ids`: user ids that are admins whatever their tokens say.
    `now`: seconds since the epoch.
    """

    def __init__(
        self,
        find_key: FindKey,
        *,
        issuer: str,
        audience: str,
        admin_ids: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._find_key = find_key
        self._issuer = issuer
        self._audience = audience
        self._admin_ids = frozenset(admin_ids)
        self._now = now

    async def read(self, authorizations: Sequence[str]) -> SignedIn:
        """Return who a request's Authorization headers show. Raises NotAuthenticatedError, KeysUnavailableError."""
        now = self._now()
        claims = await verified_claims(authorizations, self._find_key, now)
        if claims.get("iss") != self._issuer:
            raise NotAuthenticatedError("wrong-issuer")
        if claims.get("aud") != self._audience:
            raise NotAuthenticatedError("wrong-audience")
        auth_time = seconds(claims, "auth_time")
        if auth_time - SKEW_S > now:
            raise NotAuthenticatedError("authenticated-in-the-future")
        return SignedIn(caller=self._caller(claims), auth_time=auth_time)

    def _caller(self, claims: Members) -> Caller:
        user_id = _user_id(claims)
        email = claims.get("email")
        address = email if isinstance(email, str) and email else None
        roles = {role for role in Role if claims.get("role") == role.value}
        if user_id in self._admin_ids:
            roles.add(Role.ADMIN)
        return Caller(
            user_id=user_id,
            display_name=_display_name(claims),
            email=address,
            email_verified=address is not None and claims.get("email_verified") is True,
            roles=frozenset(roles),
        )


def _user_id(claims: Members) -> str:
    """Return the account's id. Raises NotAuthenticatedError, also for one that no event could carry."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
        raise NotAuthenticatedError("no-subject")
    if not _USER_ID.fullmatch(subject):
        raise NotAuthenticatedError("unusable-subject")
    return subject


def _display_name(claims: Members) -> str | None:
    name = claims.get("name")
    if not isinstance(name, str) or not name.isprintable():
        return None
    return name.strip()[:_MAX_NAME_CHARS] or None
