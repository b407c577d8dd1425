"""From bytes to one outcome: a request is answered in its exchange, always by the same ids."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import structlog
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from expert_bot.delivery import Ack, DeadLetter, Outcome
from expert_bot.replies import reply_id
from expert_bot.schemas.contract import event_schema
from expert_bot.schemas.events.chat import FAMILY as CHAT
from tests.unit.dispatch_world import CE, NOW, World, ce, data


async def test_a_request_is_answered_in_its_exchange() -> None:
    """The reply leads back to the request, carries tracing and expiry on, and is ordered like it."""
    world = World()
    extensions = {"traceparent": "00-1-2-01", "tracestate": "a=b", "expirytime": "2023-05-02T09:32:00Z"}
    assert Ack() == await world.process(ce(**extensions, other="not carried"))
    (message,) = world.publisher.published
    (reply,) = world.replies
    assert (message.topic, message.ordering_key) == ("chat-replies", "conv-1")
    assert (reply.type, reply.time) == ("com.smarwatt.chat.responded.v1", NOW)
    assert reply.extensions == {
        **extensions, "correlationid": "root-1", "causationid": "e-1", "partitionkey": "conv-1"
    }  # fmt: skip
    assert Draft202012Validator(event_schema(CHAT.replies[0])).is_valid(json.loads(reply.data))


@pytest.mark.parametrize(
    ("key", "attributes", "delivered_key"),
    [
        pytest.param("conv-1", CE, "bus-key", id="the event's own"),
        pytest.param("bus-key", ce(partitionkey=None), "bus-key", id="else the bus's"),
        pytest.param("conv-1", ce(partitionkey=None), "", id="else the data's"),
    ],
)
async def test_a_reply_is_ordered_like_its_request(
    key: str, attributes: dict[str, str], delivered_key: str
) -> None:
    """The ordering key is the event's partition key, the delivery's, or what the data are ordered by."""
    world = World()
    await world.process(attributes, key=delivered_key)
    (message,) = world.publisher.published
    assert key == message.ordering_key == message.attributes["ce-partitionkey"]


async def test_a_first_request_is_its_own_correlation() -> None:
    """Without a correlation id the request is the root of the exchange."""
    world = World()
    await world.process(ce(correlationid=None))
    assert world.replies[0].extensions["correlationid"] == "e-1"


@pytest.mark.parametrize(
    "request_data", [pytest.param(data(), id="answer"), pytest.param(b"{", id="failure")]
)
async def test_the_same_request_always_gives_the_same_reply_id(request_data: bytes) -> None:
    """Two workers that know nothing of each other answer with one id, at any time."""
    one, other = World(), World(now=NOW + timedelta(days=1))
    await one.process(data=request_data)
    await other.process(data=request_data)
    assert [reply.id for reply in one.replies] == [reply.id for reply in other.replies]
    third = World()
    await third.process(ce(id="e-2"), request_data)
    assert one.replies[0].id != third.replies[0].id


def test_a_reply_id_depends_on_each_of_its_parts() -> None:
    """Source, id, handler and index; a part cannot slip into the next."""
    ids = {
        reply_id("s", "e", "h", 0), reply_id("t", "e", "h", 0), reply_id("s", "f", "h", 0), reply_id("s", "e", "i", 0),
        reply_id("s", "e", "h", 1), reply_id("se", "", "h", 0), reply_id("", "se", "h", 0), reply_id("s", "eh", "", 0),
    }  # fmt: skip
    assert len(ids) == 8
    assert reply_id("s", "e", "h", 0) == "ae4cce57-e5ec-55db-9551-e4b6f5f73db5", (
        "ids must not change between versions"
    )


@pytest.mark.parametrize(
    ("outcome", "subscription"),
    [
        pytest.param(Ack(), CHAT.subscription, id="meant for this one"),
        pytest.param(Ack(duplicate=True), "expert-bot-other", id="meant for another"),
    ],
)
async def test_a_replay_reaches_only_the_subscription_it_is_meant_for(
    outcome: Outcome, subscription: str
) -> None:
    """Where the bus does not filter, a replay for another subscription is acknowledged without any work, but not without a trace."""
    world = World()
    with capture_logs() as log:
        assert outcome == await world.process(CE | {"replayfor": subscription})
    assert [entry["event"] for entry in log] == ["event_handled" if outcome == Ack() else "replay_ignored"]
    assert (outcome == Ack()) == bool(world.publisher.published)
    assert (outcome == Ack()) == bool(await world.documents.find("inbox", [], limit=1))


async def test_a_subscription_without_a_family_has_nobody_to_answer() -> None:
    """An event that arrives where nothing is expected is kept as a dead letter."""
    world = World()
    assert DeadLetter("wrong-topic") == await world.process(subscription="expert-bot-unknown")
    assert (world.replies, len(world.letters)) == ([], 1)


async def test_every_source_may_be_allowed() -> None:
    """The wildcard accepts all sources: a deliberate setting."""
    assert Ack() == await World(sources=["*"]).process(ce(source="urn:anyone"))


async def test_a_handled_event_is_one_line_of_ids() -> None:
    """The log tells ids, type, outcome and time taken; nothing of what was said."""
    with structlog.testing.capture_logs() as logs:
        await World().process()
    (line,) = logs
    assert (line["event"], line["event_id"], line["correlation_id"]) == ("event_handled", "e-1", "root-1")
    assert "canary" not in repr(line)
