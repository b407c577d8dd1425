"""Analytics in a DuckDB file, for one machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

import duckdb

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import HourlyReading
from expert_bot.energy.usage import MonthUsage
from expert_bot.ports_analytics import LogRow, Row, StoreReport
from expert_bot.storage import duckdb_statements as sql
from expert_bot.storage.analytics_columns import (
    Columns,
    curve_of,
    day_range,
    month_usage,
    price_columns,
    reading_columns,
)
from expert_bot.storage.analytics_rows import row_of, texts_by_kind, utc_text
from expert_bot.storage.analytics_tables import LOGS
from expert_bot.storage.duckdb_file import DuckdbFile
from expert_bot.storage.duckdb_tables import Preparation

_NOTHING: Final = StoreReport(inserted=0, changed=0, unchanged=0)


class DuckdbAnalytics:
    """The Analytics port over one file.

    `pseudonym` turns a user id into what stands in the tables. `lock_wait_s`: how long to wait while another process
    has the file.
    """

    def __init__(self, path: Path, *, pseudonym: Callable[[str], str], lock_wait_s: float = 10.0) -> None:
        self._pseudonym = pseudonym
        self._file = DuckdbFile(path, prepare=Preparation(pseudonym), lock_wait_s=lock_wait_s)

    async def store_readings(
        self, user_id: str, readings: Sequence[HourlyReading], *, as_of: datetime
    ) -> StoreReport:
        """Merge hours in one transaction; an hour counts as changed if any of its columns differs.

        Raises ValueError (see `reading_columns`; a naive `as_of`) or StoreUnavailableError.
        """
        if not readings:
            return _NOTHING
        parameters = {"user_id": self._pseudonym(user_id), "as_of": utc_text(as_of)}
        columns = await asyncio.to_thread(reading_columns, readings)

        def merge(connection: duckdb.DuckDBPyConnection) -> StoreReport:
            connection.begin()
            _stage(connection, sql.NEWS, columns, parameters)
            inserted, changed, news = connection.execute(sql.COUNT_NEWS).fetchone() or (0, 0, 0)
            if news:
                connection.execute(sql.STORE_NEWS)
            connection.commit()
            return _report(len(readings), inserted, changed)

        return await self._file.run(merge)

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
        parameters = {"user_id": self._pseudonym(user_id), "first": earliest, "last": latest}
        columns = await self._file.run(
            lambda connection: connection.execute(sql.CURVE, parameters).fetchnumpy()
        )
        return curve_of(columns.values(), zone).between(first, until)

    async def monthly_usage(self, user_id: str) -> list[MonthUsage]:
        """Return one row per local calendar month with data, oldest first. Raises StoreUnavailableError."""
        parameters = {"user_id": self._pseudonym(user_id)}
        rows = await self._file.run(lambda connection: connection.execute(sql.MONTHS, parameters).fetchall())
        return [month_usage(row) for row in rows]

    async def store_prices(self, prices: HourlyPrices) -> StoreReport:
        """Merge hourly prices in one transaction. Raises ValueError or StoreUnavailableError."""
        columns = await asyncio.to_thread(price_columns, prices)

        def merge(connection: duckdb.DuckDBPyConnection) -> StoreReport:
            connection.begin()
            _stage(connection, sql.PRICE_NEWS, columns, {"zone": prices.zone.value})
            inserted, changed = connection.execute(sql.COUNT_PRICE_NEWS).fetchone() or (0, 0)
            if inserted or changed:
                connection.execute(sql.STORE_PRICE_NEWS)
            connection.commit()
            return _report(len(prices.start_hours), inserted, changed)

        return await self._file.run(merge)

    async def hourly_prices(self, zone: TariffZone, *, first: date, until: date) -> HourlyPrices:
        """Return the prices of the local days from `first` to `until` (exclusive). Raises StoreUnavailableError."""
        parameters = {"zone": zone.value, "first": first, "until": until}
        columns = await self._file.run(
            lambda connection: connection.execute(sql.PRICES, parameters).fetchnumpy()
        )
        return HourlyPrices(zone=zone, start_hours=columns["start_hour"], price_neur=columns["price_neur"])

    async def append(self, rows: Sequence[LogRow]) -> None:
        """Add rows to their logs in one transaction. Raises ValueError or StoreUnavailableError."""
        if not rows:
            return
        batches = texts_by_kind(rows, self._pseudonym)

        def insert(connection: duckdb.DuckDBPyConnection) -> None:
            connection.begin()
            for kind, texts in batches.items():
                table = LOGS[kind]
                columns = {each.name: [row[each.name] for row in texts.values()] for each in table.columns}
                connection.execute(sql.insert_missing(table), columns)
            connection.commit()

        await self._file.run(insert)

    async def recent_rows(self, kind: type[Row], *, since: datetime, limit: int) -> list[Row]:
        """Return the newest rows of one log. Raises StoreUnavailableError."""
        statement = sql.recent(LOGS[kind])
        parameters = {"since": utc_text(since), "limit": limit}
        rows = await self._file.run(lambda connection: connection.execute(statement, parameters).fetchall())
        return [row_of(kind, row) for row in rows]

    async def ping(self) -> None:
        """Open the file. Raises StoreUnavailableError."""
        await self._file.run(lambda connection: connection.execute("SELECT 1").fetchone())

    async def close(self) -> None:
        """Finish what is running, stop waiting for a busy file, free the thread; safe to call twice."""
        await self._file.close()


def _stage(
    connection: duckdb.DuckDBPyConnection, statement: str, columns: Columns, parameters: dict[str, str]
) -> None:
    """Run a statement that reads the columns as the view `arrived`: no row of theirs becomes a Python object."""
    connection.register("arrived", columns)
    connection.execute(statement, parameters)
    connection.unregister("arrived")


def _report(stored: int, inserted: int, changed: int) -> StoreReport:
    return StoreReport(inserted=inserted, changed=changed, unchanged=stored - inserted - changed)
