"""BigQuery's emulator through Google's client: real homes, five years at once, workers killed in a load, the whole mode."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from expert_bot.adapters import open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.ports_analytics import StoreReport, UserAnalyticsRow
from expert_bot.storage.analytics_rows import texts_by_kind, utc_text
from expert_bot.storage.bigquery_analytics import BigqueryAnalytics
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics

pytestmark = pytest.mark.emulator

PROJECT = "contract-tests"
START = datetime(2019, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
FIVE_YEARS = 43_800
KILLS = 3


def open_analytics(host: str) -> BigqueryAnalytics:
    """Return analytics in a dataset of their own."""
    dataset = f"d{uuid.uuid4().hex[:12]}"
    return BigqueryAnalytics(project=PROJECT, dataset=dataset, pseudonym=str, emulator_host=host)


def hours_from(start: datetime, count: int, upload: int = 0) -> list[HourlyReading]:
    """Return hours whose kWh tell which hour and upload they are of."""
    instants = [start + timedelta(hours=n) for n in range(count)]
    return [
        HourlyReading(
            starts_at=each,
            energy_kwh=Decimal(n) + Decimal(upload).scaleb(-9),
            method=ReadingMethod.REAL,
            local_date=each.date(),
            local_hour=each.hour,
            period=Period.P3,
        )
        for n, each in enumerate(instants)
    ]


def assert_same(expected: Curve, found: Curve) -> None:
    """Fail unless two curves hold the same hours with the same values."""
    for name in ("start_hours", "energy_nkwh", "estimated", "local_days", "local_hours", "periods"):
        assert np.array_equal(getattr(expected, name), getattr(found, name)), name


async def test_five_years_are_one_load(bigquery_emulator: str) -> None:
    """43,800 hours go in at once, come back exactly, and going in again changes nothing."""
    analytics = open_analytics(bigquery_emulator)
    await analytics.ensure_tables()
    readings = hours_from(START, FIVE_YEARS)
    reports = [await analytics.store_readings("ana", readings, as_of=NOW) for _ in range(2)]
    curve = await analytics.hourly_curve("ana")
    await analytics.close()
    assert reports == [
        StoreReport(inserted=FIVE_YEARS, changed=0, unchanged=0),
        StoreReport(inserted=0, changed=0, unchanged=FIVE_YEARS),
    ]
    assert_same(Curve.from_readings(readings), curve)


async def test_a_real_home_is_the_same_in_both_stores(
    bigquery_emulator: str, shared_data: Path, tmp_path: Path
) -> None:
    """BigQuery and the embedded file give the same months and the same curve for the same file, to the last digit."""
    with (shared_data / "energy" / "households_es" / "home_4.csv").open("rb") as file:
        readings = parse_curve(file).readings
    cloud = open_analytics(bigquery_emulator)
    local = DuckdbAnalytics(tmp_path / "analytics.duckdb", pseudonym=str)
    await cloud.ensure_tables()
    for store in (cloud, local):
        await store.store_readings("ana", readings, as_of=NOW)
    assert await local.monthly_usage("ana") == await cloud.monthly_usage("ana")
    assert_same(await local.hourly_curve("ana"), await cloud.hourly_curve("ana"))
    await cloud.close()
    await local.close()


LOADER = """
import asyncio, sys
from tests.emulator.test_bigquery_analytics import NOW, PROJECT, START, hours_from
from expert_bot.storage.bigquery_analytics import BigqueryAnalytics

async def load(host, dataset, count, upload):
    analytics = BigqueryAnalytics(project=PROJECT, dataset=dataset, pseudonym=str, emulator_host=host)
    readings = hours_from(START, count, upload)
    print("ready", flush=True)
    sys.stdin.readline()
    await analytics.store_readings("ana", readings, as_of=NOW)
    print("stored", flush=True)
    sys.stdin.read()

asyncio.run(load(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def killed_load(host: str, dataset: str, count: int, upload: int, lives_s: float) -> None:
    """Load in another process that is killed after a while."""
    command = [sys.executable, "-c", LOADER, host, dataset, str(count), str(upload)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(lives_s)
        process.kill()


async def test_a_killed_worker_leaves_all_or_nothing(bigquery_emulator: str) -> None:
    """Killed at any moment of a load, a worker leaves no hour twice or halfway; redelivery leaves exactly the right ones."""
    analytics = open_analytics(bigquery_emulator)
    await analytics.ensure_tables()
    dataset, count, moments = analytics._dataset.partition(".")[2], 2000, random.Random(4)
    began = time.monotonic()
    await analytics.store_readings("ana", hours_from(START, count), as_of=NOW)
    took_s = time.monotonic() - began
    for upload in range(1, KILLS + 1):
        lives_s = moments.uniform(0, took_s)
        await asyncio.to_thread(killed_load, bigquery_emulator, dataset, count, upload, lives_s)
        left = await analytics.hourly_curve("ana")
        uploads = left.energy_nkwh - np.arange(count) * 10**9
        assert len(left) == count
        assert len(np.unique(uploads)) == 1
        report = await analytics.store_readings("ana", hours_from(START, count, upload), as_of=NOW)
        assert report.inserted == 0
        assert_same(
            Curve.from_readings(hours_from(START, count, upload)), await analytics.hourly_curve("ana")
        )
    await analytics.close()


async def test_a_row_that_was_streamed_twice_counts_once(bigquery_emulator: str) -> None:
    """BigQuery recognises a repeated append for about a minute only: readers take each row once all the same."""
    analytics = open_analytics(bigquery_emulator)
    await analytics.ensure_tables()
    row = UserAnalyticsRow(row_id="r", recorded_at=NOW, user_id="ana", name="n", value=Decimal(1))
    texts = texts_by_kind([row], str)[UserAnalyticsRow]["r"]
    later = {**texts, "recorded_at": utc_text(NOW + timedelta(seconds=1))}
    table = f"{analytics._dataset}.user_analytics"
    await analytics._jobs.insert(table, {"first": texts, "after a minute": later})
    [(stored,)] = await analytics._rows("test", "SELECT COUNT(*) FROM `{dataset}.user_analytics`", {})
    found = await analytics.recent_rows(UserAnalyticsRow, since=NOW, limit=10)
    await analytics.close()
    assert (2, [row]) == (stored, found)


async def test_emulators_mode_uses_bigquery_where_there_is_one(
    bigquery_emulator: str, tmp_path: Path
) -> None:
    """With an emulator's host the mode's analytics are in BigQuery, whose tables are made; users have pseudonyms."""
    settings = Settings(
        mode=Mode.EMULATORS,
        data_dir=tmp_path,
        PORT=0,
        GOOGLE_CLOUD_PROJECT=PROJECT,
        PUBSUB_EMULATOR_HOST="127.0.0.1:1",  # nobody asks it
        FIRESTORE_EMULATOR_HOST="127.0.0.1:1",
        bigquery_emulator_host=bigquery_emulator,
        bigquery_dataset=f"mode_{uuid.uuid4().hex[:8]}",
    )
    async with open_adapters(settings) as adapters:
        analytics = adapters.analytics
        assert isinstance(analytics, BigqueryAnalytics)
        report = await analytics.store_readings("user-ana", hours_from(START, 1), as_of=NOW)
        users = await analytics._rows("test", "SELECT user_id FROM `{dataset}.consumption_hourly`", {})
    assert StoreReport(inserted=1, changed=0, unchanged=0) == report
    assert [len(str(user)) for (user,) in users] == [32]
    assert "user-ana" not in str(users)
