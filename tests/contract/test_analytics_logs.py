"""What `ports_analytics.Analytics` promises of prices and logs, over every adapter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import hour_number
from expert_bot.energy.prices import HourlyPrices
from expert_bot.ports_analytics import (
    Analytics,
    AsyncTaskRow,
    LogRow,
    StoreReport,
    UploadedDocumentRow,
    UserAnalyticsRow,
    WorkerMetricsRow,
)
from tests.contract.conftest import PSEUDONYM

NOW = datetime(2024, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
DAY = date(2023, 3, 26)


def prices(zone: TariffZone, first: datetime, *price_neur: int) -> HourlyPrices:
    """Return prices of hours that follow one another."""
    start = hour_number(first)
    return HourlyPrices(
        zone=zone,
        start_hours=np.arange(start, start + len(price_neur), dtype=np.int64),
        price_neur=np.array(price_neur, dtype=np.int64),
    )


async def stored_prices(analytics: Analytics, zone: TariffZone, first: date, until: date) -> dict[int, int]:
    """Return the prices of some days by hour."""
    found = await analytics.hourly_prices(zone, first=first, until=until)
    assert zone is found.zone
    return dict(zip(found.start_hours.tolist(), found.price_neur.tolist(), strict=True))


async def test_prices_come_back_by_local_day(analytics: Analytics) -> None:
    """The day that the clock goes forward has 23 prices, exactly as they were stored; the next day's are not in it."""
    midnight = datetime(2023, 3, 25, 23, tzinfo=UTC)
    values = (123456789, -1, 0, 999999999999, *range(100, 120))
    report = await analytics.store_prices(prices(TariffZone.CEUTA, midnight, *values))
    found = await stored_prices(analytics, TariffZone.CEUTA, DAY, DAY + timedelta(days=1))
    assert StoreReport(inserted=24, changed=0, unchanged=0) == report
    assert dict(enumerate(values[:23], hour_number(midnight))) == found


async def test_a_later_sync_replaces_prices(analytics: Analytics) -> None:
    """Hours whose price differs are changed, new ones inserted, the rest unchanged; gaps stay gaps."""
    start = datetime(2022, 5, 1, 10, tzinfo=UTC)
    await analytics.store_prices(prices(TariffZone.MELILLA, start, 1, 2))
    report = await analytics.store_prices(prices(TariffZone.MELILLA, start + timedelta(hours=1), 3, 4))
    same = await analytics.store_prices(prices(TariffZone.MELILLA, start + timedelta(hours=1), 3, 4))
    found = await stored_prices(analytics, TariffZone.MELILLA, date(2022, 4, 30), date(2022, 5, 3))
    assert StoreReport(inserted=1, changed=1, unchanged=0) == report
    assert StoreReport(inserted=0, changed=0, unchanged=2) == same
    assert {hour_number(start) + n: price for n, price in enumerate((1, 3, 4))} == found


async def test_zones_have_their_own_prices(analytics: Analytics) -> None:
    """The same hour in two zones has two prices, and lies in the local day of each."""
    hour = datetime(2021, 12, 31, 23, tzinfo=UTC)
    for zone, price in ((TariffZone.BALEARES, 1), (TariffZone.CANARIAS, 2)):
        await analytics.store_prices(prices(zone, hour, price))
    new_year = date(2022, 1, 1)
    next_day = new_year + timedelta(days=1)
    assert await stored_prices(analytics, TariffZone.BALEARES, new_year, next_day) == {hour_number(hour): 1}
    assert await stored_prices(analytics, TariffZone.CANARIAS, new_year, next_day) == {}


async def test_no_prices_is_an_empty_load(analytics: Analytics) -> None:
    """Storing nothing succeeds and reports nothing; prices that break the rules are refused."""
    report = await analytics.store_prices(prices(TariffZone.PENINSULA, NOW))
    assert StoreReport(inserted=0, changed=0, unchanged=0) == report
    twice = prices(TariffZone.PENINSULA, NOW, 1, 2)
    with pytest.raises(ValueError, match="each hour once"):
        await analytics.store_prices(replace(twice, start_hours=np.zeros(2, dtype=np.int64)))


def rows_of(unique: str) -> tuple[LogRow, ...]:
    """Return a row of each log."""
    return (
        UploadedDocumentRow(
            row_id=f"{unique}-d",
            recorded_at=NOW,
            document_id="doc-1",
            user_id="user-ana",
            status="processed",
            layout="datadis",
            size_bytes=2**40,
            rows_read=25,
            accepted=24,
            rejected=1,
            inserted=20,
            changed=4,
            first_day=DAY,
            last_day=None,
        ),
        AsyncTaskRow(
            row_id=f"{unique}-t",
            recorded_at=NOW,
            task_id="task '1'; --",
            user_id="user-ana",
            kind="forecast",
            status="completed",
            correlation_id=None,
        ),
        WorkerMetricsRow(
            row_id=f"{unique}-w",
            recorded_at=NOW,
            worker="w1",
            name=f"latency{unique}",
            value=Decimal("-12345678901.123456789"),
            unit="ms",
        ),
        UserAnalyticsRow(
            row_id=f"{unique}-u", recorded_at=NOW, user_id="user-ana", name="asked ñ", value=Decimal(3)
        ),
    )


async def test_rows_of_every_log_come_back(analytics: Analytics, unique: str) -> None:
    """One append takes rows of several logs; values come back exactly, users as their pseudonyms."""
    rows = rows_of(unique)
    await analytics.append(rows)
    for row in rows:
        [found] = [
            each
            for each in await analytics.recent_rows(type(row), since=NOW, limit=1000)
            if each.row_id == row.row_id
        ]
        expected = row if isinstance(row, WorkerMetricsRow) else replace(row, user_id=PSEUDONYM(row.user_id))
        assert expected == found


async def test_a_repeated_row_is_one_row(analytics: Analytics, unique: str) -> None:
    """However often a row is appended, in one call or in several, it counts once, as it was the first time."""
    row = rows_of(unique)[3]
    later = replace(row, recorded_at=NOW + timedelta(minutes=1))
    await analytics.append([row, row])
    await analytics.append([later, row])
    found = await analytics.recent_rows(UserAnalyticsRow, since=NOW, limit=1000)
    assert [each.recorded_at for each in found if each.row_id == row.row_id] == [NOW]


async def test_recent_rows_are_the_newest(analytics: Analytics, unique: str) -> None:
    """Newest first, at most as many as asked for, none from before `since`."""
    base = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=int(unique[1:8], 16))
    rows = [
        replace(rows_of(f"{unique}{n}")[2], recorded_at=base + timedelta(microseconds=n)) for n in range(4)
    ]
    await analytics.append(rows)
    since = base + timedelta(microseconds=1)
    found = await analytics.recent_rows(WorkerMetricsRow, since=since, limit=2)
    everything = await analytics.recent_rows(WorkerMetricsRow, since=since, limit=1000)
    assert [rows[3].row_id, rows[2].row_id] == [row.row_id for row in found]
    assert [row.row_id for row in reversed(rows[1:])] == [
        row.row_id for row in everything if row.row_id.startswith(unique)
    ]


async def test_rows_that_break_the_rules_are_refused(analytics: Analytics, unique: str) -> None:
    """A row without id, a time without zone, a value beyond bounds: an error, and no row of the call is there."""
    good = rows_of(unique)[3]
    assert isinstance(good, UserAnalyticsRow)
    for bad in (
        replace(good, row_id=""),
        replace(good, row_id="x" * 129),
        replace(good, recorded_at=NOW.replace(tzinfo=None)),
        replace(good, value=Decimal("1e18")),
        replace(good, value=Decimal("nan")),
    ):
        with pytest.raises(ValueError, match=r"row_id|aware|number below 1e18"):
            await analytics.append([good, bad])
    with pytest.raises(ValueError, match="aware"):
        await analytics.recent_rows(UserAnalyticsRow, since=NOW.replace(tzinfo=None), limit=1)
    await analytics.append([])
    found = await analytics.recent_rows(UserAnalyticsRow, since=NOW, limit=1000)
    assert [row for row in found if row.row_id == good.row_id] == []
