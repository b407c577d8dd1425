"""Bearer tokens that somebody has signed with RS256: everything that holds for all of them, whoever they speak for.

Source: RFC 6750; RFC 7515; RFC 7519; RFC 8725 (one algorithm, no key from the token itself).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json

SKEW_S: Final = 30
MAX_TOKEN_CHARS: Final = 8 * 1024
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_REFUSED_PARAMETERS: Final = frozenset(
    {"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"}
)
"""Header parameters that name another key, or ask for a processing that is not done here."""

Members = Mapping[str, strict_json.JsonValue]
FindKey = Callable[[str], Awaitable[RSAPublicKey | None]]
"""Takes a key id. Returns None if the signer has no such key. May raise KeysUnavailableError."""


class NotAuthenticatedError(Exception):
    """Nothing shows who sends the request; `reason` is a kebab-case code without personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def verified_claims(authorizations: Sequence[str], find_key: FindKey, now: float) -> Members:
    """Return the claims of a request's one bearer token: genuine, and of this time; whose and for whom is not looked at.

    `authorizations`: all Authorization headers. `now`: seconds since the epoch; clocks may differ by `SKEW_S`. Raises
    NotAuthenticatedError, and what `find_key` raises.
    """
    header, claims, signed, signature = _split(_bearer_token(authorizations))
    key = await find_key(_key_id(header))
    if key is None:
        raise NotAuthenticatedError("unknown-key")
    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise NotAuthenticatedError("wrong-signature") from error
    _check_times(claims, now)
    return claims


def seconds(claims: Members, name: str) -> int:
    """Return a claim that is a time in seconds since the epoch. Raises NotAuthenticatedError(`no-NAME`)."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotAuthenticatedError(f"no-{name.replace('_', '-')}")
    return value


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
    if seconds(claims, "exp") + SKEW_S <= now:
        raise NotAuthenticatedError("expired")
    if seconds(claims, "iat") - SKEW_S > now:
        raise NotAuthenticatedError("issued-in-the-future")
    if "nbf" in claims and seconds(claims, "nbf") - SKEW_S > now:
        raise NotAuthenticatedError("not-valid-yet")
