"""One SQLite file that several processes share: one connection, one worker thread, one transaction per call."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

FAILURES: Final = (sqlite3.Error, OSError)
"""What a call may raise when the file cannot be used; adapters turn these into their port's error."""

_WAL_RETRY_PAUSE_S: Final = 0.02


class SqliteFile:
    """A database file, opened at first use and opened again if it is used after `close`.

    A confirmed write survives the death of the process at any moment (write-ahead log); with `synchronous=NORMAL` a
    power cut may lose the latest writes, never part of one. `busy_timeout_s`: how long a call waits for another
    process's transaction.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 10.0) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._worker: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()  # only contended when the file is used again while it is being closed
        self._connection: sqlite3.Connection | None = None
        self._schemas: list[Sequence[str]] = []
        self._applied = 0

    def add_schema(self, statements: Sequence[str]) -> None:
        """Have idempotent DDL run before the next call; each adapter brings its own tables."""
        if statements not in self._schemas:
            self._schemas.append(statements)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        """Run `work` in one transaction on the worker thread; an exception rolls all of it back.

        Raises what `work` raises, and any of `FAILURES`. If the caller is cancelled the transaction still completes.
        """
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{self.path.name}")
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._transact, work, write)

    async def close(self) -> None:
        """Finish what is queued, then free the connection and the thread; safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.get_running_loop().run_in_executor(worker, self._disconnect)
            worker.shutdown(wait=False)

    def _transact(self, work: Callable[[sqlite3.Connection], T], write: bool) -> T:  # noqa: FBT001  # run_in_executor passes by position
        with self._lock:
            connection = self._connection or self._connect()
            if self._applied < len(self._schemas):
                self._apply_schemas(connection)
            return _in_transaction(connection, work, "BEGIN IMMEDIATE" if write else "BEGIN")

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._switch_to_wal(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise
        self._connection, self._applied = connection, 0
        return connection

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Turn the write-ahead log on; SQLite does not wait by itself when two processes do this at once."""
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_WAL_RETRY_PAUSE_S)

    def _apply_schemas(self, connection: sqlite3.Connection) -> None:
        pending = self._schemas[self._applied :]

        def create(inside: sqlite3.Connection) -> None:
            for statements in pending:
                for statement in statements:
                    inside.execute(statement)

        _in_transaction(connection, create, "BEGIN IMMEDIATE")
        self._applied += len(pending)

    def _disconnect(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result
