"""Documents in a SQLite file, for one machine; any number of its processes may share the file."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar

from expert_bot.errors import PreconditionFailedError, StoreUnavailableError
from expert_bot.ports import (
    Create,
    Delete,
    DocKey,
    Document,
    Fields,
    Put,
    Update,
    Value,
    Version,
    Where,
    Write,
)
from expert_bot.storage.document_rules import check_writes, checked_copy, condition
from expert_bot.storage.sqlite_file import FAILURES, SqliteFile

T = TypeVar("T")

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS documents (
        collection TEXT NOT NULL, id TEXT NOT NULL, fields TEXT NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (collection, id))""",
    "CREATE TABLE IF NOT EXISTS document_versions (last INTEGER NOT NULL)",
    "INSERT INTO document_versions SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM document_versions)",
)
_TAG: Final = "$"
_BYTES: Final = "$bytes"
_TIME: Final = "$time"
_MAP: Final = "$map"


class SqliteDocuments:
    """The Documents port over one table. Versions grow over the whole file, so a recreated document has a new one."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        file.add_schema(_SCHEMA)

    async def get(self, key: DocKey) -> Document | None:
        """Return the document, or None. Raises StoreUnavailableError."""

        def read(connection: sqlite3.Connection) -> tuple[str, int] | None:
            return _row(connection, key)

        row = await self._run(read)
        return None if row is None else _document(key, *row)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Apply all writes or none. Raises PreconditionFailedError or StoreUnavailableError."""
        check_writes(writes)
        if not writes:
            return []
        prepared = [(write, None if isinstance(write, Delete) else _tagged(write.fields)) for write in writes]

        def apply(connection: sqlite3.Connection) -> list[Version]:
            [last] = connection.execute(
                "UPDATE document_versions SET last = last + ? RETURNING last", (len(prepared),)
            ).fetchone()
            first = last - len(prepared) + 1
            for version, (write, fields) in enumerate(prepared, start=first):
                _apply(connection, write, fields, version)
            return [Version(str(version)) for version in range(first, last + 1)]

        return await self._run(apply, write=True)

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        """Return up to `limit` matching documents by reading the collection. Raises StoreUnavailableError."""
        holds = condition(where)

        def scan(connection: sqlite3.Connection) -> list[Document]:
            found = (document for document in _scan(connection, collection) if holds(document.fields))
            return list(islice(found, limit))

        return await self._run(scan)

    async def ping(self) -> None:
        """Read one row. Raises StoreUnavailableError."""
        await self._run(
            lambda connection: connection.execute("SELECT last FROM document_versions").fetchone()
        )

    async def close(self) -> None:
        """Close the file; safe to call twice."""
        await self._file.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        try:
            return await self._file.run(work, write=write)
        except FAILURES as error:
            raise StoreUnavailableError(f"documents file {self._file.path}: {error}") from error


def _row(connection: sqlite3.Connection, key: DocKey) -> tuple[str, int] | None:
    row: tuple[str, int] | None = connection.execute(
        "SELECT fields, version FROM documents WHERE collection = ? AND id = ?", (key.collection, key.id)
    ).fetchone()
    return row


def _scan(connection: sqlite3.Connection, collection: str) -> Iterator[Document]:
    rows = connection.execute("SELECT id, fields, version FROM documents WHERE collection = ?", (collection,))
    for document_id, fields, version in rows:
        yield _document(DocKey(collection, document_id), fields, version)


def _apply(connection: sqlite3.Connection, write: Write, fields: dict[str, Any] | None, version: int) -> None:
    """Check one write's precondition and write it. Raises PreconditionFailedError, which rolls back the commit."""
    stored = _row(connection, write.key)
    match write:
        case Create() if stored is not None:
            raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} exists already")
        case Update() if stored is None:
            raise PreconditionFailedError(f"{write.key.collection}/{write.key.id} does not exist")
        case Update(if_version=str(expected)) | Delete(if_version=str(expected)):
            at = None if stored is None else str(stored[1])
            if at != expected:
                raise PreconditionFailedError(
                    f"{write.key.collection}/{write.key.id} is at version {at}, not {expected}"
                )
        case Create() | Put() | Update() | Delete():
            pass
    if fields is None:
        connection.execute(
            "DELETE FROM documents WHERE collection = ? AND id = ?", (write.key.collection, write.key.id)
        )
        return
    if isinstance(write, Update) and stored is not None:
        fields = {**json.loads(stored[0]), **fields}
    connection.execute(
        "INSERT OR REPLACE INTO documents (collection, id, fields, version) VALUES (?, ?, ?, ?)",
        (write.key.collection, write.key.id, json.dumps(fields, separators=(",", ":")), version),
    )


def _document(key: DocKey, fields: str, version: int) -> Document:
    plain: Fields = {name: _plain(value) for name, value in json.loads(fields).items()}
    return Document(key=key, fields=plain, version=Version(str(version)))


def _tagged(fields: Fields) -> dict[str, Any]:
    return {name: _tag(value) for name, value in checked_copy(fields).items()}


def _tag(value: Value) -> Any:  # noqa: ANN401  # what the JSON module takes
    """Express a checked value in JSON: what JSON does not have becomes a map with one `$` key."""
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    if isinstance(value, list):
        return [_tag(item) for item in value]
    if isinstance(value, dict):
        tagged = {name: _tag(item) for name, item in value.items()}
        return {_MAP: tagged} if any(name.startswith(_TAG) for name in value) else tagged
    return value


def _plain(value: Any) -> Value:  # noqa: ANN401  # what the JSON module yields
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]  # json is untyped; it yields scalars here
    match value:
        case {"$bytes": str(text)}:
            return base64.b64decode(text)
        case {"$time": str(text)}:
            return datetime.fromisoformat(text)
        case {"$map": dict(inner)}:
            value = inner
    return {name: _plain(item) for name, item in value.items()}
