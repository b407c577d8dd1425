"""Documents in memory: for tests and benchmarks. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from expert_bot.errors import PreconditionFailedError
from expert_bot.ports import Create, Delete, DocKey, Document, Fields, Update, Version, Where, Write
from expert_bot.storage.document_rules import check_writes, checked_copy, condition


class MemoryDocuments:
    """The Documents port over dictionaries; documents are copied on the way in and on the way out."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Document]] = {}
        self._last_version = 0

    async def get(self, key: DocKey) -> Document | None:
        """Return a copy of the document, or None."""
        document = self._stored(key)
        return None if document is None else _copy(document)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Apply all writes or none."""
        check_writes(writes)
        staged = [self._staged(write) for write in writes]
        versions = []
        for write, fields in zip(writes, staged, strict=True):
            self._last_version += 1
            version = Version(str(self._last_version))
            versions.append(version)
            collection = self._collections.setdefault(write.key.collection, {})
            if fields is None:
                collection.pop(write.key.id, None)
            else:
                collection[write.key.id] = Document(key=write.key, fields=fields, version=version)
        return versions

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        """Return copies of up to `limit` matching documents."""
        holds = condition(where)
        found = (document for document in self._documents_of(collection) if holds(document.fields))
        return [_copy(document) for document in islice(found, limit)]

    async def ping(self) -> None:
        """Memory always answers."""

    async def close(self) -> None:
        """Keep everything: there is nothing to free."""

    def _stored(self, key: DocKey) -> Document | None:
        return self._collections.get(key.collection, {}).get(key.id)

    def _documents_of(self, collection: str) -> list[Document]:
        return list(self._collections.get(collection, {}).values())

    def _staged(self, write: Write) -> Fields | None:
        """Check one write's precondition and return the fields the document will have; None if it will be gone."""
        stored = self._stored(write.key)
        if isinstance(write, Create) and stored is not None:
            raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} exists already")
        if isinstance(write, Update) and stored is None:
            raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} does not exist")
        if isinstance(write, Update | Delete) and write.if_version is not None:
            at = None if stored is None else stored.version
            if at != write.if_version:
                raise PreconditionFailedError(
                    f"{write.key.collection}/{write.key.id} is at version {at}, not {write.if_version}"
                )
        if isinstance(write, Delete):
            return None
        fields = checked_copy(write.fields)
        return {**stored.fields, **fields} if isinstance(write, Update) and stored is not None else fields


def _copy(document: Document) -> Document:
    return Document(key=document.key, fields=checked_copy(document.fields), version=document.version)
