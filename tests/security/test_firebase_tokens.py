"""One valid Firebase token, and every way of bending it: only the valid one is accepted, and no handler is reached."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from expert_bot.http.callers import Callers, Level
from expert_bot.http.firebase_tokens import Caller, Role, TokenReader
from expert_bot.http.oidc_keys import KeyCache, KeysUnavailableError, fetch_key_set
from expert_bot.http.server import make_app
from tests.security import bent_tokens
from tests.security.bent_tokens import (
    BENT,
    GOOGLE,
    STRANGER,
    MakePush,
    Push,
    at,
    bearer,
    forged,
    saying,
    valid,
)
from tests.token_mint import KeyServer
from tests.waiting import until

PROJECT = "example-project"
ISSUER = f"https://securetoken.google.com/{PROJECT}"
CANARY = "canary-ana@example.org"
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


def firebase_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid token as Firebase makes them; a change to None leaves one out."""
    now = int(time.time())
    members = {
        "aud": PROJECT,
        "auth_time": now - 600,
        "email": CANARY,
        "email_verified": True,
        "exp": now + 3000,
        "firebase": {"identities": {"email": [CANARY]}, "sign_in_provider": "password"},
        "iat": now - 600,
        "iss": ISSUER,
        "name": "Ana",
        "sub": "user-ana",
        "user_id": "user-ana",
    } | changes
    return {name: value for name, value in members.items() if value is not None}


SAME_FOR_EVERY_SIGNER = {
    reason: group
    for reason, group in BENT.items()
    if reason not in ("wrong-issuer", "wrong-audience", "no-verified-email")
}

OF_FIREBASE: Mapping[str, Mapping[str, MakePush]] = {
    "wrong-issuer": {
        "no issuer": saying(iss=None),
        "another project's": saying(iss="https://securetoken.google.com/evil-project"),
        "no project": saying(iss="https://securetoken.google.com/"),
        "over http": saying(iss=ISSUER.replace("https", "http")),
        "a slash more": saying(iss=ISSUER + "/"),
        "a path more": saying(iss=ISSUER + "/../evil-project"),
        "as a host's part": saying(iss=f"https://securetoken.google.com.example.org/{PROJECT}"),
        "in capitals": saying(iss=ISSUER.upper()),
        "a list": saying(iss=[ISSUER]),
        "of session cookies": saying(iss=f"https://session.firebase.google.com/{PROJECT}"),
        "of Google's own tokens": saying(iss="https://accounts.google.com"),
        "of the local signer": saying(iss="urn:smarwatt:expert-bot:local"),
    },
    "wrong-audience": {
        "no audience": saying(aud=None),
        "empty": saying(aud=""),
        "another project": saying(aud="evil-project"),
        "a list of the right one": saying(aud=[PROJECT]),
        "a list with the right one": saying(aud=["evil-project", PROJECT]),
        "in capitals": saying(aud=PROJECT.upper()),
        "with a space": saying(aud=PROJECT + " "),
        "as a prefix": saying(aud=PROJECT + "-2"),
        "the issuer": saying(aud=ISSUER),
        "of a custom token": saying(
            aud="https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
        ),
    },
    "no-auth-time": {
        "missing": saying(auth_time=None),
        "a string": saying(auth_time="1700000000"),
        "a float": saying(auth_time=1_700_000_000.5),
        "true": saying(auth_time=True),
    },
    "authenticated-in-the-future": {
        "in the future": at(auth_time=90),
        "in milliseconds": lambda: bearer(valid(auth_time=int(time.time() * 1000))),
    },
    "no-subject": {
        "a list": saying(sub=["user-ana"]),
        "129 characters": saying(sub="a" * 129),
        "only the other name of it": saying(sub=None, user_id="user-ana"),
    },
    "unusable-subject": {
        "a path": saying(sub="../user-ana"),
        "a slash": saying(sub="users/ana"),
        "a space": saying(sub=" "),
        "a line end": saying(sub="user-ana\n"),
        "a zero byte": saying(sub="user-ana\0"),
        "a letter that looks the same": saying(sub="usеr-ana"),
    },
    "wrong-signature": {
        "another key under the right id": forged(STRANGER, kid=GOOGLE.key_id),
    },
}

TABLE = [
    pytest.param(reason, push, id=f"{reason}: {name}")
    for table in (SAME_FOR_EVERY_SIGNER, OF_FIREBASE)
    for reason, group in table.items()
    for name, push in group.items()
]


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """A route for signed-in users, and who got through to it."""

    client: Client
    keys: KeyServer
    seen: list[Caller] = field(default_factory=list)

    async def get(self, push: Push) -> tuple[int, str, str]:
        """Ask; return status, `WWW-Authenticate` and the problem's reason."""
        headers = [("Authorization", each) for each in push.authorizations]
        async with self.client.get(f"/mine{push.query}", headers=[*headers, *push.headers]) as response:
            is_problem = response.content_type == "application/problem+json"
            reason = (await response.json())["reason"] if is_problem else ""
            return response.status, response.headers.get("WWW-Authenticate", ""), reason


async def nobody(_user_id: str, _auth_time: int) -> bool:
    """Say of everybody that his tokens are good."""
    return False


@pytest.fixture(autouse=True)
def _firebase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table of bent tokens bend Firebase's instead of Pub/Sub's."""
    monkeypatch.setattr(bent_tokens, "claims", firebase_claims)


@pytest.fixture
async def endpoint(aiohttp_client: MakeClient) -> AsyncIterator[Endpoint]:
    """Run a route for users of one project, the keys of whose tokens are served over HTTP."""
    async with KeyServer(GOOGLE).running() as keys:
        fetch = partial(fetch_key_set, timeout_s=0.2)
        reader = TokenReader(KeyCache(keys.url, fetch=fetch).find, issuer=ISSUER, audience=PROJECT)
        seen: list[Caller] = []

        async def mine(_request: web.Request, caller: Caller) -> web.Response:
            seen.append(caller)
            return web.json_response({})

        route = web.get("/mine", Callers(reader, nobody).guarded(Level.TOKEN, mine))
        yield Endpoint(client=await aiohttp_client(make_app([route])), keys=keys, seen=seen)


@pytest.mark.parametrize(
    ("expected", "push"),
    [
        pytest.param({}, lambda: bearer(valid()), id="as Firebase makes them"),
        pytest.param({}, at(exp=-20, iat=-3600), id="expired within the skew"),
        pytest.param({}, at(iat=20, auth_time=20), id="from a clock that is ahead within the skew"),
        pytest.param({}, at(auth_time=-86_400 * 300), id="signed in long ago"),
        pytest.param({"user_id": "a" * 128}, saying(sub="a" * 128), id="longest id"),
        pytest.param({"email_verified": False}, saying(email_verified=False), id="e-mail not verified"),
        pytest.param({"email_verified": False}, saying(email_verified="true"), id="verified in words"),
        pytest.param({"email": None, "email_verified": False}, saying(email=None), id="verified, but no e-mail"),
        pytest.param({"email": None, "email_verified": False}, saying(email=[CANARY]), id="e-mail a list"),
        pytest.param({"display_name": None}, saying(name=None), id="no name"),
        pytest.param({"display_name": None}, saying(name="  "), id="blank name"),
        pytest.param({"display_name": None}, saying(name="Ana\n"), id="name of two lines"),
        pytest.param({"display_name": None}, saying(name={"first": "Ana"}), id="name an object"),
        pytest.param({"roles": {Role.ADMIN}}, saying(role="admin"), id="admin"),
        pytest.param({}, saying(role="Admin"), id="admin in capitals"),
        pytest.param({}, saying(role=["admin"]), id="admin in a list"),
        pytest.param({}, saying(role=True), id="role true"),
        pytest.param({}, saying(roles=["admin"], admin=True), id="admin by other names"),
    ],
)  # fmt: skip
async def test_a_valid_token_says_who_calls(
    expected: dict[str, Any], push: MakePush, endpoint: Endpoint
) -> None:
    """Whatever else it says is taken only in the one form that it is promised in; an admin is never one by mistake."""
    usual = {
        "user_id": "user-ana",
        "display_name": "Ana",
        "email": CANARY,
        "email_verified": True,
        "roles": set(),
    }
    assert await endpoint.get(push()) == (200, "", "")
    [caller] = endpoint.seen
    assert usual | expected == {name: getattr(caller, name) for name in usual}


@pytest.mark.parametrize(("reason", "push"), TABLE)
async def test_a_bent_token_is_refused_for_what_is_bent(
    reason: str, push: MakePush, endpoint: Endpoint
) -> None:
    """401, what would be needed, one log line with the reason and nothing else of the token; no handler is reached."""
    needed = "Bearer" if reason == "no-token" else 'Bearer error="invalid_token"'
    with capture_logs() as log:
        assert await endpoint.get(push()) == (401, needed, reason)
    told = {"event": "caller_refused", "route": "/mine", "status": 401, "reason": reason}
    assert log == [told | {"log_level": "warning"}]
    assert endpoint.seen == []


def test_the_table_is_long_enough() -> None:
    """The promise was 40 mutations."""
    assert len(TABLE) >= 40


async def test_500_callers_at_once_cause_one_fetch(endpoint: Endpoint) -> None:
    """Whoever comes while the keys are being fetched waits for the same answer."""
    endpoint.keys.may_answer.clear()
    reader = TokenReader(KeyCache(endpoint.keys.url).find, issuer=ISSUER, audience=PROJECT)
    reading = [asyncio.create_task(reader.read(bearer(valid()).authorizations)) for _ in range(500)]
    await until(lambda: endpoint.keys.asked)
    endpoint.keys.may_answer.set()
    seen = Counter(each.caller.user_id for each in await asyncio.gather(*reading))
    assert (seen, endpoint.keys.asked) == ({"user-ana": 500}, 1)


@pytest.mark.parametrize("answers_nothing", [True, False], ids=["silent", "error"])
async def test_while_there_are_no_keys_nobody_is_judged(*, answers_nothing: bool, endpoint: Endpoint) -> None:
    """503 and when to come again, for good tokens and bad ones; the server is not asked for each of them."""
    if answers_nothing:
        endpoint.keys.may_answer.clear()
    endpoint.keys.answer = lambda: web.Response(status=500)
    pushes = [bearer(valid()), forged(STRANGER)(), bearer(valid())]
    for push in pushes:
        headers = {"Authorization": push.authorizations[0]}
        async with endpoint.client.get("/mine", headers=headers) as response:
            problem = await response.json()
            assert (response.status, problem["reason"]) == (503, "keys-unavailable")
            assert int(response.headers["Retry-After"]) >= 1
    assert endpoint.keys.asked == 1
    assert endpoint.seen == []


async def test_keys_that_are_known_serve_on_while_the_server_is_down() -> None:
    """An hour longer than their age; then nobody is judged any more."""
    now = 0.0
    async with KeyServer(GOOGLE, cache_control="max-age=600").running() as keys:
        cache = KeyCache(keys.url, now=lambda: now)
        reader = TokenReader(cache.find, issuer=ISSUER, audience=PROJECT)
        await reader.read(bearer(valid()).authorizations)
        keys.answer = lambda: web.Response(status=500)
        now = 600 + 3599.0
        assert (await reader.read(bearer(valid()).authorizations)).caller.user_id == "user-ana"
        now = 600 + 3601.0
        with pytest.raises(KeysUnavailableError):
            await reader.read(bearer(valid()).authorizations)


async def test_neither_token_nor_address_is_in_a_log_or_an_answer(endpoint: Endpoint) -> None:
    """Whatever is wrong with it, and also when nothing is."""
    token = valid()
    sent = [token, token[:-4], valid(sub=""), forged(STRANGER)().authorizations[0][7:]]
    with capture_logs() as log:
        for each in sent:
            async with endpoint.client.get("/mine", headers={"Authorization": f"Bearer {each}"}) as response:
                answer = await response.text()
                assert [part for part in (each, CANARY) if part in answer] == []
    assert len(log) == 3
    assert [part for part in (*sent, CANARY) if part in str(log)] == []
    assert CANARY not in repr(endpoint.seen)
