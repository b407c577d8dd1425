"""One valid push token, and every way of bending it: only the valid one is accepted, and nothing else is processed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.http.oidc_keys import KeyCache
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import NotAuthenticatedError, OidcAuthenticator, Pusher
from expert_bot.http.server import make_app
from tests.security.bent_tokens import (
    BENT,
    GOOGLE,
    OTHER_AUDIENCE,
    STRANGER,
    STRANGERS,
    MakePush,
    Push,
    at,
    bearer,
    forged,
    headed,
    saying,
    valid,
)
from tests.token_mint import AUDIENCE, EMAIL, KeyServer

OURS, OTHER = "expert-bot-chat-requests", "expert-bot-other-requests"
PUSHERS = {
    OURS: Pusher(audience=AUDIENCE, email=EMAIL),
    OTHER: Pusher(audience=OTHER_AUDIENCE, email=EMAIL),
}
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


class Recorder:
    """A `process` that records."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        return Ack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A push endpoint with authentication, and what got through it."""

    client: Client
    process: Recorder
    keys: KeyServer

    async def post(self, push: Push, subscription: str = OURS) -> tuple[int, str, str]:
        """Push an event; return status, `WWW-Authenticate` and the problem's reason."""
        headers = [("ce-id", "e-1"), *(("Authorization", each) for each in push.authorizations)]
        async with self.client.post(
            f"/push/{subscription}{push.query}", headers=[*headers, *push.headers], data=b"{}"
        ) as response:
            problem = await response.json() if response.content_type == "application/problem+json" else {}
            return response.status, response.headers.get("WWW-Authenticate", ""), problem.get("reason", "")


@pytest.fixture
async def endpoint(aiohttp_client: MakeClient) -> AsyncIterator[Endpoint]:
    """Run an endpoint that expects tokens of one signer, whose keys are served over HTTP."""
    async with KeyServer(GOOGLE).running() as keys:
        process = Recorder()
        authenticate = OidcAuthenticator(KeyCache(keys.url).find, PUSHERS)
        app = make_app(push_routes(process, list(PUSHERS), 30.0, authenticate=authenticate))
        yield Endpoint(client=await aiohttp_client(app), process=process, keys=keys)


@pytest.mark.parametrize(
    "push",
    [
        pytest.param(lambda: bearer(valid()), id="as Google makes them"),
        pytest.param(saying(iss="accounts.google.com"), id="the issuer's other name"),
        pytest.param(at(exp=-20, iat=-3600), id="expired within the skew"),
        pytest.param(at(iat=20, nbf=20), id="from a clock that is ahead within the skew"),
        pytest.param(headed(typ=None), id="without a type"),
    ],
)
async def test_a_valid_token_is_accepted(push: MakePush, endpoint: Endpoint) -> None:
    """What Google signs for this subscription gets through, also when clocks differ by less than 30 s."""
    assert await endpoint.post(push()) == (204, "", "")
    assert len(endpoint.process.deliveries) == 1


@pytest.mark.parametrize(
    ("reason", "push"),
    [pytest.param(reason, push, id=name) for reason, group in BENT.items() for name, push in group.items()],
)
async def test_a_bent_token_is_refused_for_what_is_bent(
    reason: str, push: MakePush, endpoint: Endpoint
) -> None:
    """401, what would be needed, one log line with the reason and nothing else of the token; nothing is processed."""
    with capture_logs() as log:
        assert await endpoint.post(push()) == (401, "Bearer", reason)
    told = {"event": "push_refused", "subscription": OURS, "status": 401, "reason": reason}
    assert log == [told | {"log_level": "warning"}]
    assert endpoint.process.deliveries == []


async def test_a_token_of_more_than_8_kib_is_refused(endpoint: Endpoint) -> None:
    """So much is no token: the server does not even take the header; and if it did, the check would not."""
    token = valid(padding="x" * 8192)
    assert (await endpoint.post(bearer(token)))[0] == 400
    with pytest.raises(NotAuthenticatedError, match="token-too-long"):
        await OidcAuthenticator(KeyCache(endpoint.keys.url).find, PUSHERS)(OURS, [f"Bearer {token}"])
    assert endpoint.process.deliveries == []


@pytest.mark.parametrize("email", STRANGERS.values(), ids=STRANGERS)
async def test_a_genuine_token_of_another_account_is_refused(email: str, endpoint: Endpoint) -> None:
    """403: who it is, is known, and he may not; his address is in no log."""
    with capture_logs() as log:
        assert await endpoint.post(bearer(valid(email=email))) == (403, "", "wrong-service-account")
    assert email not in str(log)
    assert endpoint.process.deliveries == []


async def test_each_subscription_has_its_own_audience(endpoint: Endpoint) -> None:
    """A token opens the subscription that it is for, and no other."""
    statuses = [
        (await endpoint.post(bearer(valid(aud=audience)), subscription))[0]
        for audience in (AUDIENCE, OTHER_AUDIENCE)
        for subscription in (OURS, OTHER)
    ]
    assert statuses == [204, 401, 401, 204]


async def test_bent_tokens_ask_the_key_server_once(endpoint: Endpoint) -> None:
    """Whoever sends unknown key ids cannot make this service ask Google for each of them."""
    await asyncio.gather(*(endpoint.post(forged(STRANGER, kid=f"k-{number}")()) for number in range(50)))
    assert endpoint.keys.asked == 1


async def test_the_body_is_not_read_before_the_token_is_accepted(endpoint: Endpoint) -> None:
    """401 comes while the 10 MB that were announced have not been sent."""
    server = endpoint.client.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    request = f"POST /push/{OURS} HTTP/1.1\r\nHost: x\r\nce-id: e-1\r\nContent-Length: 10000000\r\n\r\n"
    writer.write(request.encode())
    assert await asyncio.wait_for(reader.readline(), 20) == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()
    await writer.wait_closed()


def test_the_table_is_long_enough() -> None:
    """The promise was 45 mutations."""
    assert sum(map(len, BENT.values())) + len(STRANGERS) >= 45
