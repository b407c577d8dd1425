"""How much push may run at once, altogether and per user, whatever form the pushes have; and how large one may be."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import accept_all
from expert_bot.http.push_limits import OverLimitError, PushLimits
from expert_bot.http.server import DEFAULT_BODY_BYTES, MAX_BODY_BYTES, make_app
from tests.waiting import until

SUBSCRIPTION = "expert-bot-chat-requests"
PATH = f"/push/{SUBSCRIPTION}"
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]
Form = Callable[[str], tuple[dict[str, str], bytes]]


class Gate:
    """A `process` whose deliveries wait until it opens."""

    def __init__(self) -> None:
        self.running: list[Delivery] = []
        self.open = asyncio.Event()

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.running.append(delivery)
        await self.open.wait()
        return Ack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A push endpoint with room for three, and two of one user."""

    client: Client
    gate: Gate

    def start(self, form: Form, user_id: str) -> asyncio.Task[ClientResponse]:
        """Begin a push of a user."""
        headers, body = form(user_id)
        return asyncio.create_task(self.client.post(PATH, headers=headers, data=body))

    async def running(self, form: Form, *user_ids: str) -> list[asyncio.Task[ClientResponse]]:
        """Begin pushes, and wait until all of them are being worked on."""
        expected = len(self.gate.running) + len(user_ids)
        started = [self.start(form, user_id) for user_id in user_ids]
        await until(lambda: len(self.gate.running) == expected)
        return started


def wrapped(user_id: str) -> tuple[dict[str, str], bytes]:
    """Return a wrapped push of a user: headers and body."""
    data = base64.b64encode(json.dumps({"user_id": user_id}).encode()).decode()
    return {}, json.dumps({"message": {"data": data, "orderingKey": "conv-1"}}).encode()


def unwrapped(user_id: str) -> tuple[dict[str, str], bytes]:
    """Return an unwrapped push of a user: headers and body."""
    return {"ce-id": "e-1"}, json.dumps({"user_id": user_id}).encode()


def keyed(user_id: str) -> tuple[dict[str, str], bytes]:
    """Return a push that says its user by its ordering key alone."""
    return {"x-goog-pubsub-ordering-key": user_id}, b"{}"


FORMS = pytest.mark.parametrize("form", [wrapped, unwrapped, keyed])


@pytest.fixture
async def endpoint(aiohttp_client: MakeClient) -> AsyncIterator[Endpoint]:
    """Run an endpoint; open its gate in the end."""
    gate = Gate()
    routes = push_routes(
        gate, [SUBSCRIPTION], 30.0, authenticate=accept_all, limits=PushLimits(total=3, per_tenant=2)
    )
    yield Endpoint(client=await aiohttp_client(make_app(routes)), gate=gate)
    gate.open.set()


async def statuses(tasks: list[asyncio.Task[ClientResponse]]) -> list[int]:
    """Return the statuses of finished pushes."""
    return [(await task).status for task in tasks]


@FORMS
async def test_a_user_over_the_limit_is_told_so_and_others_are_not(form: Form, endpoint: Endpoint) -> None:
    """429 with Retry-After for the third of one user; another user's runs; afterwards the first has room again."""
    running = await endpoint.running(form, "ana", "ana")
    refused = await endpoint.start(form, "ana")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert "of one user" in (await refused.json())["detail"]
    running += await endpoint.running(form, "eva")
    endpoint.gate.open.set()
    assert await statuses(running) == [204, 204, 204]
    assert (await endpoint.start(form, "ana")).status == 204


@FORMS
async def test_more_than_all_together_may_is_to_come_again(form: Form, endpoint: Endpoint) -> None:
    """503 with Retry-After, whoever it is; afterwards there is room again."""
    running = await endpoint.running(form, "ana", "eva", "luz")
    refused = await endpoint.start(form, "sol")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    endpoint.gate.open.set()
    assert await statuses(running) == [204, 204, 204]
    assert (await endpoint.start(form, "sol")).status == 204


async def test_what_fails_gives_its_place_back(aiohttp_client: MakeClient) -> None:
    """A mistake of ours, and a request that is no delivery, take no place forever."""

    async def fail(_delivery: Delivery) -> Outcome:
        raise RuntimeError("a mistake")

    limits = PushLimits(total=1, per_tenant=1)
    client = await aiohttp_client(
        make_app(push_routes(fail, [SUBSCRIPTION], 30.0, authenticate=accept_all, limits=limits))
    )
    for _ in range(3):
        assert (await client.post(PATH, data=b"x")).status == 500
        assert (await client.post(PATH, data=b"")).status == 400


def test_finished_users_are_forgotten() -> None:
    """Memory holds who is running, not who ever was, refusals included."""
    limits = PushLimits(total=10, per_tenant=1)
    for number in range(100):
        with (
            limits.tenant_slot(f"user-{number}"),
            pytest.raises(OverLimitError),
            limits.tenant_slot(f"user-{number}"),
        ):
            pytest.fail("over the limit")
    assert not limits._of_tenant


async def test_only_push_takes_large_bodies(aiohttp_client: MakeClient) -> None:
    """A message of 10 MB has to fit through push, wrapped; every other route takes 1 MiB."""
    sizes: list[int] = []

    async def other(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        return web.Response()

    gate = Gate()
    gate.open.set()
    routes = push_routes(gate, [SUBSCRIPTION], 30.0, authenticate=accept_all)
    client = await aiohttp_client(make_app(routes, [web.post("/other", other)]))
    largest = json.dumps({"message": {"data": base64.b64encode(bytes(10_000_000)).decode()}}).encode()
    assert DEFAULT_BODY_BYTES < len(largest) < MAX_BODY_BYTES
    assert (await client.post(PATH, data=BytesIO(largest))).status == 204
    assert (await client.post("/other", data=BytesIO(bytes(DEFAULT_BODY_BYTES)))).status == 200
    assert (await client.post("/other", data=BytesIO(bytes(DEFAULT_BODY_BYTES + 1)))).status == 413
    assert (sizes, [len(each.data) for each in gate.running]) == ([DEFAULT_BODY_BYTES], [10_000_000])
