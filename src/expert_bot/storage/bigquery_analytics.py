"""Analytics in BigQuery, through Google's own client.

A load is one MERGE (see `bigquery_statements`): a worker that dies leaves all of it or nothing, and the same load again
adds nothing. Logs are streamed: a MERGE for every batch would read the log each time and queue behind those of other
workers. A repeated append may leave a row twice, so readers take each `row_id` once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve, Ints, day_of
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import HourlyReading
from expert_bot.energy.usage import MonthUsage
from expert_bot.ports_analytics import LogRow, Row, StoreReport
from expert_bot.storage import bigquery_statements as sql
from expert_bot.storage.analytics_columns import (
    Columns,
    curve_of,
    day_range,
    month_usage,
    price_columns,
    reading_columns,
)
from expert_bot.storage.analytics_rows import row_of, texts_by_kind
from expert_bot.storage.analytics_tables import LOGS
from expert_bot.storage.bigquery_jobs import BigqueryJobs, Changes, Limits, Parameter
from expert_bot.storage.bigquery_tables import bigquery_tables

_ROWS_A_REQUEST: Final = 500
_DAY: Final = timedelta(days=1)
_NOTHING: Final = Changes(inserted=0, updated=0)


class BigqueryAnalytics:
    """The Analytics port over one dataset. `pseudonym` turns a user id into what stands in the tables."""

    def __init__(
        self,
        *,
        project: str,
        dataset: str,
        pseudonym: Callable[[str], str],
        location: str | None = None,
        emulator_host: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Take the dataset's address. Raises google.auth DefaultCredentialsError."""
        self._dataset = f"{project}.{dataset}"
        self._pseudonym = pseudonym
        self._jobs = BigqueryJobs(
            project=project, location=location, emulator_host=emulator_host, limits=limits or Limits()
        )
        self._loading = (
            asyncio.Lock()
        )  # statements that change one table queue up anyway, and refuse a long queue

    async def ensure_tables(self) -> None:
        """Create the dataset and its tables where they are missing. Raises StoreUnavailableError."""
        await self._jobs.create(self._dataset, bigquery_tables(self._dataset))

    async def store_readings(
        self, user_id: str, readings: Sequence[HourlyReading], *, as_of: datetime
    ) -> StoreReport:
        """Merge hours in one statement; an hour counts as changed if any of its columns differs.

        Raises ValueError (see `reading_columns`; a naive `as_of`) or StoreUnavailableError.
        """
        if as_of.tzinfo is None:
            raise ValueError("as_of must be aware")
        if not readings:
            return _report(0, _NOTHING)
        columns = await asyncio.to_thread(reading_columns, readings)
        parameters = {
            "user_id": self._pseudonym(user_id),
            "as_of": as_of,
            **await asyncio.to_thread(_arrived, columns),
        }
        async with self._loading:
            changes = await self._change("store_readings", sql.STORE_HOURS, parameters)
            if changes.inserted + changes.updated < len(readings):
                await self._change("confirm_readings", sql.CONFIRM_HOURS, parameters)
        return _report(len(readings), changes)

    async def hourly_curve(
        self,
        user_id: str,
        *,
        first: date | None = None,
        until: date | None = None,
        zone: TariffZone = TariffZone.PENINSULA,
    ) -> Curve:
        """Return the hours of the local days from `first` to `until` (exclusive). Raises StoreUnavailableError."""
        earliest, latest = day_range(first, until)
        parameters: dict[str, Parameter] = {
            "user_id": self._pseudonym(user_id),
            "first": earliest,
            "last": latest,
        }
        columns = await self._columns("hourly_curve", sql.CURVE, parameters, width=4)
        return curve_of(columns, zone).between(first, until)

    async def monthly_usage(self, user_id: str) -> list[MonthUsage]:
        """Return one row per local calendar month with data, oldest first. Raises StoreUnavailableError."""
        rows = await self._rows("monthly_usage", sql.MONTHS, {"user_id": self._pseudonym(user_id)})
        return [month_usage(row) for row in rows]

    async def store_prices(self, prices: HourlyPrices) -> StoreReport:
        """Merge hourly prices in one statement. Raises ValueError or StoreUnavailableError."""
        columns = await asyncio.to_thread(price_columns, prices)
        if not len(prices.start_hours):
            return _report(0, _NOTHING)
        parameters = {"zone": prices.zone.value, **_arrived(columns)}
        async with self._loading:
            changes = await self._change("store_prices", sql.STORE_PRICES, parameters)
        return _report(len(prices.start_hours), changes)

    async def hourly_prices(self, zone: TariffZone, *, first: date, until: date) -> HourlyPrices:
        """Return the prices of the local days from `first` to `until` (exclusive). Raises StoreUnavailableError."""
        parameters = {"zone": zone.value, "first": first, "until": until}
        start_hours, price_neur = await self._columns("hourly_prices", sql.PRICES, parameters, width=2)
        return HourlyPrices(zone=zone, start_hours=start_hours, price_neur=price_neur)

    async def append(self, rows: Sequence[LogRow]) -> None:
        """Stream rows to their logs. Raises ValueError or StoreUnavailableError."""
        for kind, texts in texts_by_kind(rows, self._pseudonym).items():
            ids = list(texts)
            for start in range(0, len(ids), _ROWS_A_REQUEST):
                request = {row_id: texts[row_id] for row_id in ids[start : start + _ROWS_A_REQUEST]}
                await self._jobs.insert(f"{self._dataset}.{LOGS[kind].name}", request)

    async def recent_rows(self, kind: type[Row], *, since: datetime, limit: int) -> list[Row]:
        """Return the newest rows of one log. Raises ValueError or StoreUnavailableError."""
        if since.tzinfo is None:
            raise ValueError("since must be aware")
        rows = await self._rows("recent_rows", sql.recent(LOGS[kind]), {"since": since, "most": limit})
        return [row_of(kind, row) for row in rows]

    async def ping(self) -> None:
        """Run the smallest query. Raises StoreUnavailableError."""
        await self._rows("ping", "SELECT 1", {})

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        await self._jobs.close()

    async def _change(self, operation: str, statement: str, parameters: Mapping[str, Parameter]) -> Changes:
        return await self._jobs.change(operation, self._addressed(statement), parameters)

    async def _rows(
        self, operation: str, statement: str, parameters: Mapping[str, Parameter]
    ) -> list[tuple[object, ...]]:
        return await self._jobs.rows(operation, self._addressed(statement), parameters)

    async def _columns(
        self, operation: str, statement: str, parameters: Mapping[str, Parameter], *, width: int
    ) -> list[Ints]:
        rows = await self._rows(operation, statement, parameters)
        return list(np.array(rows, dtype=np.int64).reshape(len(rows), width).T.copy())

    def _addressed(self, statement: str) -> str:
        return statement.replace("{dataset}", self._dataset)


def _arrived(columns: Columns) -> dict[str, Parameter]:
    """Return the hours as a parameter, and the partitions that they can be in: labels move by a day at most."""
    days = columns["local_day"]
    return {
        "hours": sql.packed(columns),
        "first": day_of(int(days.min())) - _DAY,
        "last": day_of(int(days.max())) + _DAY,
    }


def _report(stored: int, changes: Changes) -> StoreReport:
    return StoreReport(
        inserted=changes.inserted,
        changed=changes.updated,
        unchanged=stored - changes.inserted - changes.updated,
    )
