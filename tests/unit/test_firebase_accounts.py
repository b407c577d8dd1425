"""Whose tokens Firebase has revoked, as its accounts API says it; whatever else it says lets nobody in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import google.auth
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from expert_bot.config import Mode, Settings
from expert_bot.errors import StoreUnavailableError
from expert_bot.http.identity import make_revocations
from expert_bot.ports import DocKey, Put
from expert_bot.storage.firebase_accounts import FirebaseAccounts, GoogleAccessToken
from expert_bot.storage.memory_documents import MemoryDocuments

SIGNED_IN = 1_700_000_000
ANA = {"localId": "user-ana"}


class Api:
    """An accounts API with one answer, that records what it was asked."""

    def __init__(self) -> None:
        self.body = b"{}"
        self.status = 200
        self.silent = False
        self.asked: list[tuple[str, str, Any]] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a lookup."""
        self.asked.append((request.path, request.headers["Authorization"], await request.json()))
        if self.silent:
            await asyncio.sleep(5)  # longer than anybody waits
        return web.Response(status=self.status, body=self.body, headers={"Location": "/elsewhere"})

    async def is_revoked(self, *, timeout_s: float = 5.0) -> bool:
        """Ask about Ana."""

        async def access_token() -> str:
            return "ya29.token"

        accounts = FirebaseAccounts(
            project="example-project", access_token=access_token, url=self.url, timeout_s=timeout_s
        )
        return await accounts.is_revoked("user-ana", SIGNED_IN)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve an accounts API on loopback."""
    api = Api()
    app = web.Application()
    app.router.add_post("/{path:.*}", api.serve)
    async with TestServer(app, shutdown_timeout=0) as server:
        api.url = str(server.make_url("")).rstrip("/")
        yield api


@pytest.mark.parametrize(
    ("revoked", "answer"),
    [
        pytest.param(False, {"users": [ANA]}, id="never revoked"),
        pytest.param(False, {"users": [ANA | {"disabled": False}]}, id="not disabled"),
        pytest.param(False, {"users": [ANA | {"validSince": str(SIGNED_IN)}]}, id="signed in just then"),
        pytest.param(True, {"users": [ANA | {"validSince": str(SIGNED_IN + 1)}]}, id="signed in before"),
        pytest.param(True, {"users": [ANA | {"disabled": True}]}, id="disabled"),
        pytest.param(True, {"users": [ANA | {"disabled": "false"}]}, id="disabled in words"),
        pytest.param(True, {"users": []}, id="deleted"),
        pytest.param(True, {"kind": "identitytoolkit#GetAccountInfoResponse"}, id="deleted, as it is said"),
    ],
)
async def test_an_account_says_whose_tokens_are_good(
    *, revoked: bool, answer: dict[str, Any], api: Api
) -> None:
    """Disabled, deleted, or revoked since the sign-in; asked with the service's own token, by the account's id."""
    api.body = json.dumps(answer).encode()
    assert revoked == await api.is_revoked()
    path = "/v1/projects/example-project/accounts:lookup"
    assert api.asked == [(path, "Bearer ya29.token", {"localId": ["user-ana"]})]


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        pytest.param("status 403", 403, b"{}", id="not allowed to ask"),
        pytest.param("status 302", 302, b"{}", id="redirect"),
        pytest.param("status 500", 500, b"", id="error"),
        pytest.param("Expecting value", 200, b"<html>", id="HTML"),
        pytest.param("another form", 200, b"[]", id="list"),
        pytest.param("another form", 200, b'{"users": {}}', id="users an object"),
        pytest.param("another form", 200, b'{"users": [1]}', id="account a number"),
        pytest.param("another form", 200, b'{"users": [{"localId": "user-bea"}]}', id="somebody else's"),
        pytest.param("validSince", 200, b'{"users": [{"localId": "user-ana", "validSince": 1}]}', id="instant a number"),
        pytest.param("validSince", 200, b'{"users": [{"localId": "user-ana", "validSince": "soon"}]}', id="instant in words"),
    ],
)  # fmt: skip
async def test_an_answer_that_nobody_can_read_lets_nobody_in(
    said: str, status: int, body: bytes, api: Api
) -> None:
    """It is an outage, not a yes or a no."""
    api.status, api.body = status, body
    with pytest.raises(StoreUnavailableError, match=said):
        await api.is_revoked()
    assert len(api.asked) == 1


async def test_an_api_that_does_not_answer_is_given_up(api: Api) -> None:
    """Nobody waits longer than the lookup's time; nor for a port where nobody listens."""
    api.silent = True
    with pytest.raises(StoreUnavailableError, match="TimeoutError"):
        await api.is_revoked(timeout_s=0.05)
    api.url = "http://127.0.0.1:1"
    with pytest.raises(StoreUnavailableError, match="ClientConnectorError"):
        await api.is_revoked()


class Credentials:
    """Application default credentials, good for one token each time they are refreshed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.refreshed = 0
        self.valid = False
        self.token = ""

    def refresh(self, _request: object) -> None:
        """Get a new token."""
        if self.error is not None:
            raise self.error
        self.refreshed += 1
        self.token, self.valid = f"token-{self.refreshed}", True


async def test_an_access_token_is_renewed_when_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with every request, and once for all that ask together."""
    credentials = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "example-project"))
    access_token = GoogleAccessToken()
    assert await asyncio.gather(*(access_token() for _ in range(5))) == ["token-1"] * 5
    credentials.valid = False
    assert await access_token() == "token-2"


@pytest.mark.parametrize("refresh_fails", [True, False], ids=["refused", "none"])
async def test_without_credentials_accounts_are_unavailable(
    *, refresh_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage like any other: nobody is let in, and nothing breaks."""

    def default(**_: object) -> tuple[Any, str]:
        if refresh_fails:
            return Credentials(RefreshError("no")), "example-project"  # type: ignore[no-untyped-call]  # google-auth has no types here
        raise DefaultCredentialsError("none")  # type: ignore[no-untyped-call]  # the same

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(StoreUnavailableError, match="accounts: "):
        await GoogleAccessToken()()


async def test_in_the_cloud_either_may_revoke(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own record, then Firebase's; elsewhere the record alone."""
    documents = MemoryDocuments()
    await documents.commit([Put(DocKey("users", "user-bea"), {"disabled": True})])
    asked = []

    async def of_firebase(_self: object, user_id: str, _auth_time: int) -> bool:
        asked.append(user_id)
        return user_id == "user-eva"

    monkeypatch.setattr(FirebaseAccounts, "is_revoked", of_firebase)
    answers = {}
    for mode in (Mode.CLOUD, Mode.EMBEDDED):
        is_revoked = make_revocations(Settings().model_copy(update={"mode": mode}), documents)
        answers[mode] = [await is_revoked(user, SIGNED_IN) for user in ("user-ana", "user-bea", "user-eva")]
    assert answers == {Mode.CLOUD: [False, True, True], Mode.EMBEDDED: [False, True, False]}
    assert asked == ["user-ana", "user-eva"]
