"""Documents in memory: for tests and benchmarks. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from expert_bot.errors import PreconditionFailedError
from expert_bot.ports import Create, Delete, DocKey, Document, Fields, Put, Version, Where, Write
from expert_bot.storage.document_rules import check_writes, checked_copy, condition


class MemoryDocuments:
    """The Documents port over one dictionary; documents are copied on the way in and on the way out."""

    def __init__(self) -> None:
        self._documents: dict[DocKey, Document] = {}
        self._last_version = 0

    async def get(self, key: DocKey) -> Document | None:
        """Return a copy of the document, or None."""
        document = self._documents.get(key)
        return None if document is None else _copy(document)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Apply all writes or none."""
        check_writes(writes)
        if len(writes) == 1:
            return [self._apply(writes[0].key, self._staged(writes[0]))]
        staged = [self._staged(write) for write in writes]
        return [self._apply(write.key, fields) for write, fields in zip(writes, staged, strict=True)]

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        """Return copies of up to `limit` matching documents."""
        holds = condition(where)
        found = (
            document
            for document in self._documents.values()
            if document.key.collection == collection and holds(document.fields)
        )
        return [_copy(document) for document in islice(found, limit)]

    async def ping(self) -> None:
        """Memory always answers."""

    async def close(self) -> None:
        """Keep everything: there is nothing to free."""

    def _apply(self, key: DocKey, fields: Fields | None) -> Version:
        self._last_version += 1
        version = Version(str(self._last_version))
        if fields is None:
            self._documents.pop(key, None)
        else:
            self._documents[key] = Document(key=key, fields=fields, version=version)
        return version

    def _staged(self, write: Write) -> Fields | None:
        """Check one write's precondition and return the fields the document will have; None if it will be gone."""
        stored = self._documents.get(write.key)
        if isinstance(write, Create):
            if stored is not None:
                raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} exists already")
            return checked_copy(write.fields)
        if isinstance(write, Put):
            return checked_copy(write.fields)
        if write.if_version is not None and (stored is None or stored.version != write.if_version):
            at = None if stored is None else stored.version
            raise PreconditionFailedError(
                f"{write.key.collection}/{write.key.id} is at version {at}, not {write.if_version}"
            )
        if isinstance(write, Delete):
            return None
        if stored is None:
            raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} does not exist")
        return stored.fields | checked_copy(write.fields)


def _copy(document: Document) -> Document:
    return Document(key=document.key, fields=checked_copy(document.fields), version=document.version)
