"""Submitting an analysis and asking how far it is: who may, what is taken, what is published, what is said when all fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from expert_bot.app import allowed_sources
from expert_bot.config import Settings
from expert_bot.delivery import Message
from expert_bot.errors import BusUnavailableError, StoreUnavailableError
from expert_bot.http.callers import Callers, Level, level_of
from expert_bot.http.firebase_tokens import TokenReader
from expert_bot.http.json_bodies import MAX_JSON_BYTES, read_body
from expert_bot.http.server import make_app
from expert_bot.http.tasks_routes import SUBMIT_PATH, SubmitRequest, tasks_routes
from expert_bot.ports import DocKey, Document, Update, Version, Write
from expert_bot.publishers import RequestClient
from expert_bot.schemas.problem import Problem
from expert_bot.schemas.pubsub import decode
from expert_bot.storage.local_signer import LOCAL_ISSUER, LocalSigner
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.token_revocations import UsersRevocations
from expert_bot.tasks import Task, completed, failed, running, submitted, task_key
from tests.token_mint import signer
from tests.waiting import until

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SOURCE = "urn:smarwatt:expert-bot"
SIGNER = LocalSigner(signer("local").key)
STRANGER = LocalSigner(signer("stranger").key)
TASK = Task(task_id="task-1", user_id="user-ana", kind="forecast", correlation_id="root-1")
GOOD = {"kind": "consumption"}
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


def token(user_id: str, *, by: LocalSigner = SIGNER, **changes: Any) -> str:
    """Return a token of a user."""
    now = int(time.time())
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": "p",
        "sub": user_id,
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
    }
    return by.sign(claims | changes)


IDENTITIES = {
    "anonymous": {},
    "user A": {"Authorization": f"Bearer {token('user-ana')}"},
    "user B": {"Authorization": f"Bearer {token('user-bea')}"},
    "admin": {"Authorization": f"Bearer {token('user-root', role='admin')}"},
    "expired": {"Authorization": f"Bearer {token('user-ana', exp=1)}"},
    "another signer's": {"Authorization": f"Bearer {token('user-ana', by=STRANGER)}"},
}
ANA, BEA = IDENTITIES["user A"], IDENTITIES["user B"]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at


class Bus:
    """A publisher that records, or fails, or first does something."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.down = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def publish(self, message: Message) -> str:
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.down:
            raise BusUnavailableError("no answer")
        self.messages.append(message)
        return "1"

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Store(MemoryDocuments):
    """Documents that can be down, from the first commit or from a later one."""

    def __init__(self) -> None:
        super().__init__()
        self.commits_left = 1000
        self.readable = True

    async def get(self, key: DocKey) -> Document | None:
        if not self.readable:
            raise StoreUnavailableError("documents: no connection", retry_after_s=7.2)
        return await super().get(key)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self.commits_left -= 1
        if self.commits_left < 0:
            raise StoreUnavailableError("documents: no connection")
        return await super().commit(writes)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The two routes and what they stand on."""

    client: Client
    bus: Bus
    documents: Store
    clock: Clock

    async def submit(self, body: object = GOOD, identity: dict[str, str] = ANA) -> ClientResponse:
        """Submit a body, JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **identity}
        return await self.client.post(SUBMIT_PATH, data=BytesIO(data), headers=headers)

    async def status(
        self, task_id: str, identity: dict[str, str] = ANA, **headers: str
    ) -> tuple[ClientResponse, dict[str, Any]]:
        """Ask for a task; return the response and its body."""
        path = f"/api/v1/async/status/{task_id}"
        response = await self.client.get(path, headers={**identity, **headers})
        return response, await response.json() if response.status != 304 else {}

    async def change(self, *writes: Write) -> None:
        """Commit as a worker would."""
        await self.documents.commit(writes)

    async def stored(self, task_id: str = "task-1") -> Document | None:
        """Return Ana's task."""
        return await self.documents.get(task_key("user-ana", task_id))


@pytest.fixture
async def world(aiohttp_client: MakeClient) -> World:
    """Serve the routes over documents in memory."""
    bus, documents, clock = Bus(), Store(), Clock()
    reader = TokenReader(SIGNER.find_key, issuer=LOCAL_ISSUER, audience="p")
    requests = RequestClient(
        publisher=bus, admin=None, make_consumer=None, clock=clock, source=SOURCE, publish_timeout_s=0.0,  # type: ignore[arg-type]  # never consumes
    )  # fmt: skip
    callers = Callers(reader, UsersRevocations(documents).is_revoked)
    routes = tasks_routes(callers, documents=documents, requests=requests, clock=clock)
    return World(client=await aiohttp_client(make_app(routes)), bus=bus, documents=documents, clock=clock)


def test_both_routes_ask_for_a_token() -> None:
    """Neither can be added without saying what it asks of its caller."""
    routes = tasks_routes(Callers(None, None), documents=None, requests=None, clock=None)  # type: ignore[arg-type]  # never called
    assert [(route.method, level_of(route.handler)) for route in routes] == [
        ("POST", Level.TOKEN),
        ("GET", Level.TOKEN),
    ]


@pytest.mark.parametrize(
    ("submit", "own", "foreign", "unknown", "identity"),
    [
        pytest.param(401, 401, 401, 401, "anonymous"),
        pytest.param(202, 200, 404, 404, "user A"),
        pytest.param(202, 404, 200, 404, "user B"),
        pytest.param(202, 404, 404, 404, "admin"),
        pytest.param(401, 401, 401, 401, "expired"),
        pytest.param(401, 401, 401, 401, "another signer's"),
    ],
)
async def test_each_route_knows_each_identity(
    submit: int, own: int, foreign: int, unknown: int, identity: str, world: World
) -> None:
    """Everybody with a token submits for himself and sees his own; what is not his looks like what is not there."""
    await world.change(
        submitted(TASK, AT), submitted(Task(task_id="task-2", user_id="user-bea", kind="x", correlation_id="r"), AT)
    )  # fmt: skip
    who = IDENTITIES[identity]
    answers = [await world.status(each, who) for each in ("task-1", "task-2", "task-3")]
    assert (submit, [own, foreign, unknown]) == (
        (await world.submit(identity=who)).status,
        [response.status for response, _ in answers],
    )
    not_there = [body for response, body in answers if response.status == 404]
    assert all(body == not_there[0] for body in not_there)


async def test_a_submitted_task_is_stored_and_asked_for(world: World) -> None:
    """202 says where to look; the event names the caller, the task and this service, and is ordered by user."""
    body = {"kind": "forecast", "period": {"start": "2023-01-01", "end": "2023-05-01"}, "parameters": {"backtest_days": 30}}  # fmt: skip
    response = await world.submit(body | {"user_id": "user-ana"})
    answer = await response.json()
    task_id = answer["task_id"]
    assert (response.status, answer) == (
        202,
        {"task_id": task_id, "status": "submitted", "kind": "forecast"},
    )
    assert {"Location": f"/api/v1/async/status/{task_id}", "Retry-After": "1", "Cache-Control": "no-store"}.items() <= response.headers.items()  # fmt: skip
    [message] = world.bus.messages
    event = decode(message.attributes, message.data)
    assert (event.source, event.type, event.time, message.topic, message.ordering_key) == (
        SOURCE, "com.smarwatt.analysis.requested.v1", AT, "analysis-requests", "user-ana",
    )  # fmt: skip
    told = {"kind": "forecast", "period": body["period"], "user_id": "user-ana", "task_id": task_id}
    asked = json.loads(event.data)
    assert asked.pop("parameters") == {"backtest_days": 30}
    assert asked == told
    stored = await world.stored(task_id)
    assert stored is not None
    assert (stored.fields["status"], stored.fields["correlation_id"], stored.fields["created_at"]) == (
        "submitted", event.correlation_id, AT,
    )  # fmt: skip


async def test_nobody_submits_for_another_user(world: World) -> None:
    """403, also for an admin; nothing is stored or published."""
    for identity in (BEA, IDENTITIES["admin"]):
        response = await world.submit(GOOD | {"user_id": "user-ana"}, identity)
        assert (response.status, (await response.json())["reason"]) == (403, "foreign-user")
    assert (world.bus.messages, await world.documents.find("tasks", [], limit=9)) == ([], [])


@pytest.mark.parametrize(
    ("status", "said", "body"),
    [
        pytest.param(400, "Expecting value", b"", id="empty"),
        pytest.param(400, "not valid JSON", b"kind=consumption", id="form"),
        pytest.param(400, "UTF-8", b'{"kind": "\xff"}', id="not UTF-8"),
        pytest.param(400, "appears twice", b'{"kind": "solar", "kind": "forecast"}', id="member twice"),
        pytest.param(400, "NaN", b'{"kind": NaN}', id="NaN"),
        pytest.param(400, "32 levels", b'{"kind":' + b"[" * 30_000 + b"]" * 30_000 + b"}", id="nested"),
        pytest.param(400, "40 characters", b'{"kind":' + b"9" * 5000 + b"}", id="5,000 digits"),
        pytest.param(422, "data: Input should be", b"[]", id="list"),
        pytest.param(422, "kind: Field required", b"{}", id="no kind"),
        pytest.param(422, "kind: Input should be 'consumption'", {"kind": "everything"}, id="unknown kind"),
        pytest.param(422, "kind: Input should be", {"kind": 1}, id="kind a number"),
        pytest.param(422, "perod: Extra inputs", GOOD | {"perod": None}, id="unknown member"),
        pytest.param(422, "period.end: Field required", GOOD | {"period": {"start": "2023-01-01"}}, id="half a period"),
        pytest.param(422, "period.start: String should match", GOOD | {"period": {"start": "1/1/23", "end": "2023-02-01"}}, id="another date"),
        pytest.param(422, "parameters.zone: Input should be 'peninsula'", GOOD | {"parameters": {"zone": "norte"}}, id="unknown zone"),
        pytest.param(422, "parameters.backtest_days: Input should be less", GOOD | {"parameters": {"backtest_days": 366}}, id="too many days"),
        pytest.param(422, "user_id: String should match", GOOD | {"user_id": "../x"}, id="no user id"),
        pytest.param(413, "at most 65536 bytes", b" " * (MAX_JSON_BYTES + 1), id="too large"),
    ],
)  # fmt: skip
async def test_what_cannot_be_submitted_is_a_problem(
    status: int, said: str, body: object, world: World
) -> None:
    """It says what is wrong and what is allowed; nothing is stored or published."""
    response = await world.submit(body)
    assert (status, response.content_type) == (response.status, "application/problem+json")
    assert said in (await response.json())["detail"]
    assert (world.bus.messages, await world.documents.find("tasks", [], limit=9)) == ([], [])


async def test_a_body_of_64_kib_is_taken(world: World) -> None:
    """The limit is where it is said to be."""
    body = json.dumps(GOOD).encode()
    assert (await world.submit(body + b" " * (MAX_JSON_BYTES - len(body)))).status == 202


async def test_a_body_that_is_announced_too_large_is_not_waited_for(world: World) -> None:
    """413 comes while nothing of it has been sent."""
    reader, writer = await asyncio.open_connection(world.client.server.host, world.client.server.port)
    lines = [f"POST {SUBMIT_PATH} HTTP/1.1", "Host: x", f"Authorization: {ANA['Authorization']}"]
    lines += ["Content-Type: application/json", f"Content-Length: {MAX_JSON_BYTES + 1}", "", ""]
    writer.write("\r\n".join(lines).encode())
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_whoever_hangs_up_in_the_middle_leaves_no_traceback() -> None:
    """A body that ends early is the sender's doing, not a mistake of ours."""
    ends: list[BaseException] = []

    async def receive(request: web.Request) -> web.Response:
        try:
            await read_body(request, SubmitRequest)
        except BaseException as error:
            ends.append(error)
            raise
        return web.json_response({})

    runner = web.AppRunner(make_app([web.post("/", receive)]))  # tests' own servers cancel handlers instead
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    await asyncio.sleep(0.05)  # the handler waits for the rest by now
    with capture_logs() as log:
        writer.close()
        await writer.wait_closed()
        await until(lambda: ends)
        await runner.cleanup()
    assert (type(ends[0]), log) == (web.HTTPBadRequest, [])


async def test_a_body_that_was_not_announced_is_read_up_to_its_limit(world: World) -> None:
    """413 in chunks as in one piece, with the route's own limit."""

    async def chunks() -> Any:
        for _ in range(MAX_JSON_BYTES // 1024 + 1):
            yield b" " * 1024

    headers = {"Content-Type": "application/json", **ANA}
    response = await world.client.post(SUBMIT_PATH, data=chunks(), headers=headers)
    assert (response.status, "at most 65536 bytes" in await response.text()) == (413, True)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        pytest.param({"Content-Type": "text/plain"}, "application/json", id="text"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, "application/json", id="form"),
        pytest.param({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "Content-Encoding", id="compressed"),
    ],
)  # fmt: skip
async def test_a_body_is_plain_json(headers: dict[str, str], said: str, world: World) -> None:
    """415 for other types, and for JSON in a wrapping."""
    response = await world.client.post(SUBMIT_PATH, data=b'{"kind": "solar"}', headers=ANA | headers)
    assert (response.status, said in (await response.json())["detail"]) == (415, True)


async def test_a_body_that_does_not_come_is_not_waited_for(aiohttp_client: MakeClient) -> None:
    """408 after the time a body may take."""

    async def receive(request: web.Request) -> web.Response:
        await read_body(request, SubmitRequest, timeout_s=0.05)
        return web.json_response({})

    async def trickle() -> Any:
        yield b"{"
        await asyncio.sleep(0.5)  # longer than the route waits
        yield b"}"

    client = await aiohttp_client(make_app([web.post("/", receive)]))
    response = await client.post("/", data=trickle(), headers={"Content-Type": "application/json"})
    assert (response.status, "longer than 0.05 s" in await response.text()) == (408, True)


async def test_a_request_that_the_bus_does_not_take_is_a_failed_task(world: World) -> None:
    """503 says when to submit again, and under the id that it names nothing is awaited in vain."""
    world.bus.down = True
    response = await world.submit()
    problem = await response.json()
    assert (response.status, "submit it again" in problem["detail"]) == (503, True)
    assert response.headers["Retry-After"] == "5"
    _, task = await world.status(problem["task_id"])
    assert (task["status"], task["problem"]["reason"], task["problem"]["retriable"]) == (
        "failed", "not-published", True,
    )  # fmt: skip


@pytest.mark.parametrize("when", ["before", "while"])
async def test_a_request_that_was_taken_after_all_is_accepted(when: str, world: World) -> None:
    """The bus did not confirm, but somebody works on the task: then it was published."""

    async def work() -> None:
        [document] = await world.documents.find("tasks", [], limit=9)
        write = Update(document.key, {"status": "running"}, if_version=document.version)
        await MemoryDocuments.commit(world.documents, [write])

    world.bus.down = True
    if when == "before":
        world.bus.meanwhile = work
    else:

        async def commit_late(writes: Sequence[Write]) -> list[Version]:
            if not isinstance(writes[0], Update):
                return await MemoryDocuments.commit(world.documents, writes)
            await work()
            return await MemoryDocuments.commit(world.documents, writes)

        world.documents.commit = commit_late  # type: ignore[method-assign]  # a worker between reading and writing
    response = await world.submit()
    assert response.status == 202
    _, task = await world.status((await response.json())["task_id"])
    assert task["status"] == "running"


@pytest.mark.parametrize(("published", "commits"), [(0, 0), (0, 1)], ids=["at once", "and the bus"])
async def test_without_a_store_nothing_is_accepted(published: int, commits: int, world: World) -> None:
    """503 and when to come again; without a task nothing is published."""
    world.documents.commits_left = commits
    world.bus.down = bool(commits)
    response = await world.submit()
    assert (response.status, response.headers["Retry-After"], len(world.bus.messages)) == (
        503,
        "5",
        published,
    )
    world.documents.readable = False
    response, _ = await world.status("task-1")
    assert (response.status, response.headers["Retry-After"]) == (503, "8")


PROBLEM = Problem(type="urn:x", title="Expired", status=410, detail="too late", reason="expired", retriable=True)  # fmt: skip
ENDED = {
    "completed": (
        completed(TASK, None, AT, '{"status":"success","result":{"kwh":"1.50"}}'),
        {"result": {"status": "success", "result": {"kwh": "1.50"}}},
    ),
    "failed": (
        failed(TASK, None, AT, PROBLEM),
        {"problem": {"reason": "expired", "detail": "too late", "retriable": True}},
    ),
}


@pytest.mark.parametrize("status", ENDED)
async def test_a_task_that_has_ended_says_how(status: str, world: World) -> None:
    """The reply's data, or the problem; nothing tells to look again."""
    write, ending = ENDED[status]
    await world.change(write)
    response, body = await world.status("task-1")
    at = "2026-11-02T09:30:00Z"
    assert body == {"task_id": "task-1", "kind": "forecast", "status": status, "created_at": at, "updated_at": at} | ending  # fmt: skip
    assert "Retry-After" not in response.headers


async def test_a_task_under_way_is_worth_asking_for_again(world: World) -> None:
    """`Retry-After` until it ends; a state that was seen is not sent again, a new one is."""
    await world.change(submitted(TASK, AT))
    first, body = await world.status("task-1")
    assert (body["status"], first.headers["Retry-After"]) == ("submitted", "1")
    assert first.headers["Cache-Control"] == "private, no-cache"
    seen = {"If-None-Match": first.headers["ETag"]}
    again, _ = await world.status("task-1", **seen)
    assert (again.status, again.headers["ETag"], again.headers["Retry-After"]) == (
        304,
        first.headers["ETag"],
        "1",
    )
    await world.change(*running(TASK, await world.stored(), AT + timedelta(seconds=1)))
    changed, body = await world.status("task-1", **seen)
    assert (changed.status, body["status"], body["updated_at"]) == (200, "running", "2026-11-02T09:30:01Z")
    foreign, _ = await world.status("task-1", BEA, **{"If-None-Match": "*"})
    assert foreign.status == 404


def test_this_services_own_requests_are_always_accepted() -> None:
    """What it publishes to itself is not shut out by a list of others; without a list all are accepted."""
    listed = Settings().model_copy(update={"allowed_sources": ("//energy-ia",), "source": SOURCE})
    assert (allowed_sources(listed), allowed_sources(Settings())) == (("//energy-ia", SOURCE), ("*",))
