"""How every status of Firestore is told apart, against a server that answers with each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.cloud.firestore_v1.types import firestore as wire

from expert_bot.errors import PreconditionFailedError, StoreUnavailableError
from expert_bot.ports import Create, DocKey, Put, Version, Where
from expert_bot.storage.firestore_documents import FirestoreDocuments

Code = grpc.StatusCode
KEY = DocKey("c", "1")
Operation = Callable[[FirestoreDocuments], Awaitable[object]]

OUTAGES = [
    Code.ABORTED,
    Code.CANCELLED,
    Code.DEADLINE_EXCEEDED,
    Code.INTERNAL,
    Code.PERMISSION_DENIED,
    Code.RESOURCE_EXHAUSTED,
    Code.UNAUTHENTICATED,
    Code.UNAVAILABLE,
    Code.UNKNOWN,
]
MISTAKES = [Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.UNIMPLEMENTED]
COMMIT: Operation = lambda store: store.commit([Create(KEY, {"n": 1})])  # noqa: E731 - rows of the tables below
GET: Operation = lambda store: store.get(KEY)  # noqa: E731 - the same
FIND: Operation = lambda store: store.find("c", [Where("n", ">", 1)], limit=1)  # noqa: E731 - the same
OPERATIONS = [pytest.param(COMMIT, id="commit"), pytest.param(GET, id="get"), pytest.param(FIND, id="find")]


class FakeFirestore:
    """Answers every call with `status`, and keeps the metadata of the last one."""

    def __init__(self) -> None:
        self.status = (Code.OK, "")
        self.metadata: dict[str, Any] = {}
        self.port = 0

    async def unary(self, _request: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        await context.abort(*self.status)

    async def stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self.unary(request, context)
        yield


@pytest.fixture
async def fake() -> AsyncIterator[FakeFirestore]:
    """Yield a running fake Firestore."""
    fake = FakeFirestore()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "google.firestore.v1.Firestore",
                {
                    "Commit": grpc.unary_unary_rpc_method_handler(
                        fake.unary, request_deserializer=wire.CommitRequest.pb().FromString
                    ),
                    "BatchGetDocuments": grpc.unary_stream_rpc_method_handler(
                        fake.stream, request_deserializer=wire.BatchGetDocumentsRequest.pb().FromString
                    ),
                    "RunQuery": grpc.unary_stream_rpc_method_handler(
                        fake.stream, request_deserializer=wire.RunQueryRequest.pb().FromString
                    ),
                },
            ),
        )
    )
    fake.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield fake
    await server.stop(None)


@pytest.fixture
async def store(fake: FakeFirestore) -> AsyncIterator[FirestoreDocuments]:
    """Yield documents on the fake."""
    store = FirestoreDocuments(project="p", emulator_host=f"127.0.0.1:{fake.port}", timeout_s=5.0)
    yield store
    await store.close()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", OUTAGES, ids=lambda code: code.name.lower())
async def test_outages_are_transient(
    code: Code, operation: Operation, fake: FakeFirestore, store: FirestoreDocuments
) -> None:
    """Nothing that may pass by itself, or that an operator repairs, may look like bad input."""
    fake.status = (code, "as the test says")
    with pytest.raises(StoreUnavailableError, match=f"{code.name} as the test says"):
        await operation(store)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", MISTAKES, ids=lambda code: code.name.lower())
async def test_mistakes_pass_unchanged(
    code: Code, operation: Operation, fake: FakeFirestore, store: FirestoreDocuments
) -> None:
    """A request that Firestore can never accept is a mistake of the caller, not an outage."""
    fake.status = (code, "as the test says")
    with pytest.raises(grpc.aio.AioRpcError, match=code.name):
        await operation(store)


@pytest.mark.parametrize(
    "code",
    [Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS, Code.NOT_FOUND],
    ids=lambda code: code.name.lower(),
)
async def test_a_refused_commit_wrote_nothing(
    code: Code, fake: FakeFirestore, store: FirestoreDocuments
) -> None:
    """Every way in which Firestore says "not in this state" is one error."""
    fake.status = (code, "as the test says")
    with pytest.raises(PreconditionFailedError):
        await store.commit([Create(KEY, {})])


async def test_a_missing_index_is_not_a_precondition(fake: FakeFirestore, store: FirestoreDocuments) -> None:
    """The same status means something else for a query."""
    fake.status = (Code.FAILED_PRECONDITION, "The query requires an index.")
    with pytest.raises(grpc.aio.AioRpcError, match="requires an index"):
        await FIND(store)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_missing_database_is_not_a_missing_document(
    operation: Operation, fake: FakeFirestore, store: FirestoreDocuments
) -> None:
    """Firestore says NOT_FOUND for both; taken for a document it would mean a lost claim or an unknown user."""
    fake.status = (Code.NOT_FOUND, "The database (default) does not exist for project p.")
    with pytest.raises(StoreUnavailableError, match="does not exist for project"):
        await operation(store)


async def test_calls_say_which_database_they_are_for(fake: FakeFirestore, store: FirestoreDocuments) -> None:
    """Firestore routes by metadata, not by the request."""
    fake.status = (Code.UNAVAILABLE, "")
    with pytest.raises(StoreUnavailableError):
        await store.ping()
    assert fake.metadata["google-cloud-resource-prefix"] == "projects/p/databases/(default)"
    assert fake.metadata["x-goog-request-params"] == "project_id=p&database_id=%28default%29"


async def test_wrong_writes_never_leave(store: FirestoreDocuments) -> None:
    """A document twice in one commit is refused here, and an empty commit asks nobody (this server only refuses)."""
    with pytest.raises(ValueError, match="twice"):
        await store.commit([Put(KEY, {}), Put(KEY, {})])
    nothing: list[Version] = []
    assert await store.commit([]) == nothing
