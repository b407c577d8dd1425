"""The archiver between real emulators: every letter once and whole, through floods, outages and the broker's own forwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub as wire

from expert_bot.deadletters.archive import LETTERS, read_letter
from expert_bot.deadletters.archiver import Archiver
from expert_bot.deadletters.reading import list_letters
from expert_bot.deadletters.record import LetterFacts
from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.errors import StoreUnavailableError
from expert_bot.google_channels import unary
from expert_bot.ports import Documents
from expert_bot.schemas.dead_letter import CauseOfDeath, encode_dead_letter
from expert_bot.schemas.topology import Subscription, Topic, Topology
from expert_bot.storage.firestore_documents import FirestoreDocuments
from expert_bot.storage.system_clock import SystemClock
from tests.emulator.conftest import PROJECT, Bus
from tests.emulators import FIRESTORE, running

pytestmark = pytest.mark.emulator

CE = {"ce-source": "//s", "ce-type": "t", "ce-specversion": "1.0"}
LARGEST = 9_990_000  # what a message of 10 MB has left beside its attributes


@pytest.fixture
async def documents(firestore_emulator: str) -> AsyncIterator[FirestoreDocuments]:
    """Yield documents in a project of the test's own."""
    store = FirestoreDocuments(
        project=f"archive-{uuid.uuid4().hex[:12]}", emulator_host=firestore_emulator, timeout_s=5.0
    )
    yield store
    await store.close()


def letter(topic: str, event_id: str, data: bytes = b"{") -> Message:
    """Return our own letter about an event, on its way to this topic."""
    request = Delivery(subscription="expert-bot-x", data=data, attributes=CE | {"ce-id": event_id})
    cause = CauseOfDeath(reason="invalid-json", detail="why", error_class="E")
    return Message(topic=topic, data=data, attributes=encode_dead_letter(request, cause).attributes)


async def archived(documents: Documents, count: int) -> list[LetterFacts]:
    """Wait for this many letters."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailableError):  # a store that was frozen takes a moment to answer
                if len(letters := await list_letters(documents)) >= count:
                    return list(letters)
            await asyncio.sleep(0.1)


async def test_a_flood_of_letters_is_archived_once_and_whole(bus: Bus, documents: FirestoreDocuments) -> None:
    """200 letters, each published twice, with the largest there can be among them."""
    await bus.set_up()
    small = [letter(bus.name, f"e-{number}") for number in range(200)]
    large = [letter(bus.name, f"large-{number}", b"%d" % number * LARGEST) for number in range(2)]
    for message in (*small, *large, *small, *large):
        await bus.publisher.publish(message)
    bus.consume(Archiver(documents, SystemClock()).process, ordered=False)
    await archived(documents, 202)
    await bus.close()  # what was delivered is settled, copies included
    letters = await documents.find(LETTERS, [], limit=1000)
    assert len(letters) == 202
    sizes = {facts.event_id: facts for facts in await list_letters(documents)}
    for message in (small[0], *large):
        record = await read_letter(documents, sizes[message.attributes["ce-id"]].id)
        assert record is not None
        assert record.data == message.data


async def refuse_everything(bus: Bus) -> None:
    """Take whatever comes and give it back at once, as a worker that dies every time would."""
    pull = unary(bus.channel, "Subscriber/Pull", wire.PullRequest.pb(), wire.PullResponse.pb())
    modify = unary(
        bus.channel, "Subscriber/ModifyAckDeadline", wire.ModifyAckDeadlineRequest.pb(), empty_pb2.Empty
    )
    path = f"projects/{PROJECT}/subscriptions/{bus.name}"
    while True:
        response = await pull(wire.PullRequest.pb()(subscription=path, max_messages=10), timeout=120)
        ack_ids = [received.ack_id for received in response.received_messages]
        if ack_ids:
            await modify(
                wire.ModifyAckDeadlineRequest.pb()(subscription=path, ack_ids=ack_ids, ack_deadline_seconds=0)
            )


async def test_what_the_broker_forwards_is_archived_with_its_origin(
    bus: Bus, pubsub_emulator: str, documents: FirestoreDocuments
) -> None:
    """An event that never gets an outcome: the broker's forward, read by the attributes a real broker gives it."""
    await bus.set_up()
    requests = Bus(pubsub_emulator)
    policy = Subscription(
        name=requests.name,
        topic=requests.name,
        ordered=False,
        ack_deadline_s=10,
        min_backoff_s=0,
        max_backoff_s=1,
        dead_letter_topic=bus.name,
        max_delivery_attempts=5,  # the fewest there can be
    )
    await requests.admin.apply(
        Topology(topics=(Topic(name=requests.name, purpose="a test's own"),), subscriptions=(policy,))
    )
    message = Message(
        topic=requests.name, data=b"never", attributes=CE | {"ce-id": "e-1"}, ordering_key="conv-1"
    )
    await requests.publisher.publish(message)

    refusing = asyncio.create_task(refuse_everything(requests))
    bus.consume(Archiver(documents, SystemClock()).process, ordered=False)
    (facts,) = await archived(documents, 1)
    refusing.cancel()
    await requests.close()
    record = await read_letter(documents, facts.id)
    assert record is not None
    assert (record.data, record.attributes) == (b"never", message.attributes)
    assert (facts.reason, facts.subscription, facts.attempts) == (
        "broker-attempts-exhausted",
        requests.name,
        5,
    )
    assert (facts.ordering_key, facts.event_id, facts.first_publish_at is not None) == ("conv-1", "e-1", True)


@pytest.mark.usefixtures("firestore_emulator")  # skips, or fails in CI, where the emulator is missing
async def test_no_letter_is_lost_while_the_store_is_frozen(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that come while the store answers nothing are retried until it does; each is there once."""
    monkeypatch.setattr("expert_bot.deadletters.archiver._RETRY_OUTAGE_S", 0.1)
    retried = asyncio.Event()
    await bus.set_up()
    with running(FIRESTORE) as emulator:
        store = FirestoreDocuments(project="frozen", emulator_host=emulator.host, timeout_s=2.0)
        await store.ping()
        archiver = Archiver(store, SystemClock())

        async def process(delivery: Delivery) -> Outcome:
            outcome = await archiver.process(delivery)
            if not isinstance(outcome, Ack):
                retried.set()
            return outcome

        emulator.freeze()
        for number in range(20):
            await bus.publisher.publish(letter(bus.name, f"e-{number}"))
        bus.consume(process, ordered=False)
        await asyncio.wait_for(retried.wait(), 30)
        emulator.thaw()
        letters = await archived(store, 20)
        await bus.close()
        assert len(await archived(store, 20)) == 20
        await store.close()
    assert {facts.event_id for facts in letters} == {f"e-{number}" for number in range(20)}
