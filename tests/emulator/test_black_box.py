"""The whole service from outside, over real emulators: processes, a plain client, and the contract."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from expert_bot.consumers.embedded import EmbeddedConsumer
from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.publishers.embedded import EmbeddedPublisher
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from expert_bot.storage.system_clock import SystemClock
from tests.emulator.black_box import DEAD_LETTER_TOPIC, Mailbox, Question, World, wrapped
from tests.emulator.processes import run, service
from tests.waiting import until

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

PUSH = "/push/expert-bot-chat-requests"
FIRST_ID = "00000000-0000-4000-8000-000000000001"
FACTS = {"consumption_p1": "74.435", "consumption_p2": "81.768", "consumption_p3": "137.113"}
LARGEST = b'"' + b"x" * 9_990_000 + b'"'  # with its attributes, about the 10 MB that Pub/Sub allows


@pytest.fixture(scope="module")
def home_4(shared_data: Path) -> Path:
    """Return a real household's hourly curve."""
    return shared_data / "energy" / "households_es" / "home_4.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A world in which a worker runs, and what the client hears."""

    world: World
    replies: Mailbox
    letters: Mailbox

    def reply_to(self, event_id: str) -> Any:
        """Wait for the reply to a request."""
        return self.replies.until(lambda reply: reply.attributes["ce-correlationid"] == event_id)[0]


@pytest.fixture
def make_world(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> Iterator[Callable[[], World]]:
    """Make worlds that are closed when the test ends."""
    worlds: list[World] = []

    def make() -> World:
        worlds.append(World(tmp_path, pubsub_emulator, firestore_emulator))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(scope="module")
def served(
    pubsub_emulator: str, firestore_emulator: str, tmp_path_factory: pytest.TempPathFactory, home_4: Path
) -> Iterator[Served]:
    """Set up topics, import a household and run a worker, as an operator would: one for all tests here."""
    folder = tmp_path_factory.mktemp("black-box")
    with closing(World(folder, pubsub_emulator, firestore_emulator)) as world:
        set_up(world, home_4)
        with world.service("work"):
            yield Served(
                world=world,
                replies=world.mailbox(world.contract.channel("send")),
                letters=world.mailbox(DEAD_LETTER_TOPIC),
            )


@pytest.fixture(scope="module")
def first_answer(served: Served) -> Any:
    """Ask the one question that every transport is asked, and return the reply."""
    question = served.world.question("black-box", event_id=FIRST_ID)
    served.world.ask(question, key="black-box")
    return served.reply_to(FIRST_ID)


def set_up(world: World, household: Path) -> None:
    """Create the topics and import a household's consumption through the command line."""
    world.run("topics", "apply")
    report = json.loads(world.run("import", "consumption", str(household), "--user", "home4", "--json"))
    assert report["rejected"] == []


def identity(attributes: Any, data: bytes) -> tuple[str, str, str, bytes]:
    """Return what must not depend on the transport: the reply's source, id, type and bytes."""
    return (attributes["ce-source"], attributes["ce-id"], attributes["ce-type"], data)


def test_a_client_that_knows_only_the_contract_is_answered(served: Served, first_answer: Any) -> None:
    """Topic, type and attribute names come from the contract; the reply keeps it, and its figures are the household's."""
    question = served.world.question("black-box", event_id=FIRST_ID)
    contract = served.world.contract
    assert contract.violations("chat.requested.v1", question.attributes(), question.data) == []
    assert contract.violations("chat.responded.v1", first_answer.attributes, first_answer.data) == []
    assert first_answer.attributes["ce-causationid"] == FIRST_ID
    assert first_answer.ordering_key == "black-box"

    answer = json.loads(first_answer.data)
    facts = {fact["id"]: fact for fact in answer["facts"]}
    assert {name: facts[name]["value"] for name in FACTS} == FACTS
    assert {facts[name]["unit"] for name in FACTS} == {"kWh"}
    assert [kwh for kwh in ("74,435", "81,768", "137,113") if kwh not in answer["response"]] == []


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        pytest.param("black-box-1", "structured", id="structured, ordered"),
        pytest.param("", "structured", id="structured, unordered"),
        pytest.param("", "binary", id="binary, unordered"),
    ],
)
def test_mode_and_ordering_key_do_not_change_the_answer(
    key: str, mode: str, served: Served, first_answer: Any, request: pytest.FixtureRequest
) -> None:
    """The same question in another conversation gets the same data, but for the conversation's id."""
    conversation = f"black-box-{request.node.callspec.id.replace(', ', '-')}"
    question = served.world.question(conversation)
    if mode == "structured":
        content_type = {"content-type": "application/cloudevents+json; charset=utf-8"}
        served.world.publish(question.structured(), content_type, key)
    else:
        served.world.ask(question, key=key)
    expected = first_answer.data.replace(b'"black-box"', f'"{conversation}"'.encode())
    assert expected == served.reply_to(question.id).data


@pytest.mark.parametrize("form", ["wrapped", "unwrapped"])
def test_push_gives_the_same_reply(
    form: str, make_world: Callable[[], World], home_4: Path, first_answer: Any
) -> None:
    """The same event pushed to a service of a fresh project: 204 once durable, the same reply id and bytes."""
    world = make_world()
    set_up(world, home_4)
    replies = world.mailbox(world.contract.channel("send"))
    question = world.question("black-box", event_id=FIRST_ID)
    with world.service("serve", PORT="0") as serving:
        if form == "wrapped":
            status = serving.push(PUSH, wrapped(question), {"content-type": "application/json"})
        else:
            status = serving.push(PUSH, question.data, question.attributes())
        (reply,) = replies.until(lambda reply: True)
    assert status == 204
    assert identity(first_answer.attributes, first_answer.data) == identity(reply.attributes, reply.data)


async def test_embedded_mode_gives_the_same_reply(tmp_path: Path, home_4: Path, first_answer: Any) -> None:
    """The same event through the embedded files of a worker process: the same reply id and bytes."""
    question = Question(
        type="com.smarwatt.chat.requested.v1",
        user_id="home4",
        conversation_id="black-box",
        id=FIRST_ID,
    )
    replies: list[Delivery] = []

    async def take(delivery: Delivery) -> Outcome:
        replies.append(delivery)
        return Ack()

    run(tmp_path, {}, "import", "consumption", str(home_4), "--user", "home4")
    async with AsyncExitStack() as stack:
        stack.enter_context(service(tmp_path, {}, "work"))
        bus = SqliteBus(SqliteFile(tmp_path / "data" / "bus.sqlite3"), clock=SystemClock())
        stack.push_async_callback(bus.close)
        await bus.create_temporary_subscription("client", "chat-replies")
        consumer = EmbeddedConsumer(bus, "client", take)
        running = asyncio.create_task(consumer.run())
        stack.push_async_callback(asyncio.wait_for, running, 30)
        stack.push_async_callback(consumer.drain, 0)
        await EmbeddedPublisher(bus).publish(
            Message(topic="chat-requests", data=question.data, attributes=question.attributes())
        )
        await until(lambda: replies)
    assert identity(first_answer.attributes, first_answer.data) == identity(
        replies[0].attributes, replies[0].data
    )


@pytest.mark.parametrize(
    ("reason", "failures", "data", "changes"),
    [
        pytest.param("invalid-json", 1, b"not json", {}, id="not JSON"),
        pytest.param("not-a-cloudevent", 0, None, {"ce_id": None}, id="no ce-id"),
        pytest.param("not-a-cloudevent", 0, None, {"ce_source": None}, id="no ce-source"),
        pytest.param("not-a-cloudevent", 0, None, {"ce_specversion": "0.3"}, id="old version"),
        pytest.param("unknown-type", 1, None, {"ce_type": "com.example.nonsense.v1"}, id="unknown type"),
        pytest.param(
            "unknown-type", 1, None, {"ce_type": "com.smarwatt.chat.responded.v1"}, id="reply as request"
        ),
        pytest.param(
            "schema-violation",
            1,
            b'{"message": 5, "user_id": "u", "source": "s"}',
            {},
            id="wrong field type",
        ),
        pytest.param("payload-too-large", 1, LARGEST, {}, id="10 MB"),
        pytest.param("invalid-encoding", 1, '{"message": "¿Cuánto?"}'.encode("latin-1"), {}, id="latin-1"),
        pytest.param("nesting-too-deep", 1, b"[" * 100_000 + b"]" * 100_000, {}, id="100,000 levels"),
        pytest.param("unsupported-content-type", 1, b"<a/>", {"content_type": "text/xml"}, id="XML"),
        pytest.param(
            "invalid-json",
            0,
            b"{",
            {"content_type": "application/cloudevents+json"},
            id="structured, not JSON",
        ),
    ],
)
def test_a_malformed_request_is_one_dead_letter_and_the_worker_serves_on(
    reason: str,
    failures: int,
    data: bytes | None,
    changes: dict[str, str | None],
    served: Served,
) -> None:
    """Exactly one dead letter with its bytes and reason, one `failed` reply where the ids are known, then business as usual."""
    bad = served.world.question("malformed")
    attributes = bad.attributes(**changes) | {"case": bad.id}
    served.world.publish(bad.data if data is None else data, attributes)

    def is_its_letter(letter: Any) -> bool:
        return letter.attributes.get("case") == bad.id

    def is_about_it(reply: Any) -> bool:
        return reply.attributes["ce-correlationid"] == bad.id

    served.letters.until(is_its_letter)
    good = served.world.question(f"after-{bad.id}")
    served.world.ask(good)
    assert served.reply_to(good.id).attributes["ce-type"] == "com.smarwatt.chat.responded.v1"

    (letter,) = filter(is_its_letter, served.letters.messages)
    assert (reason, bad.data if data is None else data) == (letter.attributes["dl-reason"], letter.data)
    told = [*filter(is_about_it, served.replies.messages)]
    assert [reason] * failures == [json.loads(failure.data)["reason"] for failure in told]
    for failure in told:
        assert served.world.contract.violations("chat.failed.v1", failure.attributes, failure.data) == []


def test_ask_is_answered_by_the_running_worker(served: Served) -> None:
    """The command publishes like any client and prints the worker's reply."""
    shown = json.loads(
        served.world.run("ask", "¿Cuánto consumí en abril de 2023?", "--user", "home4", "--json")
    )
    facts = {fact["id"]: fact["value"] for fact in shown["reply"]["data"]["facts"]}
    assert {name: facts[name] for name in FACTS} == FACTS


def test_a_worker_that_is_told_to_stop_leaves_its_work_to_the_next(make_world: Callable[[], World]) -> None:
    """SIGTERM with requests in flight: exit 0 within 9 s; another worker answers the rest; each request exactly once."""
    world = make_world()
    world.run("topics", "apply")
    replies = world.mailbox(world.contract.channel("send"))
    questions = [world.question(f"stop-{number}", user_id=f"user-{number}") for number in range(1000)]
    with world.service("work") as worker:
        world.ask(*questions)
        replies.until(lambda reply: True)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout=9) == 0
    with world.service("work") as successor:
        replies.until(lambda reply: True, count=len(questions))
        world.ask(last := world.question("stop-last"))
        replies.until(lambda reply: reply.attributes["ce-correlationid"] == last.id)
    assert any(
        line.get("duplicate") is False and line["event_id"] != last.id for line in successor.lines()
    ), "the first worker was to be stopped in the middle"
    answered = Counter(reply.attributes["ce-correlationid"] for reply in replies.messages)
    assert Counter(question.id for question in [*questions, last]) == answered
