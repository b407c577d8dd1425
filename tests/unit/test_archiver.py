"""The archiver: acknowledged only once stored, in whatever form the store can hold, and never given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from expert_bot.deadletters.archive import LETTERS, MAX_INLINE_BYTES, letter_key, read_letter
from expert_bot.deadletters.archiver import Archiver
from expert_bot.deadletters.record import DeadLetterRecord, read_record
from expert_bot.delivery import Ack, Delivery, Outcome, Retry
from expert_bot.errors import PreconditionFailedError, StoreUnavailableError
from expert_bot.ports import Create, DocKey, Document, Put, Version, Write
from expert_bot.schemas.dead_letter import CauseOfDeath, encode_dead_letter
from expert_bot.storage.memory_documents import MemoryDocuments

NOW = datetime(2023, 5, 2, 9, 32, tzinfo=UTC)
CE = {"ce-id": "e-1", "ce-source": "//s", "ce-type": "t", "ce-specversion": "1.0"}
FORWARD = CE | {
    "CloudPubSubDeadLetterSourceSubscription": "expert-bot-x",
    "CloudPubSubDeadLetterSourceDeliveryCount": "20",
}


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


class TroubledDocuments(MemoryDocuments):
    """Documents that raise what `trouble` says before a commit, and lose the answer of commits if told so."""

    def __init__(self, trouble: Callable[[Sequence[Write]], Exception | None] = lambda _: None) -> None:
        super().__init__()
        self.trouble = trouble
        self.commits: list[Sequence[Write]] = []
        self.loses_answers = False

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        if (error := self.trouble(writes)) is not None:
            raise error
        self.commits.append(writes)
        versions = await super().commit(writes)
        if self.loses_answers:
            raise StoreUnavailableError("the answer was lost")
        return versions


def letter(data: bytes = b"{", attributes: Mapping[str, str] = CE) -> Delivery:
    """Return our own letter about a request, as the dead letters' subscription delivers it."""
    request = Delivery(subscription="expert-bot-x", data=data, attributes=attributes)
    cause = CauseOfDeath(reason="invalid-json", detail="why", error_class="E", handler="h", attempts=1)
    return forwarded(data, encode_dead_letter(request, cause).attributes)


def forwarded(data: bytes = b"{", attributes: Mapping[str, str] = FORWARD) -> Delivery:
    """Return a message of the dead letters' subscription, by default the broker's forward."""
    return Delivery(
        subscription="expert-bot-dead-letters", data=data, attributes=attributes, published_at=NOW
    )


async def stored(documents: MemoryDocuments, delivery: Delivery) -> DeadLetterRecord | None:
    """Return what the archive has of a letter."""
    return await read_letter(documents, read_record(delivery, NOW).facts.id)


async def archive(documents: MemoryDocuments, *deliveries: Delivery) -> list[Outcome]:
    """Archive letters one after the other."""
    archiver = Archiver(documents, FixedClock())
    return [await archiver.process(delivery) for delivery in deliveries]


async def count(documents: MemoryDocuments) -> int:
    """Return how many letters there are."""
    return len(await documents.find(LETTERS, [], limit=1000))


async def test_a_letter_is_stored_before_it_is_acknowledged() -> None:
    """What Ack says is true: the whole letter is there."""
    documents = MemoryDocuments()
    assert await archive(documents, letter()) == [Ack()]
    assert await stored(documents, letter()) == read_record(letter(), NOW)


async def test_a_letter_delivered_again_is_not_stored_again() -> None:
    """Copies change nothing, not even a letter that somebody has worked on since."""
    documents = MemoryDocuments()
    await archive(documents, letter())
    key = letter_key(read_record(letter(), NOW).facts.id)
    await documents.commit([Put(key, {**(await documents.get(key)).fields, "state": "parked"})])  # type: ignore[union-attr]  # it is there
    again = replace(letter(), message_id="another")
    assert await archive(documents, again, forwarded()) == [Ack(duplicate=True)] * 2
    record = await stored(documents, letter())
    assert record is not None
    assert (record.facts.state, record.facts.reason, await count(documents)) == ("parked", "invalid-json", 1)


async def test_our_own_letter_explains_the_brokers_forward() -> None:
    """The forward came first and knows no reason; the reason is put on its letter when it comes."""
    documents = MemoryDocuments()
    assert await archive(documents, forwarded(), letter()) == [Ack(), Ack(duplicate=True)]
    record = await stored(documents, letter())
    assert record is not None
    facts, own = record.facts, read_record(letter(), NOW).facts
    assert (facts.reason, facts.handler, facts.fingerprint) == ("invalid-json", "h", own.fingerprint)
    assert (facts.detail, facts.attempts, await count(documents)) == ("why", 1, 1)


@pytest.mark.parametrize("size", [1, MAX_INLINE_BYTES + 1], ids=["small", "in chunks"])
async def test_an_outage_delays_a_letter(size: int) -> None:
    """While the store is away every delivery is retried; the first one after that is stored."""
    documents = TroubledDocuments(lambda _: StoreUnavailableError("down"))
    big = letter(b"x" * size)
    (outcome,) = await archive(documents, big)
    assert (type(outcome), await stored(documents, big)) == (Retry, None)
    documents.trouble = lambda _: None
    assert await archive(documents, big) == [Ack()]
    assert await stored(documents, big) == read_record(big, NOW)


async def test_a_lost_answer_is_not_taken_for_a_commit() -> None:
    """Stored or not, who knows: the next delivery finds out."""
    documents = TroubledDocuments()
    documents.loses_answers = True
    (outcome,) = await archive(documents, letter())
    assert isinstance(outcome, Retry)
    documents.loses_answers = False
    assert await archive(documents, letter()) == [Ack(duplicate=True)]
    assert await count(documents) == 1


async def test_a_letter_can_be_seen_only_when_it_is_complete() -> None:
    """Chunks come first: a store that fails after them leaves no letter, and the next try repairs all."""
    documents = TroubledDocuments(
        lambda writes: StoreUnavailableError("down") if isinstance(writes[0], Create) else None
    )
    big = letter(b"x" * 3_000_000)
    (outcome,) = await archive(documents, big)
    assert (type(outcome), len(documents.commits), await count(documents)) == (Retry, 2, 0)
    documents.trouble = lambda _: None
    assert await archive(documents, big) == [Ack()]
    assert await stored(documents, big) == read_record(big, NOW)


async def test_a_letter_that_the_store_cannot_hold_is_kept_in_reduced_form() -> None:
    """Texts shrink, but no attribute and no byte is lost, not even what is not UTF-8."""

    def refuse(writes: Sequence[Write]) -> Exception | None:
        texts = [text for write in writes for text in getattr(write, "fields", {}).get("attributes", [])]
        return ValueError("cannot be encoded") if any("\udcff" in text for text in texts) else None

    documents = TroubledDocuments(refuse)
    attributes = {"ce-id": "\udcff" * 300, "weird \u202e name": "\udcff", "dl-reason": "expired"}
    hostile = forwarded(b"\x00\xff", attributes)
    with capture_logs() as log:
        assert await archive(documents, hostile, hostile) == [Ack(), Ack(duplicate=True)]
    record = await stored(documents, hostile)
    assert record is not None
    assert record.data == b"\x00\xff"
    assert record.attributes == {"ce-id": "\udcff" * 300, "weird \u202e name": "\udcff"}
    assert (record.facts.reason, record.facts.event_id) == ("expired", "?" * 200)
    assert [entry["event"] for entry in log].count("dead_letter_refused") == 2


async def test_a_letter_that_is_refused_in_every_form_stays_on_the_topic() -> None:
    """Retry, never Ack: somebody can still mend the store."""
    documents = TroubledDocuments(lambda _: ValueError("never"))
    (outcome,) = await archive(documents, letter())
    assert isinstance(outcome, Retry)


@pytest.mark.parametrize("step", ["create", "explain"])
async def test_a_refusal_that_proves_nothing_is_no_duplicate(step: str) -> None:
    """A failed precondition without a letter, or while one is being explained, leads to another delivery."""
    documents = TroubledDocuments()
    if step == "explain":
        await archive(documents, forwarded())
    documents.trouble = lambda writes: (
        PreconditionFailedError("changed") if step == "create" or not isinstance(writes[0], Create) else None
    )
    (outcome,) = await archive(documents, letter())
    assert isinstance(outcome, Retry)


class SlowDocuments(MemoryDocuments):
    """Documents that count how many commits run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most = 0

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return await super().commit(writes)

    async def get(self, key: DocKey) -> Document | None:
        await asyncio.sleep(0)
        return await super().get(key)


async def test_few_letters_are_worked_on_at_once() -> None:
    """A flood of letters does not become a flood of writes."""
    documents = SlowDocuments()
    archiver = Archiver(documents, FixedClock())
    letters = [letter(attributes=CE | {"ce-id": f"e-{number}"}) for number in range(100)]
    outcomes = await asyncio.gather(*map(archiver.process, letters))
    assert outcomes == [Ack()] * 100
    assert (documents.most, await count(documents)) == (8, 100)
