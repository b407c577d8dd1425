"""A signer of tokens as Google's, with its own keys, and the server that publishes them: tests never ask Google."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

AUDIENCE = "https://bot.example.org/push"
EMAIL = "pusher@example-project.iam.gserviceaccount.com"


def encoded(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An RSA key and its id."""

    key_id: str
    key: RSAPrivateKey

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public key as a member of a JWK set."""
        numbers = self.key.public_key().public_numbers()
        members = {
            "kid": self.key_id,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "e": _number(numbers.e),
            "n": _number(numbers.n),
        }
        return {name: value for name, value in (members | changes).items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return the header of this key's tokens; a change to None leaves a member out."""
        members = {"alg": "RS256", "kid": self.key_id, "typ": "JWT"} | changes
        return {name: value for name, value in members.items() if value is not None}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Return a signed token."""
        return self.sign_text(json.dumps(self.header(**header)), json.dumps(claims))

    def sign_text(self, header: str, claims: str) -> str:
        """Return a token over texts that need not be good JSON."""
        signed = f"{encoded(header.encode())}.{encoded(claims.encode())}"
        return f"{signed}.{encoded(self.key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


@cache
def signer(key_id: str = "key-1", *, bits: int = 2048) -> Signer:
    """Return the signer of a key id, the same for the whole test session."""
    return Signer(key_id=key_id, key=generate_private_key(65537, bits))


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid token as Pub/Sub sends them; a change to None leaves one out."""
    now = int(time.time())
    members = {
        "aud": AUDIENCE,
        "azp": "113774264463038321964",
        "email": EMAIL,
        "email_verified": True,
        "exp": now + 3600,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": "113774264463038321964",
    } | changes
    return {name: value for name, value in members.items() if value is not None}


class KeyServer:
    """Publishes keys over HTTP and counts how often it was asked. `answer`: replaces the usual answer."""

    def __init__(self, *signers: Signer, cache_control: str = "public, max-age=3600") -> None:
        self.signers = list(signers)
        self.cache_control = cache_control
        self.answer: Callable[[], web.Response] | None = None
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    async def _serve(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        if self.answer is not None:
            return self.answer()
        keys = [each.jwk() for each in self.signers]
        return web.json_response({"keys": keys}, headers={"Cache-Control": self.cache_control})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[KeyServer]:
        """Serve on a free port of loopback for as long as the block runs."""
        app = web.Application()
        app.router.add_get("/certs", self._serve)
        server = TestServer(app)
        await server.start_server()
        self.url = str(server.make_url("/certs"))
        try:
            yield self
        finally:
            self.may_answer.set()
            await server.close()


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
