"""The HTTP surface: health, problems for every error, and push outcomes as statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO

import pytest
import structlog
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from expert_bot.delivery import Ack, DeadLetter, Delivery, Outcome, Retry
from expert_bot.errors import StoreUnavailableError
from expert_bot.http.health import Check, Readiness, health_routes
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import accept_all
from expert_bot.http.server import MAX_BODY_BYTES, make_app

VERSION = {"version": "1.2.3", "commit": "abc", "mode": "embedded"}
DONE = Ack()
SUBSCRIPTION = "expert-bot-chat-requests"
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


class Processor:
    """A `process` that records deliveries and answers with one outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        return self.outcome


async def fine() -> None:
    """Check that all is well."""


async def broken() -> None:
    """Check that the store is down."""
    raise StoreUnavailableError("documents: no connection")


async def hanging() -> None:
    """Check something that never answers."""
    await asyncio.Event().wait()


async def fail(_request: web.Request) -> web.Response:
    """Fail by a mistake that has a secret in its message."""
    raise RuntimeError("canary@example.org")


@pytest.fixture
def make_client(aiohttp_client: MakeClient) -> Callable[..., Awaitable[Client]]:
    """Return a client of the whole application."""

    async def make(
        checks: Mapping[str, Check] = {}, *, outcome: Outcome = DONE, readiness: Readiness | None = None
    ) -> Client:
        ready = readiness or Readiness(checks, timeout_s=0.05)
        process = Processor(outcome)
        return await aiohttp_client(
            make_app(
                health_routes(ready, VERSION),
                push_routes(process, [SUBSCRIPTION], 5.0, authenticate=accept_all),
                [web.get("/fail", fail)],
            )
        )

    return make


async def assert_problem(response: ClientResponse, status: int, said: str) -> None:
    """Assert that a response is this problem, as RFC 9457 has it, with the headers of every response."""
    assert (status, "application/problem+json") == (response.status, response.content_type)
    problem = await response.json()
    assert (status, "about:blank") == (problem["status"], problem["type"])
    assert problem["title"]
    assert said in problem["detail"]
    assert_headers(response)


def assert_headers(response: ClientResponse) -> None:
    """Assert the headers that every response has, and the one that none has."""
    assert "Server" not in response.headers
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_health_says_that_the_process_lives(make_client: Callable[..., Awaitable[Client]]) -> None:
    """Health does not look at dependencies: a broken store is no reason to restart."""
    response = await (await make_client({"documents": broken})).get("/api/v1/health")
    assert (response.status, await response.json()) == (200, {"status": "ok"})
    assert_headers(response)


async def test_version_says_what_runs(make_client: Callable[..., Awaitable[Client]]) -> None:
    """Version, revision and mode."""
    assert await (await (await make_client()).get("/api/v1/version")).json() == VERSION


@pytest.mark.parametrize(
    ("status", "said", "checks"),
    [
        pytest.param(200, {}, {}, id="nothing to check"),
        pytest.param(200, {"documents": "ok", "bus": "ok"}, {"documents": fine, "bus": fine}, id="all fine"),
        pytest.param(
            503,
            {"documents": "documents: no connection", "bus": "ok"},
            {"documents": broken, "bus": fine},
            id="one broken",
        ),
        pytest.param(
            503,
            {"bus": "no answer within 0.05 s", "documents": "ok"},
            {"bus": hanging, "documents": fine},
            id="one hangs",
        ),
    ],
)
async def test_ready_tells_the_result_of_each_check(
    status: int, said: dict[str, str], checks: dict[str, Check], make_client: Callable[..., Awaitable[Client]]
) -> None:
    """Ready is 200 only when every check passes in its time; the body says which did not, and why."""
    response = await (await make_client(checks)).get("/api/v1/ready")
    assert status == response.status
    body = await response.json()
    assert {**said, "accepting": "ok"} == body["checks"]
    assert {200: "ready", 503: "not ready"}[status] == body["status"]


async def test_a_stopping_process_is_not_ready_but_alive(
    make_client: Callable[..., Awaitable[Client]],
) -> None:
    """From SIGTERM on no new work is sent here."""
    readiness = Readiness({"documents": fine})
    client = await make_client(readiness=readiness)
    readiness.stop()
    response = await client.get("/api/v1/ready")
    assert (response.status, (await response.json())["checks"]["accepting"]) == (503, "stopping")
    assert (await client.get("/api/v1/health")).status == 200


async def test_an_unknown_path_is_a_problem(make_client: Callable[..., Awaitable[Client]]) -> None:
    """404 says what was asked for."""
    await assert_problem(await (await make_client()).get("/nowhere"), 404, "/nowhere")


async def test_a_wrong_method_is_a_problem(make_client: Callable[..., Awaitable[Client]]) -> None:
    """405 says what is allowed, in words and in the header."""
    response = await (await make_client()).delete("/api/v1/health")
    await assert_problem(response, 405, "allowed: GET, HEAD")
    assert response.headers["Allow"] == "GET, HEAD"


async def test_a_refusal_by_the_framework_is_a_problem_and_a_redirect_is_not(
    aiohttp_client: MakeClient,
) -> None:
    """What a route raises as an HTTP error is told as a problem; below 400 it passes as it is."""

    async def late(_request: web.Request) -> web.Response:
        raise web.HTTPRequestTimeout(text="the body took longer than 5 s")

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/late")

    client = await aiohttp_client(make_app([web.get("/late", late), web.get("/moved", moved)]))
    await assert_problem(await client.get("/late"), 408, "longer than 5 s")
    response = await client.get("/moved", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/late")


async def test_a_body_over_the_limit_is_a_problem(make_client: Callable[..., Awaitable[Client]]) -> None:
    """413 before anything is decoded, at 14 MiB."""
    client = await make_client()
    response = await client.post(f"/push/{SUBSCRIPTION}", data=BytesIO(b"x" * (MAX_BODY_BYTES + 1)))
    await assert_problem(response, 413, "size")


async def test_a_mistake_of_ours_says_nothing_outside(make_client: Callable[..., Awaitable[Client]]) -> None:
    """500 is a problem without details; the traceback is in the log, once."""
    client = await make_client()
    with structlog.testing.capture_logs() as logs:
        response = await client.get("/fail")
    await assert_problem(response, 500, "it has been logged")
    assert "canary" not in await response.text()
    assert [(log["event"], log["route"], log["exc_info"]) for log in logs] == [
        ("request_failed", "/fail", True)
    ]


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        pytest.param(204, None, Ack(), id="done"),
        pytest.param(204, None, Ack(duplicate=True), id="duplicate"),
        pytest.param(204, None, DeadLetter("unknown-type"), id="dead letter"),
        pytest.param(503, "10", Retry(10.0, "StoreUnavailableError"), id="retry"),
        pytest.param(503, "3", Retry(2.1, "held"), id="seconds rounded up"),
        pytest.param(503, "1", Retry(0.0, "held"), id="at least a second"),
    ],
)
async def test_an_outcome_is_a_status(
    status: int, retry_after: str | None, outcome: Outcome, make_client: Callable[..., Awaitable[Client]]
) -> None:
    """204 only when the work is durable; everything else is delivered again, and not at once."""
    client = await make_client(outcome=outcome)
    response = await client.post(f"/push/{SUBSCRIPTION}", headers={"ce-id": "e-1"}, data=b"{}")
    assert (status, retry_after) == (response.status, response.headers.get("Retry-After"))
    if isinstance(outcome, Retry):
        await assert_problem(response, 503, "try again later")
        assert outcome.cause == (await response.json())["cause"]


@pytest.mark.parametrize(
    ("status", "said", "path", "body"),
    [
        pytest.param(
            404,
            SUBSCRIPTION,
            "/push/expert-bot-unknown",
            b"{}",
            id="unknown subscription",
        ),
        pytest.param(400, "body is empty", f"/push/{SUBSCRIPTION}", b"", id="empty body"),
        pytest.param(
            400, "base64", f"/push/{SUBSCRIPTION}", b'{"message": {"data": "x"}}', id="broken wrapper"
        ),
        pytest.param(
            413, "10000000 bytes", f"/push/{SUBSCRIPTION}", b"x" * 10_000_001, id="more than a message holds"
        ),
        pytest.param(405, "POST", f"/push/{SUBSCRIPTION}", None, id="not posted"),
    ],
)
async def test_what_is_not_a_delivery_is_a_problem(
    status: int, said: str, path: str, body: bytes | None, make_client: Callable[..., Awaitable[Client]]
) -> None:
    """A request that no bus sends is refused with what is allowed, and nothing is processed."""
    client = await make_client()
    response = await (client.get(path) if body is None else client.post(path, data=BytesIO(body)))
    await assert_problem(response, status, said)


async def test_a_delivery_has_a_deadline(aiohttp_client: MakeClient) -> None:
    """What is processed is told when its answer is due."""
    process = Processor(Ack())
    client = await aiohttp_client(
        make_app(push_routes(process, [SUBSCRIPTION], 5.0, authenticate=accept_all))
    )
    begun = asyncio.get_running_loop().time()
    await client.post(f"/push/{SUBSCRIPTION}", headers={"ce-id": "e-1"}, data=b"x")
    (delivery,) = process.deliveries
    assert delivery.deadline_s is not None
    assert begun + 5.0 <= delivery.deadline_s <= asyncio.get_running_loop().time() + 5.0
