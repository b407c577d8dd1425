"""What `ports.Analytics` promises, over every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.energy.usage import MonthUsage
from expert_bot.ports import Analytics, StoreReport

START = datetime(2023, 1, 1, tzinfo=UTC)


def reading(hour: int, energy_kwh: str = "0.5", period: Period = Period.P3) -> HourlyReading:
    """Return a real reading `hour` hours after START, labelled with UTC's calendar."""
    starts_at = START + timedelta(hours=hour)
    return HourlyReading(
        starts_at=starts_at,
        energy_kwh=Decimal(energy_kwh),
        method=ReadingMethod.REAL,
        local_date=starts_at.date(),
        local_hour=starts_at.hour,
        period=period,
    )


async def test_unknown_user_has_no_months(analytics: Analytics, unique: str) -> None:
    """A user without readings gets an empty list."""
    assert await analytics.monthly_usage(unique) == []


async def test_months_come_oldest_first_with_exact_sums(analytics: Analytics, unique: str) -> None:
    """Each local month with data is one row: exact kWh by period, hours, estimated hours, first and last local day."""
    readings = [
        replace(reading(24 * 40, "9"), method=ReadingMethod.ESTIMATED),
        reading(1, "0.1", Period.P1),
        reading(2, "0.2", Period.P1),
        reading(30, "100", Period.P2),
    ]
    await analytics.store_readings(unique, readings)
    expected = [
        MonthUsage(
            month="2023-01",
            energy_kwh={Period.P1: Decimal("0.3"), Period.P2: Decimal(100), Period.P3: Decimal(0)},
            hours=3,
            estimated_hours=0,
            first_day="2023-01-01",
            last_day="2023-01-02",
        ),
        MonthUsage(
            month="2023-02",
            energy_kwh={Period.P1: Decimal(0), Period.P2: Decimal(0), Period.P3: Decimal(9)},
            hours=1,
            estimated_hours=1,
            first_day="2023-02-10",
            last_day="2023-02-10",
        ),
    ]
    assert expected == await analytics.monthly_usage(unique)


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        pytest.param("47.546", ["47.546"], id="no-trailing-zeros"),
        pytest.param("50", ["49.5", "0.5"], id="whole-number"),
        pytest.param("0", ["0", "0.000"], id="zero"),
        pytest.param("0.000000001", ["1E-9"], id="smallest"),
        pytest.param("1000", ["1E+3"], id="exponent"),
        pytest.param("12345678901234567890.000000003", ["12345678901234567890.000000001", "2E-9"], id="long"),
        pytest.param("0.3", ["0.1"] * 3, id="not-binary"),
    ],
)
async def test_energy_is_exact(
    expected: str, values: Sequence[str], analytics: Analytics, unique: str
) -> None:
    """Sums are exact decimals, written without the zeros of a column's scale."""
    await analytics.store_readings(unique, [reading(hour, value) for hour, value in enumerate(values)])
    [month] = await analytics.monthly_usage(unique)
    assert month.energy_kwh[Period.P3].as_tuple() == Decimal(expected).as_tuple()


async def test_month_is_the_local_one(analytics: Analytics, unique: str) -> None:
    """An hour belongs to the month of its local date, not of its UTC instant."""
    silvester = replace(
        reading(-1), local_date=date(2023, 1, 1), local_hour=0
    )  # 23:00 UTC on 31 December is midnight in Madrid
    await analytics.store_readings(unique, [silvester])
    [month] = await analytics.monthly_usage(unique)
    assert (month.month, month.first_day) == ("2023-01", "2023-01-01")


async def test_storing_again_changes_nothing(analytics: Analytics, unique: str) -> None:
    """The same readings a second time are all unchanged, and sums stay."""
    readings = [reading(hour, "0.123") for hour in range(48)]
    first = await analytics.store_readings(unique, readings)
    months = await analytics.monthly_usage(unique)
    second = await analytics.store_readings(unique, list(reversed(readings)))
    assert (
        StoreReport(inserted=48, changed=0, unchanged=0),
        StoreReport(inserted=0, changed=0, unchanged=48),
        months,
    ) == (first, second, await analytics.monthly_usage(unique))


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(reading(1, "0.7"), id="value"),
        pytest.param(replace(reading(1), method=ReadingMethod.ESTIMATED), id="method"),
        pytest.param(replace(reading(1), period=Period.P1), id="period"),
    ],
)
async def test_later_reading_replaces_an_earlier_one(
    later: HourlyReading, analytics: Analytics, unique: str
) -> None:
    """A load is a merge: hours that differ are changed, new ones inserted, the others unchanged, exactly counted."""
    await analytics.store_readings(unique, [reading(0), reading(1)])
    report = await analytics.store_readings(unique, [reading(0), later, reading(2)])
    fresh = f"{unique}-fresh"
    await analytics.store_readings(fresh, [reading(0), later, reading(2)])
    assert StoreReport(inserted=1, changed=1, unchanged=1) == report
    assert await analytics.monthly_usage(fresh) == await analytics.monthly_usage(unique)


async def test_users_are_kept_apart(analytics: Analytics, unique: str) -> None:
    """The same hours of two users are different readings, whatever characters their ids have."""
    other = f"{unique}' OR '1'='1"
    await analytics.store_readings(unique, [reading(0, "1")])
    assert StoreReport(inserted=1, changed=0, unchanged=0) == await analytics.store_readings(
        other, [reading(0, "2")]
    )
    [[mine], [theirs]] = [await analytics.monthly_usage(user_id) for user_id in (unique, other)]
    assert (Decimal(1), Decimal(2)) == (mine.total_kwh, theirs.total_kwh)


async def test_no_readings_is_an_empty_load(analytics: Analytics, unique: str) -> None:
    """Storing nothing succeeds and reports nothing."""
    assert StoreReport(inserted=0, changed=0, unchanged=0) == await analytics.store_readings(unique, [])


async def test_concurrent_loads_are_all_stored(analytics: Analytics, unique: str) -> None:
    """Loads at the same time, overlapping ones too, end as if they had come one after the other."""
    reports = await asyncio.gather(
        *(analytics.store_readings(unique, [reading(n), reading(n + 1)]) for n in range(8))
    )
    [month] = await analytics.monthly_usage(unique)
    assert (sum(r.inserted for r in reports), sum(r.unchanged for r in reports), month.hours) == (9, 7, 9)


async def test_close_twice_is_safe(analytics: Analytics) -> None:
    """A store that answers a ping can be closed more than once."""
    await analytics.ping()
    await analytics.close()
    await analytics.close()
