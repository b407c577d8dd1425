"""Google's BigQuery client, off the event loop, within time limits, with its many kinds of failure made one."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar

import requests.exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_JOB_RETRY, DEFAULT_RETRY

from expert_bot.errors import StoreUnavailableError

T = TypeVar("T")
Parameter = str | int | date | datetime

_THREADS: Final = 4
_FAILURES: Final = (
    GoogleAPIError,
    GoogleAuthError,
    requests.exceptions.RequestException,
    concurrent.futures.TimeoutError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may take. `job_s`: from its start to its end; `call_s`: one request; `billed_bytes`: what it reads."""

    job_s: float = 60.0
    call_s: float = 20.0
    billed_bytes: int = (
        500 * 1024**3
    )  # judged before clustering cuts it: only a mistake of ours reads so much


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Rows that a statement inserted and updated."""

    inserted: int
    updated: int


class BigqueryJobs:
    """Runs statements. `emulator_host`: "HOST:PORT" of an emulator, without credentials; None for Google's service.

    `location`: where the dataset is; None lets BigQuery find out. Raises google.auth DefaultCredentialsError.
    """

    def __init__(
        self, *, project: str, location: str | None = None, emulator_host: str | None = None, limits: Limits
    ) -> None:
        self._limits = limits
        self._workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="bigquery")
        self._retry = DEFAULT_RETRY.with_timeout(limits.call_s)
        self._job_retry = DEFAULT_JOB_RETRY.with_timeout(limits.job_s)
        emulated: dict[str, Any] = {
            "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google-auth has no types here
            "client_options": ClientOptions(api_endpoint=f"http://{emulator_host}"),
        }
        self._client = bigquery.Client(
            project=project, location=location, **(emulated if emulator_host is not None else {})
        )

    async def rows(
        self, operation: str, statement: str, parameters: Mapping[str, Parameter]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query. `operation` labels the job. Raises StoreUnavailableError."""

        def query() -> list[tuple[Any, ...]]:
            found = self._client.query_and_wait(
                statement,
                job_config=self._config(operation, parameters),
                api_timeout=self._limits.call_s,
                wait_timeout=self._limits.job_s,
                retry=self._retry,
                job_retry=self._job_retry,
            )
            return [row.values() for row in found]

        return await self.call(operation, query)

    async def change(self, operation: str, statement: str, parameters: Mapping[str, Parameter]) -> Changes:
        """Run one statement that changes a table, atomically. Raises StoreUnavailableError: unknown whether it did."""

        def run() -> Changes:
            job = self._client.query(
                statement,
                job_config=self._config(operation, parameters),
                timeout=self._limits.call_s,
                retry=self._retry,
                job_retry=self._job_retry,
            )
            job.result(retry=self._retry, timeout=self._limits.job_s, job_retry=self._job_retry)
            counted = job.dml_stats
            return Changes(inserted=counted.inserted_row_count, updated=counted.updated_row_count)

        return await self.call(operation, run)

    async def insert(self, table: str, rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """Stream rows by their ids into a table, all or none. Raises StoreUnavailableError: unknown whether they are in."""

        def stream() -> Sequence[Mapping[str, Any]]:
            refused: Sequence[Mapping[str, Any]] = self._client.insert_rows_json(
                table,
                list(rows.values()),
                row_ids=list(rows),
                retry=self._retry,
                timeout=self._limits.call_s,
            )
            return refused

        if refused := await self.call("append", stream):
            raise StoreUnavailableError(f"BigQuery append to {table}: {refused[0].get('errors')}")

    async def create(self, dataset: str, tables: Sequence[bigquery.Table]) -> None:
        """Create a dataset and tables where they are missing. Raises StoreUnavailableError."""

        def make() -> None:
            for each, make_one in (
                (dataset, self._client.create_dataset),
                *((table, self._client.create_table) for table in tables),
            ):
                make_one(each, exists_ok=True, retry=self._retry, timeout=self._limits.call_s)

        await self.call("create", make)

    async def call(self, operation: str, work: Callable[[], T]) -> T:
        """Do `work` in a thread. Raises StoreUnavailableError for whatever the client raises."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, work)
        except _FAILURES as error:
            raise StoreUnavailableError(f"BigQuery {operation}: {_first_line(error)}") from error

    async def close(self) -> None:
        """Drop what has not begun and free the connections; what runs ends by its time limit. Safe to call twice."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _config(self, operation: str, parameters: Mapping[str, Parameter]) -> bigquery.QueryJobConfig:
        return bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter(name, _type_of(value), value)
                for name, value in parameters.items()
            ],
            labels={"service": "expert-bot", "operation": operation},
            maximum_bytes_billed=self._limits.billed_bytes,
            job_timeout_ms=int(self._limits.job_s * 1000),
            use_query_cache=False,  # a cached answer costs a lookup that data of this minute never hits
        )


def _type_of(value: Parameter) -> str:
    match value:
        case datetime():
            return "TIMESTAMP"
        case date():
            return "DATE"
        case int():
            return "INT64"
        case str():
            return "STRING"


def _first_line(error: BaseException) -> str:
    """Return what failed without the statement and the parameters that some messages repeat."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
