"""The public keys of a token signer: a JWK set (RFC 7517), fetched once for many, cached, and renewed before it is needed."""

from __future__ import annotations

import asyncio
import base64
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json

FETCH_TIMEOUT_S: Final = 3.0
MAX_RESPONSE_BYTES: Final = 64 * 1024
MIN_AGE_S: Final = 60.0
MAX_AGE_S: Final = 24 * 3600.0
STALE_S: Final = 3600.0
"""How long past their age keys are still used while the key server is down."""
PAUSE_S: Final = 30.0
"""Shortest time between two fetches while there are keys; longest between two attempts while there are none."""
_RENEW_AT: Final = 0.8  # of the age: a renewal that fails has time for more attempts before anything expires
_KEY_BITS: Final = range(2048, 8193)  # weaker ones can be broken, longer ones take too long
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,10})", re.IGNORECASE)

_log = structlog.get_logger(__name__)


class KeysUnavailableError(Exception):
    """The keys are not known right now; ask again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the signer's keys cannot be had; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class BadKeySetError(Exception):
    """What the key server said is not a usable JWK set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Public keys by their ids, and for how many seconds they may be used without asking again."""

    keys: Mapping[str, RSAPublicKey]
    age_s: float


Fetch = Callable[[str], Awaitable[KeySet]]


async def fetch_key_set(url: str, *, timeout_s: float = FETCH_TIMEOUT_S) -> KeySet:
    """Fetch a JWK set. Raises BadKeySetError, aiohttp's ClientError, or TimeoutError."""
    timeout = ClientTimeout(total=timeout_s)
    async with ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
        if response.status != 200:  # noqa: PLR2004  # OK
            raise BadKeySetError(f"status {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise BadKeySetError(f"more than {MAX_RESPONSE_BYTES} bytes")
        return KeySet(keys=parse_jwk_set(bytes(body)), age_s=_age_s(response.headers))


def parse_jwk_set(body: bytes) -> dict[str, RSAPublicKey]:
    """Return the RSA signing keys of a JWK set by their ids. Raises BadKeySetError if there is none."""
    try:
        document = strict_json.loads(body)
    except MalformedEventError as error:
        raise BadKeySetError(error.detail) from error
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise BadKeySetError("no `keys`")
    keys = {}
    for member in members:
        if isinstance(member, dict) and (key := _signing_key(member)) is not None:
            keys[str(member["kid"])] = key
    if not keys:
        raise BadKeySetError("no RSA signing key")
    return keys


class KeyCache:
    """The current keys of one signer. `now`: seconds of a clock that only runs forward.

    Keys are used for their age, renewed in the background before it ends, and used for `STALE_S` longer while the server
    is down. However many callers wait, one fetch runs at a time, and not more often than `PAUSE_S` allows.
    """

    def __init__(
        self, url: str, *, fetch: Fetch = fetch_key_set, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._now = now
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._renew_at = self._usable_until = self._attempt_at = -math.inf
        self._failures = 0
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> RSAPublicKey | None:
        """Return a key, or None if the signer has none of this id. Raises KeysUnavailableError."""
        now = self._now()
        if now < self._usable_until:
            if now >= self._renew_at and now >= self._attempt_at:
                self._start_fetch()
            key = self._keys.get(key_id)
            if key is not None:
                return key
            if now < self._attempt_at and not self._failures:
                return None  # they were fetched a moment ago: it is not a new one
        if self._fetching is None and now < self._attempt_at:
            raise KeysUnavailableError(self._attempt_at - now)
        await asyncio.shield(self._start_fetch())
        if self._failures:
            raise KeysUnavailableError(self._attempt_at - self._now())
        return self._keys.get(key_id)

    def _start_fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            fetched = await self._fetch(self._url)
        except (BadKeySetError, ClientError, TimeoutError, OSError) as error:
            self._failures += 1
            self._attempt_at = self._now() + self._pause_s()
            _log.warning(
                "keys_unavailable",
                url=self._url,
                error=type(error).__name__,
                failures=self._failures,
                usable=self._now() < self._usable_until,
            )
        else:
            now = self._now()
            self._failures = 0
            self._keys = fetched.keys
            self._renew_at = now + _RENEW_AT * fetched.age_s
            self._usable_until = now + fetched.age_s + STALE_S
            self._attempt_at = now + PAUSE_S
        finally:
            self._fetching = None

    def _pause_s(self) -> float:
        """Without keys nothing works: then the first attempts follow each other sooner."""
        return PAUSE_S if self._now() < self._usable_until else min(2.0 ** (self._failures - 1), PAUSE_S)


def _signing_key(member: Mapping[str, strict_json.JsonValue]) -> RSAPublicKey | None:
    """Return the key of a JWK, None if it is for another purpose or algorithm, or of an unfit size."""
    exponent, modulus = member.get("e"), member.get("n")
    is_for_us = (
        member.get("kty") == "RSA"
        and member.get("use", "sig") == "sig"
        and member.get("alg", "RS256") == "RS256"
        and isinstance(member.get("kid"), str)
    )
    if not is_for_us or not isinstance(exponent, str) or not isinstance(modulus, str):
        return None
    try:
        key = RSAPublicNumbers(e=_number(exponent), n=_number(modulus)).public_key()
    except ValueError:
        return None
    return key if key.key_size in _KEY_BITS else None


def _number(text: str) -> int:
    """Read a Base64urlUInt (RFC 7518). Raises ValueError."""
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _age_s(headers: Mapping[str, str]) -> float:
    """Return what is left of the response's `max-age`, within bounds; the least if it has none (RFC 9111)."""
    found = _MAX_AGE.search(headers.get("Cache-Control", ""))
    passed = headers.get("Age", "0")
    left = (int(found[1]) if found else 0) - (
        int(passed[:10]) if passed.isascii() and passed.isdigit() else 0
    )
    return min(max(float(left), MIN_AGE_S), MAX_AGE_S)
