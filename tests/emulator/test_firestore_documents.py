"""Firestore documents when the store is away, frozen or contended; everything else is in the contract suite."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from expert_bot.errors import PreconditionFailedError, StoreUnavailableError
from expert_bot.ports import Create, DocKey, Put, Update, Where
from expert_bot.storage.firestore_documents import FirestoreDocuments
from tests.emulators import FIRESTORE, free_port, running

pytestmark = pytest.mark.emulator

Operation = Callable[[FirestoreDocuments], Awaitable[object]]
KEY = DocKey("outages", "one")
OPERATIONS: list[Operation] = [
    lambda store: store.get(KEY),
    lambda store: store.commit([Update(KEY, {"n": 2})]),
    lambda store: store.find("outages", [Where("n", "==", 1)], limit=1),
    lambda store: store.ping(),
]


@pytest.fixture
async def store(firestore_emulator: str) -> AsyncIterator[FirestoreDocuments]:
    """Yield documents on the shared emulator."""
    store = FirestoreDocuments(project="emulator-tests", emulator_host=firestore_emulator)
    yield store
    await store.close()


async def fails_everywhere(store: FirestoreDocuments) -> None:
    """Assert that every operation reports an outage, well before gRPC would by itself."""
    async with asyncio.timeout(20):
        for operation in OPERATIONS:
            with pytest.raises(StoreUnavailableError):
                await operation(store)


@pytest.mark.usefixtures("firestore_emulator")  # skips, or fails in CI, where the emulator is missing
async def test_a_frozen_and_then_a_stopped_store_is_unavailable_and_a_new_one_is_found() -> None:
    """A store that accepts connections and answers nothing, and one that is gone, cost at most the timeout."""
    port = free_port()
    store = FirestoreDocuments(project="emulator-tests", emulator_host=f"127.0.0.1:{port}", timeout_s=1.0)
    await fails_everywhere(store)
    with running(FIRESTORE, port=port) as emulator:
        while True:  # gRPC waits a moment before it connects again
            try:
                await store.commit([Put(KEY, {"n": 1})])  # may be tried again after one that landed
                break
            except StoreUnavailableError:
                await asyncio.sleep(0.1)
        emulator.freeze()
        await fails_everywhere(store)
        emulator.thaw()
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await store.get(KEY)
                    break
                except StoreUnavailableError:
                    continue
        assert found is not None
    await fails_everywhere(store)
    await store.close()


async def test_no_increment_of_two_contending_workers_is_lost(
    store: FirestoreDocuments, firestore_emulator: str
) -> None:
    """Read, change, and write only if unchanged: whoever loses the race reads again, and nothing is overwritten."""
    other = FirestoreDocuments(project="emulator-tests", emulator_host=firestore_emulator)
    key = DocKey("counters", uuid.uuid4().hex)
    await store.commit([Create(key, {"n": 0})])

    async def increment(worker: FirestoreDocuments) -> None:
        for _ in range(5):
            while True:
                found = await worker.get(key)
                assert found is not None
                count = found.fields["n"]
                assert isinstance(count, int)
                try:
                    await worker.commit([Update(key, {"n": count + 1}, found.version)])
                    break
                except (PreconditionFailedError, StoreUnavailableError):
                    continue

    await asyncio.gather(*(increment(worker) for worker in (store, other) for _ in range(4)))
    await other.close()
    found = await store.get(key)
    assert found is not None
    assert found.fields == {"n": 40}


async def test_a_closed_store_connects_again_when_used(store: FirestoreDocuments) -> None:
    """Closing frees the connection and nothing else; closing twice is fine."""
    await store.ping()
    await store.close()
    await store.close()
    assert await store.get(DocKey("outages", "never-there")) is None
