"""The question that a sibling service asks over HTTP: who may, what is taken, one effect, and one answer however often it comes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from multidict import CIMultiDict
from structlog.testing import capture_logs

from expert_bot.adapters import Adapters
from expert_bot.app import build_dispatcher, families_of
from expert_bot.assistant.profile import COLLECTION as PROFILES
from expert_bot.assistant.profile import profile_key
from expert_bot.config import Settings
from expert_bot.delivery import Message, Retry
from expert_bot.direct import DirectRequests
from expert_bot.errors import BusUnavailableError, StoreUnavailableError
from expert_bot.handlers.chat_requested import CONVERSATIONS
from expert_bot.http.callers import Callers, Level, level_of
from expert_bot.http.cross_service import CROSS_SERVICE_PATH, ENTRANCE, cross_service_routes
from expert_bot.http.firebase_tokens import TokenReader
from expert_bot.http.json_bodies import MAX_JSON_BYTES
from expert_bot.http.server import make_app
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Failpoints
from expert_bot.ports import Create, Delete, DocKey, Document, Put, Version, Write
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatResponded
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.local_signer import LOCAL_ISSUER
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.token_revocations import UsersRevocations
from expert_bot.storage.users_identity import UsersIdentity
from tests.inbox_world import Crash, ScriptedFailpoints
from tests.unit.http_people import ANA, AT, BEA, SIGNER, STRANGERS, Client, MakeClient, SetClock, bearer
from tests.waiting import until

TEXT = "¿Cuánto consumí en abril de 2023?"
GOOD = {"message": TEXT, "user_id": "user-ana", "source": "energy_ia_api"}
SERVICE = bearer("energy-ia-api", role="service")
ADMIN = bearer("user-root", role="admin")


class Bus:
    """A publisher that records, or is down."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.down = False

    async def publish(self, message: Message) -> str:
        if self.down:
            raise BusUnavailableError("no answer")
        self.messages.append(message)
        return "1"

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Store(MemoryDocuments):
    """Documents that answer a moment later, as real ones do; `before_get`, `before_commit` may fail or take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.created: Counter[str] = Counter()
        self.before_get: Callable[[DocKey], Any] = lambda _key: None
        self.before_commit: Callable[[Sequence[Write]], Any] = lambda _writes: None

    async def get(self, key: DocKey) -> Document | None:
        await asyncio.sleep(0)
        if (waited_for := self.before_get(key)) is not None:
            await waited_for
        return await super().get(key)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        await asyncio.sleep(0)
        if (waited_for := self.before_commit(writes)) is not None:
            await waited_for
        versions = await super().commit(writes)
        self.created.update(write.key.collection for write in writes if isinstance(write, Create))
        return versions


def no_store(*_: object) -> None:
    """Fail as a store that is down does."""
    raise StoreUnavailableError("documents: no connection", retry_after_s=7.2)


def for_profiles(do: Callable[[], Any]) -> Callable[[DocKey], Any]:
    """Return what is to happen before a document is read: something with profiles, nothing with others."""
    return lambda key: do() if key.collection == PROFILES else None


def bug() -> None:
    """Fail as code does that has a mistake."""
    raise ZeroDivisionError


@dataclass(kw_only=True)
class World:
    """The route of one or more instances of the service, over one store and one bus."""

    folder: Path
    make_client: MakeClient
    bus: Bus = field(default_factory=Bus)
    documents: Store = field(default_factory=Store)
    clock: SetClock = field(default_factory=SetClock)
    clients: list[Client] = field(default_factory=list)

    def instance(
        self, *, failpoints: Failpoints | None = None, **settings: Any
    ) -> tuple[DirectRequests, Inbox]:
        """Return the core of another instance; only one foreign source may send events."""
        chosen = Settings(data_dir=self.folder, allowed_sources=("//other",), **settings)
        adapters = Adapters(
            documents=self.documents,
            publisher=self.bus,
            identity=UsersIdentity(self.documents),
            clock=self.clock,
            make_consumer=None,  # type: ignore[arg-type]  # never consumes
            files=LocalFiles(self.folder),
            analytics=DuckdbAnalytics(self.folder / "never-opened.duckdb", pseudonym=str),
        )
        dispatcher, inbox = build_dispatcher(chosen, adapters, failpoints=failpoints)
        return DirectRequests(dispatcher, inbox, families_of(chosen).values()), inbox

    async def serve(self, *, answer: Any = None, within_s: float = 20.0, **settings: Any) -> None:
        """Start another instance's route."""
        answer = answer or self.instance(**settings)[0].answer
        reader = TokenReader(SIGNER.find_key, issuer=LOCAL_ISSUER, audience="p")
        routes = cross_service_routes(
            Callers(reader, UsersRevocations(self.documents).is_revoked),
            answer=answer,
            identity=UsersIdentity(self.documents),
            clock=self.clock,
            source="urn:smarwatt:expert-bot",
            within_s=within_s,
        )
        self.clients.append(await self.make_client(make_app(routes)))

    async def ask(
        self,
        body: object = GOOD,
        identity: dict[str, str] = ANA,
        *,
        key: str | None = None,
        instance: int = -1,
    ) -> ClientResponse:
        """Ask an instance, the last one unless told."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **identity}
        if key is not None:
            headers["Idempotency-Key"] = key
        response = await self.clients[instance].post(CROSS_SERVICE_PATH, data=data, headers=headers)
        await response.read()
        return response

    async def turns(self) -> list[Any]:
        """Return the turns of every conversation."""
        found = await self.documents.find(CONVERSATIONS, [], limit=1000)
        return [turn for document in found for turn in document.fields["turns"]]  # type: ignore[union-attr]  # a list


@pytest.fixture
async def world(tmp_path: Path, aiohttp_client: MakeClient) -> World:
    """Serve one instance."""
    made = World(folder=tmp_path, make_client=aiohttp_client)
    await made.serve()
    return made


def test_the_route_asks_for_a_token() -> None:
    """It cannot be added without saying what it asks of its caller."""
    routes = cross_service_routes(Callers(None, None), answer=None, identity=None, clock=None, source="urn:x")  # type: ignore[arg-type]  # never called
    assert [(route.method, route.path, level_of(route.handler)) for route in routes] == [
        ("POST", "/api/v1/chat/cross-service", Level.TOKEN)
    ]


async def test_the_answer_is_in_the_response(world: World) -> None:
    """All that the contract names and no more; the turn and the profile are stored, and nothing is published."""
    response = await world.ask(GOOD | {"conversation_id": "conv-1"}, bearer("user-ana", name="Ana"))
    body = await response.json()
    assert (response.status, response.content_type, response.headers["Cache-Control"]) == (
        200,
        "application/json",
        "no-store",
    )
    assert set(body) == set(ChatResponded.model_fields)
    assert (body["status"], body["conversation_id"], body["timestamp"], body["user_context"]) == (
        "no_data",
        "conv-1",
        "2026-11-02T09:30:00Z",
        {"user_name": "Ana", "has_complete_data": False, "home_type": None, "consumption_profile": None},
    )
    [turn] = await world.turns()
    assert (turn["message"], turn["response"]) == (TEXT, body["response"])
    assert (world.documents.created[PROFILES], world.bus.messages) == (1, [])


@pytest.mark.parametrize(
    ("name", "account", "identity"),
    [
        pytest.param("Ana", None, bearer("user-ana", name="Ana"), id="by the token"),
        pytest.param("Ana María", "Ana María", bearer("user-ana", name="Ana"), id="by the account"),
        pytest.param("Usuario", None, ANA, id="by nothing"),
        pytest.param("Usuario", None, bearer("svc", role="service", name="Energy IA"), id="not by a service's token"),
    ],
)  # fmt: skip
async def test_a_new_profile_has_the_users_name(
    name: str, account: str | None, identity: dict[str, str], world: World
) -> None:
    """The account's, else the one in his own token, else `Usuario`."""
    if account is not None:
        await world.documents.commit([Put(DocKey("users", "user-ana"), {"display_name": account})])
    await world.ask(identity=identity)
    profile = await world.documents.get(profile_key("user-ana"))
    assert profile is not None
    assert name == profile.fields["user_name"]


@pytest.mark.parametrize(
    ("status", "reason", "identity"),
    [
        pytest.param(401, "no-token", STRANGERS["anonymous"], id="anonymous"),
        pytest.param(401, "expired", STRANGERS["expired"], id="expired"),
        pytest.param(401, "unknown-key", bearer("user-ana", role="service") | STRANGERS["another signer's"], id="another signer's"),
        pytest.param(200, None, ANA, id="the user"),
        pytest.param(403, "foreign-user", BEA, id="another user"),
        pytest.param(403, "foreign-user", ADMIN, id="an admin"),
        pytest.param(403, "foreign-user", bearer("svc", role=["service"]), id="roles in a list"),
        pytest.param(403, "foreign-user", bearer("svc", role="Service"), id="another spelling"),
        pytest.param(403, "foreign-user", bearer("svc", service=True), id="another claim"),
        pytest.param(200, None, SERVICE, id="a service"),
        pytest.param(401, "revoked", bearer("gone", role="service"), id="a disabled service"),
    ],
)  # fmt: skip
async def test_a_user_asks_for_himself_and_a_service_for_anybody(
    status: int, reason: str | None, identity: dict[str, str], world: World
) -> None:
    """Everybody else is refused, and leaves nothing."""
    await world.documents.commit([Put(DocKey("users", "gone"), {"disabled": True})])
    response = await world.ask(identity=identity)
    assert (status, reason) == (response.status, (await response.json()).get("reason"))
    assert len(await world.turns()) == (status == 200)


@pytest.mark.parametrize("identity", [ANA, BEA, SERVICE], ids=["user", "another user", "service"])
async def test_another_source_is_forbidden(identity: dict[str, str], world: World) -> None:
    """In the words that the service has always used, whoever asks."""
    response = await world.ask(GOOD | {"source": "otra_api"}, identity)
    problem = await response.json()
    assert (response.status, response.content_type, problem["detail"], problem["reason"]) == (
        403,
        "application/problem+json",
        "Fuente no autorizada para este endpoint",
        "foreign-source",
    )
    assert await world.turns() == []


@pytest.mark.parametrize(
    ("status", "said", "body"),
    [
        pytest.param(400, "Expecting value", b"", id="empty"),
        pytest.param(400, "appears twice", b'{"message": "a", "message": "b"}', id="member twice"),
        pytest.param(400, "NaN", b'{"message": NaN}', id="NaN"),
        pytest.param(422, "data: Input should be", b"[]", id="list"),
        pytest.param(422, "message: Field required", {}, id="no members"),
        pytest.param(422, "source: Field required", {"message": "a", "user_id": "user-ana"}, id="no source"),
        pytest.param(422, "message: String should have at least 1", GOOD | {"message": ""}, id="no text"),
        pytest.param(422, "message: String should match", GOOD | {"message": " \n"}, id="blank text"),
        pytest.param(422, "message: String should have at most 4000", GOOD | {"message": "a" * 4001}, id="long text"),
        pytest.param(422, "message: Input should be a valid string", GOOD | {"message": 1}, id="text a number"),
        pytest.param(422, "user_id: String should match", GOOD | {"user_id": "../x"}, id="no user id"),
        pytest.param(422, "conversation_id: String should have at least", GOOD | {"conversation_id": ""}, id="no conversation"),
        pytest.param(422, "language: String should match", GOOD | {"language": "español"}, id="no language tag"),
        pytest.param(422, "conversation_context.previous_messages: Input should be a valid list", GOOD | {"conversation_context": {"previous_messages": "a"}}, id="no list"),
        pytest.param(422, "token: Extra inputs", GOOD | {"token": "x"}, id="unknown member"),
        pytest.param(413, "at most 65536 bytes", b" " * (MAX_JSON_BYTES + 1), id="too large"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_a_problem(status: int, said: str, body: object, world: World) -> None:
    """It says what is wrong and what is allowed; nothing is stored."""
    response = await world.ask(body)
    assert (status, response.content_type) == (response.status, "application/problem+json")
    assert said in (await response.json())["detail"]
    assert dict(world.documents.created) == {}


async def test_every_member_of_the_contract_is_taken(world: World) -> None:
    """Optional ones too, null included, and unknown ones inside the context."""
    context = {
        "previous_messages": [{"role": "user", "content": "hola"}, "adiós"],
        "current_topic": None,
        "x": 1,
    }
    for more in (
        {"conversation_id": "conv-1", "conversation_context": context, "language": "es"},
        {"conversation_id": None, "conversation_context": None, "language": None},
    ):
        assert (await world.ask(GOOD | more)).status == 200


async def test_the_same_key_and_body_is_answered_with_the_same_bytes(world: World) -> None:
    """Also later, by another instance, in another order of members; one turn comes of it."""
    first = await world.ask(key="k-1")
    world.clock.at += timedelta(days=3)
    await world.serve()
    reordered = json.dumps(dict(reversed(GOOD.items())) | {"language": None}, indent=1).encode()
    again = [await world.ask(key="k-1"), await world.ask(reordered, key="k-1")]
    assert [(200, await first.read())] * 2 == [(each.status, await each.read()) for each in again]
    assert len(await world.turns()) == 1


async def test_a_key_is_good_for_one_body(world: World) -> None:
    """Another body is refused, and the first answer stays what it was."""
    first = await world.ask(key="k-1")
    other = await world.ask(GOOD | {"message": "¿Y en marzo?"}, key="k-1")
    assert (other.status, (await other.json())["reason"]) == (422, "idempotency-key-reused")
    assert await first.read() == await (await world.ask(key="k-1")).read()
    assert len(await world.turns()) == 1


async def test_a_key_is_its_callers_own(world: World) -> None:
    """The same key of a user, of another and of a service: three requests that do not know of each other."""
    answers = [
        await world.ask(GOOD | {"user_id": user}, identity, key="k-1")
        for user, identity in (("user-ana", ANA), ("user-bea", BEA), ("user-ana", SERVICE))
    ]
    assert {200} == {answer.status for answer in answers}
    assert len({(await answer.json())["conversation_id"] for answer in answers}) == 3


async def test_without_a_key_every_request_is_its_own(world: World) -> None:
    """Nobody can tell a repetition from a question asked twice."""
    await world.ask()
    await world.ask()
    assert len(await world.turns()) == 2


async def test_a_hundred_requests_of_one_key_have_one_effect(world: World) -> None:
    """At once, at two instances: one turn, one profile, one answer."""
    await world.serve()
    answers = await asyncio.gather(*(world.ask(key="k-1", instance=n % 2) for n in range(100)))
    assert {(200, await answers[0].read())} == {(each.status, await each.read()) for each in answers}
    assert (len(await world.turns()), world.documents.created[PROFILES]) == (1, 1)


async def test_fifty_first_requests_make_one_profile(world: World) -> None:
    """At once, at two instances: each is answered, and the profile is the first one's."""
    await world.serve()
    answers = await asyncio.gather(*(world.ask(instance=n % 2) for n in range(50)))
    assert {200} == {answer.status for answer in answers}
    assert (world.documents.created[PROFILES], len(await world.turns())) == (1, 50)


async def test_a_conversation_takes_many_questions_at_once(world: World) -> None:
    """They are told one after the other: none is worked out again and again because others were quicker."""
    answers = await asyncio.gather(*(world.ask(GOOD | {"conversation_id": "conv-1"}) for _ in range(40)))
    assert {200} == {answer.status for answer in answers}
    assert len(await world.turns()) == 40


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([""], id="empty"),
        pytest.param(["a b"], id="with a space"),
        pytest.param(["k" * 201], id="too long"),
        pytest.param(["clé"], id="not ASCII"),
        pytest.param(["a", "b"], id="twice"),
        pytest.param(["a", "a"], id="the same twice"),
    ],
)
async def test_what_cannot_be_a_key_is_a_problem(keys: list[str], world: World) -> None:
    """400 says what one looks like; nothing is stored."""
    headers = CIMultiDict([*ANA.items(), *(("Idempotency-Key", key) for key in keys)])
    response = await world.clients[0].post(CROSS_SERVICE_PATH, json=GOOD, headers=headers)
    assert (response.status, "Idempotency-Key must be" in await response.text()) == (400, True)
    assert await world.turns() == []


@pytest.mark.parametrize("key", [None, "k-1"])
async def test_what_takes_too_long_is_given_up(key: str | None, world: World) -> None:
    """504 says to ask again; the claim is free at once, and the same key is then answered, once."""
    await world.serve(within_s=0.1)
    world.documents.before_get = for_profiles(lambda: asyncio.sleep(60))
    response = await world.ask(key=key)
    problem = await response.json()
    assert (response.status, response.headers["Retry-After"], problem["reason"]) == (504, "2", "too-late")
    assert await world.turns() == []
    world.documents.before_get = lambda _key: None
    await world.serve()
    assert (await world.ask(key=key)).status == 200
    assert len(await world.turns()) == 1


async def test_an_answer_does_not_wait_for_the_winding_up(world: World) -> None:
    """Where the store hangs, giving up the claim hangs too, but not the response; what then fails is logged."""
    await world.serve(within_s=0.1)
    gone = asyncio.Event()

    async def hang() -> None:
        await gone.wait()
        raise RuntimeError("a client that was closed meanwhile")

    def hang_from_release(writes: Sequence[Write]) -> Any:
        return hang() if writes[0].key.collection == "inbox" and not isinstance(writes[0], Create) else None

    world.documents.before_get = for_profiles(lambda: asyncio.sleep(60))
    world.documents.before_commit = hang_from_release
    with capture_logs() as log:
        assert (await world.ask()).status == 504
        gone.set()
        await until(lambda: any(line["event"] == "late_answer_failed" for line in log))


async def test_a_handler_has_the_time_of_its_family(world: World) -> None:
    """504 when it is over, as often as it is."""
    await world.serve(handler_timeouts_s={"chat": 0.1})
    world.documents.before_get = for_profiles(lambda: asyncio.sleep(60))
    response = await world.ask()
    assert (response.status, response.headers["Retry-After"]) == (504, "1")


@pytest.mark.parametrize("when", ["before_commit", "before_get"])
async def test_without_a_store_nothing_is_answered(when: str, world: World) -> None:
    """503 and when to come again: whether the request cannot be claimed, or its entry cannot be read."""
    await world.ask(key="k-1")
    setattr(world.documents, when, no_store)
    response = await world.ask(key="k-1")
    assert (response.status, response.headers["Retry-After"]) == (503, "8")
    setattr(world.documents, when, lambda _: None)
    assert (await world.ask(key="k-1")).status == 200


async def test_an_answer_that_cannot_be_read_is_there_later(world: World) -> None:
    """The work is done but its answer cannot be fetched: 503, and the same key has it, without a second turn."""
    world.documents.before_get = lambda key: no_store() if key.collection == "inbox" else None
    response = await world.ask(key="k-1")
    assert (response.status, response.headers["Retry-After"], len(await world.turns())) == (503, "8", 1)
    world.documents.before_get = lambda _key: None
    assert ((await world.ask(key="k-1")).status, len(await world.turns())) == (200, 1)


async def test_an_answer_that_has_just_been_forgotten_is_asked_for_again(world: World) -> None:
    """503: an entry that expires between work and reading leaves a request that is new."""
    world.documents.before_get = lambda key: (
        world.documents.commit([Delete(key)]) if key.collection == "inbox" else None
    )
    response = await world.ask(key="k-1")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_the_bus_is_not_needed(world: World) -> None:
    """Whoever asks over HTTP is answered while it is down."""
    world.bus.down = True
    assert (await world.ask()).status == 200


async def test_a_mistake_of_ours_can_be_asked_again(world: World) -> None:
    """500 says nothing of it; once mended, the same key is answered."""
    world.documents.before_get = for_profiles(bug)
    response = await world.ask(key="k-1")
    assert (response.status, "ZeroDivision" in await response.text()) == (500, False)
    world.documents.before_get = lambda _key: None
    assert (await world.ask(key="k-1")).status == 200


async def test_what_keeps_failing_under_one_key_ends(world: World) -> None:
    """After the attempts that an event has, its death is the answer, and operations have the dead letter."""
    await world.serve(max_attempts=2)
    world.documents.before_get = for_profiles(bug)
    answers = [await world.ask(key="k-1") for _ in range(4)]
    problems = [await answer.json() for answer in answers]
    assert {500} == {answer.status for answer in answers}
    assert (problems[0].get("reason"), problems[1]["reason"]) == (None, "attempts-exhausted")
    assert problems[1] == problems[2] == problems[3]
    [letter] = world.bus.messages
    assert (letter.topic, letter.attributes["dl-subscription"]) == (DEAD_LETTER_TOPIC, ENTRANCE)


async def test_a_refusal_is_an_answer(world: World) -> None:
    """A profile that cannot be read: a problem with its reason, the same again, no turn and no dead letter."""
    await world.documents.commit([Put(profile_key("user-ana"), {"usage": "a lot"})])
    first, again = await world.ask(key="k-1"), await world.ask(key="k-1")
    problem = await first.json()
    assert (first.status, first.content_type, problem["reason"]) == (
        422,
        "application/problem+json",
        "profile-unreadable",
    )
    assert await first.read() == await again.read()
    assert (await world.turns(), world.bus.messages) == ([], [])


@pytest.mark.parametrize(
    ("status", "cause"),
    [(504, "held"), (504, "TimeoutError"), (503, "BusUnavailableError"), (503, "forgotten"), (500, "KeyError")],
)  # fmt: skip
async def test_every_cause_of_no_answer_has_its_status(status: int, cause: str, world: World) -> None:
    """Too late, not there, or broken."""

    async def no_answer(_event: CloudEvent, **_: object) -> Retry:
        return Retry(0.2, cause)

    await world.serve(answer=no_answer)
    response = await world.ask()
    assert (status, None if status == 500 else "1") == (response.status, response.headers.get("Retry-After"))


@pytest.mark.parametrize("point", ["P3", "P4"])
async def test_an_answer_survives_its_worker(point: str, world: World) -> None:
    """Committed but not marked: the relay completes it without the bus, and the answer is the one that was committed."""
    failpoints = ScriptedFailpoints()
    failpoints.crash_at = point
    dying, _ = world.instance(failpoints=failpoints)
    body = json.dumps(GOOD).encode()
    event = CloudEvent(id="e-1", source="urn:x", type=FAMILY.requested.name, data=body, time=AT)
    with pytest.raises(Crash):
        await dying.answer(event, entrance=ENTRANCE, deadline_s=1.0)
    world.clock.at += timedelta(minutes=1)
    alive, inbox = world.instance()
    assert await inbox.sweep() == 1
    answered = await alive.answer(event, entrance=ENTRANCE, deadline_s=1.0)
    assert isinstance(answered, Message)
    [turn] = await world.turns()
    assert (turn["response"], []) == (json.loads(answered.data)["response"], world.bus.messages)


async def test_what_is_asked_is_not_logged(world: World) -> None:
    """Neither the question nor the name nor the token, answered or refused."""
    canaries = ("canary-text", "Canary Name", SERVICE["Authorization"][7:], "canary-key")
    body = GOOD | {"message": "canary-text"}
    with capture_logs() as log:
        await world.ask(body, bearer("user-ana", name="Canary Name"), key="canary-key")
        await world.ask(body | {"source": "x"}, SERVICE)
        await world.ask(body | {"language": "canary-text "}, SERVICE)
        world.documents.before_get = for_profiles(bug)
        await world.ask(body)
    assert len(log) >= 2
    assert [canary for canary in canaries if canary in repr(log)] == []
