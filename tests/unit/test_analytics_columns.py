"""Readings as columns: what the analytics stores take, and what they refuse before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.ports_analytics import MAX_DAYS
from expert_bot.storage.analytics_columns import day_range, price_columns, reading_columns
from expert_bot.storage.bigquery_statements import packed

READING = HourlyReading(
    starts_at=datetime(2023, 4, 1, 22, tzinfo=UTC),
    energy_kwh=Decimal("0.123"),
    method=ReadingMethod.ESTIMATED,
    local_date=date(2023, 4, 2),
    local_hour=0,
    period=Period.P3,
    generation_kwh=Decimal("1.5"),
)


def test_a_reading_is_a_row_of_integers() -> None:
    """Hours and days since 1970, amounts in nano-kWh, -1 for what is missing, periods from 1."""
    assert packed(reading_columns([READING])) == "466774,123000000,1,19449,0,3,-1,1500000000,-1"


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        pytest.param("aware", {"starts_at": READING.starts_at.replace(tzinfo=None)}, id="naive"),
        pytest.param("on the hour", {"starts_at": datetime(2023, 4, 1, 22, 15, tzinfo=UTC)}, id="quarter"),
        pytest.param("0 to 9223372036 kWh, not -0.1", {"energy_kwh": Decimal("-0.1")}, id="negative"),
        pytest.param("0 to", {"energy_kwh": Decimal("9223372036.854775808")}, id="more than fits"),
        pytest.param("more than 9 decimals", {"energy_kwh": Decimal("1e-10")}, id="too fine"),
        pytest.param("surplus_kwh must be 0 to", {"surplus_kwh": Decimal(-1)}, id="surplus that would look missing"),
    ],
)  # fmt: skip
def test_a_reading_that_breaks_the_rules_is_refused(reason: str, change: dict[str, Any]) -> None:
    """The error says what is allowed."""
    with pytest.raises(ValueError, match=reason):
        reading_columns([replace(READING, **change)])


def test_an_hour_twice_is_refused() -> None:
    """Which of two values an hour should have is not for the store to guess."""
    with pytest.raises(ValueError, match="each hour once"):
        reading_columns([READING, replace(READING, energy_kwh=Decimal(1))])


def test_a_load_has_at_most_so_many_days() -> None:
    """One statement changes a limited number of daily partitions: ten years fit, more are refused, not cut."""
    days = [
        replace(
            READING,
            starts_at=READING.starts_at + timedelta(days=n),
            local_date=READING.local_date + timedelta(days=n),
        )
        for n in range(MAX_DAYS + 1)
    ]
    assert MAX_DAYS > 10 * 366
    assert len(reading_columns(days[1:])["start_hour"]) == MAX_DAYS
    with pytest.raises(ValueError, match=f"at most {MAX_DAYS} days"):
        reading_columns(days)


def test_ten_years_fit_into_one_request() -> None:
    """The longest load is well below the 10 MB of one BigQuery request."""
    start = datetime(2015, 1, 1, tzinfo=UTC)
    hours = np.arange(24 * 3650, dtype=np.int64)
    ordinary = [
        replace(READING, starts_at=start + timedelta(hours=n), energy_kwh=Decimal("12.345"))
        for n in range(24)
    ]
    assert len(packed(reading_columns(ordinary))) / 24 * len(hours) < 5_000_000


def test_prices_need_a_value_for_every_hour() -> None:
    """Columns of unequal length are a mistake of whoever made them."""
    hours = np.array([1, 2], dtype=np.int64)
    with pytest.raises(ValueError, match="as many hours as values"):
        price_columns(HourlyPrices(zone=TariffZone.PENINSULA, start_hours=hours, price_neur=hours[:1]))


@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        pytest.param((date(2023, 1, 1), date(2023, 1, 3)), (date(2023, 1, 2), date(2023, 1, 3)), id="days"),
        pytest.param((date.min, date.max), (None, None), id="open"),
        pytest.param((date.min, date.min), (date.min, date.min), id="first day there is"),
    ],
)
def test_days_to_look_at_reach_over_both_ends(
    expected: tuple[date, date], asked: tuple[date | None, date | None]
) -> None:
    """Stored days are those of the supply's own zone: a day more at each end has all of any other zone's."""
    assert expected == day_range(*asked)
