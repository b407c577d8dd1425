"""Events that can never succeed: each is one dead letter with its reason, its requester is told, nothing personal leaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import structlog
from jsonschema import Draft202012Validator

from expert_bot.delivery import Ack, DeadLetter, Retry
from expert_bot.errors import BusUnavailableError, ExpertBotError, MessageRefusedError
from expert_bot.schemas.contract import event_schema
from expert_bot.schemas.events.chat import FAMILY as CHAT
from expert_bot.schemas.problem import Problem
from tests.unit.dispatch_world import CE, DATA, ECHO, EMAIL, TEXT, World, ce, data

STRUCTURED = {"content-type": "application/cloudevents+json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """A delivery that can never succeed; `is_answered`: whether there is a requester to be told."""

    reason: str
    attributes: Mapping[str, str] = field(default_factory=lambda: CE)
    data: bytes = json.dumps(DATA).encode()
    is_answered: bool = True


def structured(**changes: object) -> bytes:
    """Return the request in structured mode."""
    context = {name.removeprefix("ce-"): value for name, value in CE.items() if name.startswith("ce-")}
    return json.dumps({**context, "data": DATA, **changes}).encode()


POISONS = [
    pytest.param(Poison(reason="not-a-cloudevent", attributes={}, data=b"hola " + TEXT.encode(), is_answered=False), id="no event at all"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=ce(id=None), is_answered=False), id="no id"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=STRUCTURED, data=structured(id=None), is_answered=False), id="no id, structured"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=ce(time="ayer"), is_answered=False), id="wrong time"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=ce(specversion="0.3"), is_answered=False), id="wrong specversion"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=ce(expirytime="mañana")), id="wrong expirytime"),
    pytest.param(Poison(reason="not-a-cloudevent", attributes=CE | {"content-type": "application/cloudevents-batch+json"}, is_answered=False), id="batch"),
    pytest.param(Poison(reason="invalid-json", attributes=STRUCTURED, data=structured()[:-1], is_answered=False), id="truncated, structured"),
    pytest.param(Poison(reason="payload-too-large", attributes=STRUCTURED, data=structured(data={"message": TEXT * 526_000}), is_answered=False), id="10 MB, structured"),
    pytest.param(Poison(reason="nesting-too-deep", attributes=STRUCTURED, data=b'{"data":' + b"[" * 100_000, is_answered=False), id="huge nesting, structured"),
    pytest.param(Poison(reason="invalid-json", data=TEXT.encode()), id="not JSON"),
    pytest.param(Poison(reason="invalid-json", data=b""), id="no data"),
    pytest.param(Poison(reason="invalid-json", data=data()[:-1] + b', "user_id": "x"}'), id="duplicate key"),
    pytest.param(Poison(reason="invalid-json", data=data()[:-1] + b', "x": NaN}'), id="NaN"),
    pytest.param(Poison(reason="invalid-encoding", data=data(message=f"{TEXT} ñ").decode().encode("latin-1")), id="wrong encoding"),
    pytest.param(Poison(reason="nesting-too-deep", data=data()[:-1] + b', "x": ' + b"[" * 100_000), id="huge nesting"),
    pytest.param(Poison(reason="payload-too-large", data=data(message=TEXT * 526_000)), id="10 MB"),
    pytest.param(Poison(reason="unknown-type", attributes=ce(type="com.smarwatt.chat.requested.v9")), id="unknown type"),
    pytest.param(Poison(reason="wrong-topic", attributes=ce(type=ECHO.requested.name)), id="another family's type"),
    pytest.param(Poison(reason="unauthorized-source", attributes=ce(source=f"//{EMAIL}")), id="source not allowed"),
    pytest.param(Poison(reason="expired", attributes=ce(expirytime="2023-05-02T09:31:00Z")), id="expired"),
    pytest.param(Poison(reason="unsupported-content-type", attributes=CE | {"content-type": "application/avro"}), id="not JSON by its media type"),
    pytest.param(Poison(reason="schema-violation", data=data(message=[TEXT])), id="wrong field type"),
    pytest.param(Poison(reason="schema-violation", data=data(message=7)), id="number for text"),
    pytest.param(Poison(reason="schema-violation", data=data(user_id=f"{EMAIL} ")), id="pattern"),
    pytest.param(Poison(reason="schema-violation", data=data(message=TEXT * 500)), id="text too long"),
    pytest.param(Poison(reason="schema-violation", data=data(language=EMAIL)), id="language"),
    pytest.param(Poison(reason="schema-violation", data=data(conversation_context={"previous_messages": [{"role": TEXT}] * 9})), id="many violations"),
    pytest.param(Poison(reason="schema-violation", data=json.dumps({"user_id": EMAIL}).encode()), id="missing members"),
    pytest.param(Poison(reason="schema-violation", data=json.dumps([TEXT]).encode()), id="not an object"),
]  # fmt: skip
of_every_poison = pytest.mark.parametrize("poison", POISONS)


@of_every_poison
async def test_a_poison_ends_as_one_dead_letter(poison: Poison) -> None:
    """Exactly one letter: bytes and attributes unchanged, the reason said."""
    world = World()
    assert DeadLetter(poison.reason) == await world.process(poison.attributes, poison.data)
    (letter,) = world.letters
    assert poison.data == letter.data
    assert letter.attributes.items() >= poison.attributes.items()
    assert (poison.reason, "1") == (letter.attributes["dl-reason"], letter.attributes["dl-attempts"])


@of_every_poison
async def test_whoever_asked_is_told(poison: Poison) -> None:
    """One failure that matches its schema and leads back to the request; none where there is nobody to tell."""
    world = World()
    await world.process(poison.attributes, poison.data)
    assert len(world.replies) == poison.is_answered
    for reply in world.replies:
        assert (reply.type, reply.source) == ("com.smarwatt.chat.failed.v1", "urn:smarwatt:expert-bot")
        assert reply.extensions.items() >= {
            "correlationid": "root-1", "causationid": "e-1", "partitionkey": "conv-1"
        }.items()  # fmt: skip
        problem = Problem.model_validate_json(reply.data)
        assert (poison.reason, "e-1") == (problem.reason, problem.instance)
        assert Draft202012Validator(event_schema(CHAT.failed)).is_valid(json.loads(reply.data))


@of_every_poison
async def test_a_poison_leaks_nothing_personal(poison: Poison) -> None:
    """Neither e-mail nor message text appear in marks, problems or log lines."""
    world = World()
    with structlog.testing.capture_logs() as logs:
        await world.process(poison.attributes, poison.data)
    assert [log["event"] for log in logs] == ["event_dead_lettered"]
    marks = [value for name, value in world.letters[0].attributes.items() if name.startswith("dl-")]
    written = repr((logs, marks, [reply.data for reply in world.replies]))
    assert "canary" not in written


async def test_a_poison_delivered_again_is_a_duplicate() -> None:
    """A redelivered poison adds neither letter nor failure."""
    world = World()
    assert DeadLetter("invalid-json") == await world.process(data=b"{")
    assert Ack(duplicate=True) == await world.process(data=b"{")
    assert (len(world.letters), len(world.replies)) == (1, 1)


@pytest.mark.parametrize("attributes", [pytest.param({}, id="no event"), pytest.param(CE, id="event")])
@pytest.mark.parametrize(
    "failure",
    [BusUnavailableError("down"), MessageRefusedError("message-refused", "too large")],
    ids=["down", "refused"],
)
async def test_without_its_dead_letter_an_event_is_tried_again(
    failure: ExpertBotError, attributes: dict[str, str]
) -> None:
    """As long as the letter is not confirmed the event is not given up; then there is exactly one."""
    world = World()
    world.publisher.failure = failure
    outcome = await world.process(attributes, b"{")
    assert isinstance(outcome, Retry)
    assert outcome.after_s > 0
    world.publisher.failure = None
    assert isinstance(await world.process(attributes, b"{"), DeadLetter)
    assert len(world.letters) == 1


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param(CE | {"ce-subject": "\udcff"}, id="not UTF-8"),
        pytest.param(CE | {"ce-id": "x" * 1025}, id="too long for an attribute"),
        pytest.param(CE | {"ce-id": "x\x00", "googclient_schemaencoding": "JSON"}, id="reserved name"),
    ],
)
async def test_what_only_http_can_carry_is_buried_too(attributes: dict[str, str]) -> None:
    """A push whose headers no bus message could hold ends as a dead letter, not in endless retries."""
    world = World()
    assert await world.process(attributes) == DeadLetter("not-a-cloudevent")
    (letter,) = world.letters
    assert letter.attributes["dl-dropped"] == "1"


async def test_a_failure_without_any_key_is_not_ordered() -> None:
    """Data that cannot be read give no ordering key; the failure is sent all the same."""
    world = World()
    await world.process(ce(partitionkey=None), b"{")
    (failure,) = [message for message in world.publisher.published if message.topic == "chat-replies"]
    assert failure.ordering_key == ""
    assert "ce-partitionkey" not in failure.attributes
