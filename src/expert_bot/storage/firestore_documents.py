"""Documents on Google Firestore: raw protobuf on the async stubs, one Commit per `commit`, no retries of its own.

The generated stubs instead of the high-level client: that one retries behind its caller's back and reports outages
as ValueError; here every failure is a gRPC status, classified once, within `timeout_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
from google.api_core.gapic_v1 import routing_header
from google.auth.credentials import Credentials
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import (
    FirestoreGrpcAsyncIOTransport,
)
from google.cloud.firestore_v1.types import common, document, firestore, query, write
from google.protobuf import timestamp_pb2, wrappers_pb2

from expert_bot.errors import ExpertBotError, PreconditionFailedError, StoreUnavailableError
from expert_bot.google_channels import CHANNEL_OPTIONS
from expert_bot.ports import Create, Delete, DocKey, Document, Put, Update, Version, Where, Write
from expert_bot.storage.document_rules import check_writes
from expert_bot.storage.firestore_values import decode_fields, encode_fields, encode_value

_CommitRequest: Final[Any] = firestore.CommitRequest.pb()
_CommitResponse: Final[Any] = firestore.CommitResponse.pb()
_BatchGetRequest: Final[Any] = firestore.BatchGetDocumentsRequest.pb()
_BatchGetResponse: Final[Any] = firestore.BatchGetDocumentsResponse.pb()
_RunQueryRequest: Final[Any] = firestore.RunQueryRequest.pb()
_RunQueryResponse: Final[Any] = firestore.RunQueryResponse.pb()
_Document: Final[Any] = document.Document.pb()
_Write: Final[Any] = write.Write.pb()
_Precondition: Final[Any] = common.Precondition.pb()
_DocumentMask: Final[Any] = common.DocumentMask.pb()
_Query: Final[Any] = query.StructuredQuery.pb()

_OPERATORS: Final = {
    "==": _Query.FieldFilter.EQUAL,
    "<": _Query.FieldFilter.LESS_THAN,
    "<=": _Query.FieldFilter.LESS_THAN_OR_EQUAL,
    ">": _Query.FieldFilter.GREATER_THAN,
    ">=": _Query.FieldFilter.GREATER_THAN_OR_EQUAL,
}

_PRECONDITION: Final = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.NOT_FOUND,
    }
)
_OUTAGE: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        # Lost rights are repaired by an operator; the events that meet them in the meantime must survive.
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    channel: grpc.aio.Channel
    commit: Any
    batch_get: Any
    run_query: Any


class FirestoreDocuments:
    """Documents over one Firestore database; connects on first use, to the loop that runs then.

    `emulator_host`: "HOST:PORT", unencrypted and without credentials; None for Google's service with `credentials`
    (None: the application default ones). `timeout_s` bounds every operation. A write that changes nothing keeps the
    document's version. gRPC errors that are neither outages nor failed preconditions (a missing index, a value
    Firestore cannot hold) pass unchanged: they are mistakes in the caller's code.
    """

    def __init__(
        self,
        *,
        project: str,
        database: str = "(default)",
        emulator_host: str | None = None,
        credentials: Credentials | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._root = f"{self._database}/documents"
        self._emulator_host = emulator_host
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._metadata = (
            routing_header.to_grpc_metadata((("project_id", project), ("database_id", database))),
            ("google-cloud-resource-prefix", self._database),
            *((("authorization", "Bearer owner"),) if emulator_host else ()),  # the emulator's administrator
        )

    async def get(self, key: DocKey) -> Document | None:
        """Return the document or None; see `ports.Documents`."""
        request = _BatchGetRequest(database=self._database, documents=[self._name(key)])
        for response in await self._read(self._connected().batch_get, request):
            if response.HasField("found"):
                return self._document(key.collection, response.found)
        return None

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Apply all writes or none; see `ports.Documents`."""
        check_writes(writes)
        if not writes:
            return []
        request = _CommitRequest(database=self._database, writes=[self._write(write) for write in writes])
        try:
            response = await self._connected().commit(
                request, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            if ours := _commit_error(error):
                raise ours from error
            raise
        return [_version(result.update_time) for result in response.write_results]

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        """Return up to `limit` matching documents; see `ports.Documents`."""
        structured = _Query(limit=wrappers_pb2.Int32Value(value=limit))
        structured.from_.add(collection_id=collection)
        if where:
            structured.where.CopyFrom(_all_of(where))
        request = _RunQueryRequest(parent=self._root, structured_query=structured)
        return [
            self._document(collection, response.document)
            for response in await self._read(self._connected().run_query, request)
            if response.HasField("document")
        ]

    async def ping(self) -> None:
        """Read a document that need not exist."""
        await self.get(DocKey("ping", "ping"))

    async def close(self) -> None:
        """Close the connection; the next operation would open another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.channel.close()

    def _connected(self) -> _Connection:
        if self._connection is None:
            channel = self._open_channel()
            self._connection = _Connection(
                channel=channel,
                commit=_stub(channel.unary_unary, "Commit", _CommitRequest, _CommitResponse),
                batch_get=_stub(
                    channel.unary_stream, "BatchGetDocuments", _BatchGetRequest, _BatchGetResponse
                ),
                run_query=_stub(channel.unary_stream, "RunQuery", _RunQueryRequest, _RunQueryResponse),
            )
        return self._connection

    def _open_channel(self) -> grpc.aio.Channel:
        if self._emulator_host is not None:
            return grpc.aio.insecure_channel(self._emulator_host, options=CHANNEL_OPTIONS)
        return FirestoreGrpcAsyncIOTransport.create_channel(
            credentials=self._credentials, options=CHANNEL_OPTIONS
        )

    async def _read(self, stub: Any, request: Any) -> list[Any]:  # noqa: ANN401 - untyped generated classes
        try:
            return [
                response async for response in stub(request, timeout=self._timeout_s, metadata=self._metadata)
            ]
        except grpc.aio.AioRpcError as error:
            if error.code() in _OUTAGE or _is_missing_database(error):
                raise _unavailable(error) from error
            raise

    def _write(self, write: Write) -> Any:  # noqa: ANN401 - untyped generated class
        match write:
            case Create(key, fields):
                return _Write(update=self._body(key, fields), current_document=_Precondition(exists=False))
            case Put(key, fields):
                return _Write(update=self._body(key, fields))
            case Update(key, fields, version):
                return _Write(
                    update=self._body(key, fields),
                    update_mask=_DocumentMask(field_paths=list(fields)),
                    current_document=_at_version(version) or _Precondition(exists=True),
                )
            case Delete(key, version):
                return _Write(delete=self._name(key), current_document=_at_version(version))

    def _body(self, key: DocKey, fields: Any) -> Any:  # noqa: ANN401 - untyped generated class
        return _Document(name=self._name(key), fields=encode_fields(fields))

    def _name(self, key: DocKey) -> str:
        return f"{self._root}/{key.collection}/{key.id}"

    def _document(self, collection: str, found: Any) -> Document:  # noqa: ANN401 - untyped generated class
        return Document(
            key=DocKey(collection, found.name.rpartition("/")[2]),
            fields=decode_fields(found.fields),
            version=_version(found.update_time),
        )


def _stub(kind: Any, method: str, request: Any, response: Any) -> Any:  # noqa: ANN401 - untyped generated classes
    return kind(
        f"/google.firestore.v1.Firestore/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def _all_of(where: Sequence[Where]) -> Any:  # noqa: ANN401 - untyped generated class
    filters = [
        _Query.Filter(
            field_filter=_Query.FieldFilter(
                field=_Query.FieldReference(field_path=condition.field),
                op=_OPERATORS[condition.op],
                value=encode_value(condition.value),
            )
        )
        for condition in where
    ]
    return _Query.Filter(
        composite_filter=_Query.CompositeFilter(op=_Query.CompositeFilter.AND, filters=filters)
    )


def _version(update_time: Any) -> Version:  # noqa: ANN401 - untyped generated class
    return Version(f"{update_time.seconds}.{update_time.nanos:09d}")


def _at_version(version: Version | None) -> Any:  # noqa: ANN401 - untyped generated class
    if version is None:
        return None
    seconds, _, nanos = version.partition(".")
    return _Precondition(update_time=timestamp_pb2.Timestamp(seconds=int(seconds), nanos=int(nanos)))


def _commit_error(error: grpc.aio.AioRpcError) -> ExpertBotError | None:
    if error.code() in _OUTAGE or _is_missing_database(error):
        return _unavailable(error)
    if error.code() in _PRECONDITION:
        return PreconditionFailedError(f"nothing was written: {error.code().name} {error.details()}")
    return None


def _is_missing_database(error: grpc.aio.AioRpcError) -> bool:
    """Tell "the database does not exist" from "a document does not exist": Firestore gives both the same status."""
    return error.code() is grpc.StatusCode.NOT_FOUND and "The database" in (error.details() or "")


def _unavailable(error: grpc.aio.AioRpcError) -> StoreUnavailableError:
    return StoreUnavailableError(f"Firestore did not answer: {error.code().name} {error.details()}")
