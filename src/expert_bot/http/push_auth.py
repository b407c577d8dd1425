"""Who pushes: Google's signed OIDC token of a push subscription, checked before anything else of the request is looked at.

Source: Pub/Sub, "Authentication for push subscriptions"; OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515; RFC 7519.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json

ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
SKEW_S: Final = 30
MAX_TOKEN_CHARS: Final = 8 * 1024
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_REFUSED_PARAMETERS: Final = frozenset(
    {"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"}
)
"""Header parameters that name another key, or ask for a processing that is not done here."""

Authenticate = Callable[[str, Sequence[str]], Awaitable[None]]
"""Takes a subscription and the request's Authorization headers. Raises NotAuthenticatedError, NotAuthorizedError, KeysUnavailableError."""

Members = Mapping[str, strict_json.JsonValue]


class NotAuthenticatedError(Exception):
    """Nothing shows that the request comes from Pub/Sub; `reason` is a kebab-case code without personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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

    `find_key`: public key by its id, None if the signer has none of this id; may raise KeysUnavailableError. `pushers`: by
    subscription. `now`: seconds since the epoch.
    """

    def __init__(
        self,
        find_key: Callable[[str], Awaitable[RSAPublicKey | None]],
        pushers: Mapping[str, Pusher],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._find_key = find_key
        self._pushers = pushers
        self._now = now

    async def __call__(self, subscription: str, authorizations: Sequence[str]) -> None:
        """Return if the request may be accepted. Raises as `Authenticate` says."""
        header, claims, signed, signature = _split(_bearer_token(authorizations))
        key = await self._find_key(_key_id(header))
        if key is None:
            raise NotAuthenticatedError("unknown-key")
        try:
            key.verify(signature, signed, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise NotAuthenticatedError("wrong-signature") from error
        _check_times(claims, self._now())
        _check_identity(claims, self._pushers[subscription])


def _bearer_token(authorizations: Sequence[str]) -> str:
    if not authorizations:
        raise NotAuthenticatedError("no-token")
    if len(authorizations) > 1:
        raise NotAuthenticatedError("several-tokens")
    scheme, _, token = authorizations[0].partition(" ")
    if scheme != "Bearer":
        raise NotAuthenticatedError("not-a-bearer-token")
    if len(token) > MAX_TOKEN_CHARS:
        raise NotAuthenticatedError("token-too-long")
    return token


def _split(token: str) -> tuple[Members, Members, bytes, bytes]:
    """Return a compact JWS's header, claims, the bytes that are signed, and the signature."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise NotAuthenticatedError("not-a-token")
    signed = f"{parts[1]}.{parts[2]}".encode("ascii")
    return _object(parts[1]), _object(parts[2]), signed, _bytes(parts[3])


def _bytes(part: str) -> bytes:
    """Decode base64url as RFC 7515 has it; of the spellings of the same bytes only one is accepted."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError as error:
        raise NotAuthenticatedError("not-a-token") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
        raise NotAuthenticatedError("not-a-token")
    return decoded


def _object(part: str) -> Members:
    try:
        value = strict_json.loads(_bytes(part))
    except MalformedEventError as error:
        raise NotAuthenticatedError("not-a-token") from error
    if not isinstance(value, dict):
        raise NotAuthenticatedError("not-a-token")
    return value


def _key_id(header: Members) -> str:
    if header.get("alg") != "RS256":
        raise NotAuthenticatedError("wrong-algorithm")
    if not _REFUSED_PARAMETERS.isdisjoint(header) or header.get("typ", "JWT") != "JWT":
        raise NotAuthenticatedError("refused-header")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise NotAuthenticatedError("no-key-id")
    return key_id


def _check_times(claims: Members, now: float) -> None:
    if _seconds(claims, "exp") + SKEW_S <= now:
        raise NotAuthenticatedError("expired")
    if _seconds(claims, "iat") - SKEW_S > now:
        raise NotAuthenticatedError("issued-in-the-future")
    if "nbf" in claims and _seconds(claims, "nbf") - SKEW_S > now:
        raise NotAuthenticatedError("not-valid-yet")


def _seconds(claims: Members, name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotAuthenticatedError(f"no-{name}")
    return value


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
