"""The Analytics port: hourly consumption, prices and logs. `tests/contract/test_analytics.py` states the same promises.

Adapters: `storage/duckdb_analytics.py`, `storage/bigquery_analytics.py`, chosen in `adapters/` only. Users stand in every
table as pseudonyms: adapters put a keyed hash in the place of each user id, and callers never see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import HourlyReading
from expert_bot.energy.usage import MonthUsage
from expert_bot.records import record

MAX_DAYS: Final = 3_900
"""Local days that one load may touch: more than ten years. One BigQuery statement changes at most 4,000 partitions."""


@record(kw_only=True)
class StoreReport:
    """What a load changed: `inserted` new hours, `changed` hours whose value differs, `unchanged` the rest."""

    inserted: int
    changed: int
    unchanged: int


@record(kw_only=True)
class UploadedDocumentRow:
    """What became of one uploaded document (`uploaded_documents_log`).

    `layout`: as detected, None if it was not; `size_bytes`: of the file; `rows_read`: rows of the file; `accepted`: hours, `rejected`: rows;
    `inserted`, `changed`: hours; `first_day`, `last_day`: local days of the accepted rows.
    """

    row_id: str
    recorded_at: datetime
    document_id: str
    user_id: str
    status: str
    layout: str | None
    size_bytes: int
    rows_read: int
    accepted: int
    rejected: int
    inserted: int
    changed: int
    first_day: date | None
    last_day: date | None


@record(kw_only=True)
class AsyncTaskRow:
    """One state that a task came into (`async_tasks`)."""

    row_id: str
    recorded_at: datetime
    task_id: str
    user_id: str
    kind: str
    status: str
    correlation_id: str | None


@record(kw_only=True)
class WorkerMetricsRow:
    """One figure of one worker at one time (`worker_metrics`)."""

    row_id: str
    recorded_at: datetime
    worker: str
    name: str
    value: Decimal
    unit: str


@record(kw_only=True)
class UserAnalyticsRow:
    """One thing that a user did or got (`user_analytics`)."""

    row_id: str
    recorded_at: datetime
    user_id: str
    name: str
    value: Decimal


LogRow = UploadedDocumentRow | AsyncTaskRow | WorkerMetricsRow | UserAnalyticsRow
"""A row of a log. `row_id` (1..128 characters) names what happened, so that telling it again adds nothing.

`recorded_at`: aware. Decimals: below 1e18, rounded to 9 decimals. Who repeats a row may give it another `recorded_at`: one of the
repetitions counts.
"""

Row = TypeVar("Row", UploadedDocumentRow, AsyncTaskRow, WorkerMetricsRow, UserAnalyticsRow)


class Analytics(Protocol):
    """Hourly consumption by user, hourly prices, logs. Named operations only: no SQL crosses this port."""

    async def store_readings(
        self, user_id: str, readings: Sequence[HourlyReading], *, as_of: datetime
    ) -> StoreReport:
        """Merge hours by (user_id, starts_at), all or none; storing the same readings again changes nothing.

        `as_of` (aware): when the readings were handed in. A reading replaces one stored with an equal or earlier
        `as_of`, never one with a later: whatever comes late or twice, the newest upload stands. `readings`: each hour
        once, at most MAX_READINGS. Raises ValueError (readings that break this) or StoreUnavailableError.
        """
        ...

    async def hourly_curve(
        self,
        user_id: str,
        *,
        first: date | None = None,
        until: date | None = None,
        zone: TariffZone = TariffZone.PENINSULA,
    ) -> Curve:
        """Return the hours of the local days of `zone` from `first` to `until` (exclusive; None: open), exactly.

        Empty for an unknown user. Raises StoreUnavailableError.
        """
        ...

    async def monthly_usage(self, user_id: str) -> list[MonthUsage]:
        """Return one row per local calendar month with data, oldest first; [] for an unknown user. Exact kWh.

        Raises StoreUnavailableError.
        """
        ...

    async def store_prices(self, prices: HourlyPrices) -> StoreReport:
        """Merge hourly prices by (zone, hour), all or none; a later call replaces. At most MAX_DAYS days.

        Raises ValueError or StoreUnavailableError.
        """
        ...

    async def hourly_prices(self, zone: TariffZone, *, first: date, until: date) -> HourlyPrices:
        """Return the prices of the local days of `zone` from `first` to `until` (exclusive), exactly; gaps stay gaps.

        Raises StoreUnavailableError.
        """
        ...

    async def append(self, rows: Sequence[LogRow]) -> None:
        """Add rows to their logs; a row whose `row_id` is there already adds nothing.

        After an error some of them may be there: append all of them again. Raises ValueError (what the rows must not
        be) or StoreUnavailableError.
        """
        ...

    async def recent_rows(self, kind: type[Row], *, since: datetime, limit: int) -> list[Row]:
        """Return the rows of one log recorded at `since` or later, each `row_id` once, newest first.

        Their `user_id` is a pseudonym. Raises StoreUnavailableError.
        """
        ...

    async def ping(self) -> None:
        """Return if the store answers; raise StoreUnavailableError if not."""
        ...

    async def close(self) -> None:
        """Free connections; safe to call twice."""
        ...
