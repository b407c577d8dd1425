"""What `ports_analytics.Analytics` promises of readings, over every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve, hour_number
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.energy.usage import MonthUsage
from expert_bot.ports_analytics import Analytics, StoreReport

START = datetime(2023, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)


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
    await analytics.store_readings(unique, readings, as_of=NOW)
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
        pytest.param("9000000000.000000003", ["9000000000.000000001", "2E-9"], id="long"),
        pytest.param("0.3", ["0.1"] * 3, id="not-binary"),
    ],
)
async def test_energy_is_exact(
    expected: str, values: Sequence[str], analytics: Analytics, unique: str
) -> None:
    """Sums are exact decimals, written without the zeros of a column's scale."""
    await analytics.store_readings(
        unique, [reading(hour, value) for hour, value in enumerate(values)], as_of=NOW
    )
    [month] = await analytics.monthly_usage(unique)
    assert month.energy_kwh[Period.P3].as_tuple() == Decimal(expected).as_tuple()


async def test_month_is_the_local_one(analytics: Analytics, unique: str) -> None:
    """An hour belongs to the month of its local date, not of its UTC instant."""
    silvester = replace(
        reading(-1), local_date=date(2023, 1, 1), local_hour=0
    )  # 23:00 UTC on 31 December is midnight in Madrid
    await analytics.store_readings(unique, [silvester], as_of=NOW)
    [month] = await analytics.monthly_usage(unique)
    assert (month.month, month.first_day) == ("2023-01", "2023-01-01")


async def test_storing_again_changes_nothing(analytics: Analytics, unique: str) -> None:
    """The same readings a second time are all unchanged, and sums stay."""
    readings = [reading(hour, "0.123") for hour in range(48)]
    first = await analytics.store_readings(unique, readings, as_of=NOW)
    months = await analytics.monthly_usage(unique)
    second = await analytics.store_readings(unique, list(reversed(readings)), as_of=NOW)
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
    await analytics.store_readings(unique, [reading(0), reading(1)], as_of=NOW)
    report = await analytics.store_readings(unique, [reading(0), later, reading(2)], as_of=NOW)
    fresh = f"{unique}-fresh"
    await analytics.store_readings(fresh, [reading(0), later, reading(2)], as_of=NOW)
    assert StoreReport(inserted=1, changed=1, unchanged=1) == report
    assert await analytics.monthly_usage(fresh) == await analytics.monthly_usage(unique)


UNCHANGED = StoreReport(inserted=0, changed=0, unchanged=1)
CHANGED = StoreReport(inserted=0, changed=1, unchanged=0)


@pytest.mark.parametrize(
    ("expected", "kwh", "uploads"),
    [
        pytest.param(CHANGED, "0.2", [("0.1", 1), ("0.2", 2)], id="later"),
        pytest.param(CHANGED, "0.2", [("0.1", 1), ("0.2", 1)], id="at the same time"),
        pytest.param(UNCHANGED, "0.1", [("0.1", 2), ("0.2", 1)], id="earlier"),
        pytest.param(
            UNCHANGED, "0.1", [("0.1", 1), ("0.1", 3), ("0.2", 2)], id="earlier than a confirmation"
        ),
        pytest.param(CHANGED, "0.2", [("0.1", 1), ("0.1", 1), ("0.2", 2)], id="after a redelivery"),
    ],
)
async def test_the_newest_upload_stands(
    expected: StoreReport,
    kwh: str,
    uploads: Sequence[tuple[str, int]],
    analytics: Analytics,
    unique: str,
) -> None:
    """Whatever order uploads arrive in, an hour has the value of the newest, also where that only confirmed one."""
    reports = [
        await analytics.store_readings(unique, [reading(0, value)], as_of=NOW + timedelta(minutes=minute))
        for value, minute in uploads
    ]
    assert expected == reports[-1]
    assert Decimal(kwh) == (await analytics.hourly_curve(unique)).total_kwh()


def columns_of(curve: Curve) -> tuple[list[int], list[int], list[bool], list[int] | None]:
    """Return what a curve holds beyond its labels."""
    surplus = None if curve.surplus_nkwh is None else curve.surplus_nkwh.tolist()
    return curve.start_hours.tolist(), curve.energy_nkwh.tolist(), curve.estimated.tolist(), surplus


async def test_a_curve_comes_back_as_it_was_stored(analytics: Analytics, unique: str) -> None:
    """Hours in order of time, exact to the nano-kWh, with what the distributor estimated."""
    readings = [
        reading(5, "9223372036.854775807"),
        replace(reading(1, "0.000000001"), method=ReadingMethod.ESTIMATED),
        reading(0, "0"),
    ]
    await analytics.store_readings(unique, readings, as_of=NOW)
    curve = await analytics.hourly_curve(unique)
    start = hour_number(START)
    assert columns_of(curve) == ([start, start + 1, start + 5], [0, 1, 2**63 - 1], [False, True, False], None)
    assert len(await analytics.hourly_curve(f"{unique}-nobody")) == 0


async def test_what_panels_feed_in_is_kept(analytics: Analytics, unique: str) -> None:
    """Surplus comes back exactly, 0 where an hour does not say; another surplus or generation is another reading."""
    panels = replace(reading(0), surplus_kwh=Decimal("0.123456789"), generation_kwh=Decimal(2))
    await analytics.store_readings(unique, [panels, reading(1)], as_of=NOW)
    curve = await analytics.hourly_curve(unique)
    more = replace(panels, self_consumption_kwh=Decimal("0.1"))
    report = await analytics.store_readings(unique, [more, reading(1)], as_of=NOW)
    assert columns_of(curve)[3] == [123456789, 0]
    assert StoreReport(inserted=0, changed=1, unchanged=1) == report


@pytest.mark.parametrize(
    ("hours", "first", "until", "zone"),
    [
        pytest.param([22, 23, 24, 46], None, None, TariffZone.PENINSULA, id="all"),
        pytest.param([23, 24, 46], date(2023, 1, 2), None, TariffZone.PENINSULA, id="from midnight in Madrid"),
        pytest.param([22], None, date(2023, 1, 2), TariffZone.PENINSULA, id="until midnight in Madrid"),
        pytest.param([24, 46], date(2023, 1, 2), date(2023, 1, 3), TariffZone.CANARIAS, id="a day on the Canaries"),
        pytest.param([], date(2023, 2, 1), date(2023, 3, 1), TariffZone.PENINSULA, id="no such days"),
        pytest.param([], date(2023, 1, 3), date(2023, 1, 2), TariffZone.PENINSULA, id="ends before it begins"),
    ],
)  # fmt: skip
async def test_a_curve_has_the_local_days_that_were_asked_for(
    hours: list[int],
    first: date | None,
    until: date | None,
    zone: TariffZone,
    analytics: Analytics,
    unique: str,
) -> None:
    """Days begin at the zone's own midnight; the end is exclusive."""
    stored = [replace(reading(hour), local_date=date(2023, 1, 1 + (hour >= 23))) for hour in (22, 23, 24, 46)]
    await analytics.store_readings(unique, stored, as_of=NOW)
    curve = await analytics.hourly_curve(unique, first=first, until=until, zone=zone)
    assert (zone, hours) == (curve.zone, [hour - hour_number(START) for hour in curve.start_hours.tolist()])


async def test_readings_that_break_the_rules_are_refused_whole(analytics: Analytics, unique: str) -> None:
    """One bad reading, or a time without zone, and nothing of the load is stored."""
    bad = replace(reading(1), energy_kwh=Decimal("0.0000000001"))
    with pytest.raises(ValueError, match="more than 9 decimals"):
        await analytics.store_readings(unique, [reading(0), bad], as_of=NOW)
    with pytest.raises(ValueError, match="aware"):
        await analytics.store_readings(unique, [reading(0)], as_of=NOW.replace(tzinfo=None))
    assert await analytics.monthly_usage(unique) == []


async def test_users_are_kept_apart(analytics: Analytics, unique: str) -> None:
    """The same hours of two users are different readings, whatever characters their ids have."""
    other = f"{unique}' OR '1'='1"
    await analytics.store_readings(unique, [reading(0, "1")], as_of=NOW)
    assert StoreReport(inserted=1, changed=0, unchanged=0) == await analytics.store_readings(
        other, [reading(0, "2")], as_of=NOW
    )
    [[mine], [theirs]] = [await analytics.monthly_usage(user_id) for user_id in (unique, other)]
    assert (Decimal(1), Decimal(2)) == (mine.total_kwh, theirs.total_kwh)


async def test_no_readings_is_an_empty_load(analytics: Analytics, unique: str) -> None:
    """Storing nothing succeeds and reports nothing."""
    assert StoreReport(inserted=0, changed=0, unchanged=0) == await analytics.store_readings(
        unique, [], as_of=NOW
    )


async def test_concurrent_loads_are_all_stored(analytics: Analytics, unique: str) -> None:
    """Loads at the same time, overlapping ones too, end as if they had come one after the other."""
    reports = await asyncio.gather(
        *(analytics.store_readings(unique, [reading(n), reading(n + 1)], as_of=NOW) for n in range(8))
    )
    [month] = await analytics.monthly_usage(unique)
    assert (sum(r.inserted for r in reports), sum(r.unchanged for r in reports), month.hours) == (9, 7, 9)


async def test_close_twice_is_safe(analytics: Analytics) -> None:
    """A store that answers a ping can be closed more than once."""
    await analytics.ping()
    await analytics.close()
    await analytics.close()
