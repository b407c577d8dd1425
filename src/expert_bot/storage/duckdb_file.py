"""A DuckDB file that several processes take turns with.

DuckDB lets one process at a time have a file open, so each operation opens it, works, and closes it again. Instants
are stored as UTC timestamps without zone: reading zoned ones back would need another library.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import duckdb

from expert_bot.errors import StoreUnavailableError

T = TypeVar("T")

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",  # nothing is ever downloaded
    "autoload_known_extensions": "false",
    "threads": "1",  # one user's hours at a time: more threads only cost start-up
}
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5


class DuckdbFile:
    """One file and the thread that works on it.

    `prepare`: makes the tables, at every opening. `lock_wait_s`: how long to wait while another process has the file.
    """

    def __init__(
        self, path: Path, *, prepare: Callable[[duckdb.DuckDBPyConnection], None], lock_wait_s: float
    ) -> None:
        self._path = path
        self._prepare = prepare
        self._lock_wait_s = lock_wait_s
        self._worker: ThreadPoolExecutor | None = None
        self._closing = threading.Event()

    async def run(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do `work` with the open file, one after the other. Raises StoreUnavailableError for what DuckDB raises."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"duckdb-{self._path.name}")
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._operate, work)

    async def close(self) -> None:
        """Finish what is running, stop waiting for a busy file, free the thread; safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._closing.set()
            await asyncio.to_thread(worker.shutdown)
            self._closing.clear()

    def _operate(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        try:
            with self._connect() as connection:
                connection.execute("SET TimeZone='UTC'")
                self._prepare(connection)
                return work(connection)
        except (duckdb.Error, OSError) as error:
            raise StoreUnavailableError(f"analytics file {self._path}: {error}") from error

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Open the file, waiting with growing pauses while another process has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._lock_wait_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return duckdb.connect(self._path, config=_CONFIG)
            except duckdb.IOException as error:
                if "lock" not in str(error):
                    raise
                if time.monotonic() + pause_s > deadline or self._closing.wait(pause_s):
                    raise StoreUnavailableError(
                        f"analytics file {self._path} is held by another process; waited {self._lock_wait_s:g} s"
                    ) from error
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
