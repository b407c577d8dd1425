"""Importing consumption: hours stored, profile refreshed, and nothing written when nothing changed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from expert_bot.assistant.profile import Profile, profile_key, read_profile
from expert_bot.energy.calendar import Month
from expert_bot.energy.formats import RejectedRow
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.readings import HourlyReading, Period, ReadingMethod
from expert_bot.energy.simulation import simulate_household
from expert_bot.energy.usage import MonthUsage
from expert_bot.errors import PreconditionFailedError, StoreUnavailableError, UsageError
from expert_bot.ingest import import_consumption, refresh_profile
from expert_bot.ports import Document, Put, StoreReport, Version, Write
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.memory_documents import MemoryDocuments

HEADER = b"fecha,hora,consumo,met_obtencion\n"
NOW = datetime(2023, 8, 1, 12, tzinfo=UTC)


class MemoryAnalytics:
    """Readings in a dictionary, summed the slow way."""

    def __init__(self) -> None:
        self.readings: dict[tuple[str, datetime], HourlyReading] = {}

    async def store_readings(
        self, user_id: str, readings: Sequence[HourlyReading], *, as_of: datetime
    ) -> StoreReport:
        inserted = changed = 0
        for reading in readings:
            earlier = self.readings.get((user_id, reading.starts_at))
            inserted += earlier is None
            changed += earlier is not None and earlier != reading
            self.readings[user_id, reading.starts_at] = reading
        return StoreReport(inserted=inserted, changed=changed, unchanged=len(readings) - inserted - changed)

    async def monthly_usage(self, user_id: str) -> list[MonthUsage]:
        own = [reading for (owner, _), reading in self.readings.items() if owner == user_id]
        return [
            self._month(month, [reading for reading in own if Month.of(reading.local_date) == month])
            for month in sorted({Month.of(reading.local_date) for reading in own})
        ]

    def _month(self, month: Month, readings: list[HourlyReading]) -> MonthUsage:
        return MonthUsage(
            month=str(month),
            energy_kwh={
                period: sum((each.energy_kwh for each in readings if each.period is period), Decimal(0))
                for period in Period
            },
            hours=len(readings),
            estimated_hours=sum(each.method is ReadingMethod.ESTIMATED for each in readings),
            first_day=min(each.local_date for each in readings).isoformat(),
            last_day=max(each.local_date for each in readings).isoformat(),
        )

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class TickingClock:
    """A clock that is a minute later every time it is read."""

    instant: datetime = NOW

    def now(self) -> datetime:
        self.instant += timedelta(minutes=1)
        return self.instant


@dataclass
class NamedUser:
    """An identity that gives everyone one name."""

    name: str | None

    async def display_name(self, user_id: str) -> str | None:
        return self.name


@dataclass
class ContestedDocuments(MemoryDocuments):
    """Documents whose commits lose against another writer a number of times."""

    losses: int = 0
    commits: int = field(default=0)

    def __post_init__(self) -> None:
        super().__init__()

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self.commits += 1
        if self.commits <= self.losses:
            raise PreconditionFailedError("someone else was faster")
        return await super().commit(writes)


@dataclass
class Stores:
    """Everything an import touches."""

    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    analytics: MemoryAnalytics = field(default_factory=MemoryAnalytics)
    clock: TickingClock = field(default_factory=TickingClock)

    async def profile_document(self, user: str = "user-ana") -> Document | None:
        return await self.documents.get(profile_key(user))

    async def profile(self, user: str = "user-ana") -> Profile:
        document = await self.profile_document(user)
        assert document is not None
        return read_profile(document)


def days(first: date, count: int, kwh: str = "0.1") -> list[bytes]:
    """Write whole ordinary days."""
    return [
        HEADER,
        *(
            f"{first + timedelta(days=offset)},{label},{kwh},Real\n".encode()
            for offset in range(count)
            for label in range(1, 25)
        ),
    ]


async def test_a_real_home_fills_store_and_profile(shared_data: Path) -> None:
    """The report counts every row; the profile holds the exact months of the file."""
    stores = Stores()
    with (shared_data / "energy" / "households_es" / "home_4.csv").open("rb") as file:
        report = await import_consumption(
            file, "user-ana", stores.analytics, stores.documents, stores.clock, NamedUser("Ana")
        )
    assert (
        report.rows_read,
        report.accepted,
        report.rejected,
        report.inserted,
        report.changed,
        report.unchanged,
        report.profile_changed,
    ) == (17088, 17088, (), 17088, 0, 0, True)
    assert (date(2021, 8, 3), date(2023, 7, 15)) == (report.first_day, report.last_day)
    document = await stores.profile_document()
    assert document is not None
    assert document.fields.keys() == {
        "user_id",
        "user_name",
        "created_at",
        "updated_at",
        "usage",
        "supply",
    }
    assert document.fields["user_name"] == "Ana"
    usage = document.fields["usage"]
    assert isinstance(usage, dict)
    assert isinstance(usage["months"], dict)
    assert usage["months"]["2022-10"] == {
        "P1": "47.546",
        "P2": "70.249",
        "P3": "140.319",
        "hours": 745,
        "estimated_hours": 0,
        "first_day": "2022-10-01",
        "last_day": "2022-10-31",
    }
    assert (usage["data_from"], usage["data_until"], len(usage["months"])) == ("2021-08-03", "2023-07-15", 24)


async def test_what_is_written_to_the_profile_is_read_back() -> None:
    """The profile's figures are those of the store, exactly."""
    stores = Stores()
    file = list(write_household_csv(simulate_household(until=date(2023, 4, 30), months=14)))
    await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    months = await stores.analytics.monthly_usage("user-ana")
    profile = await stores.profile()
    assert {Month.parse(month.month): month for month in months} == profile.months
    assert (date(2022, 3, 1), date(2023, 4, 30), "Usuario") == (
        profile.data_from,
        profile.data_until,
        profile.user_name,
    )


async def test_importing_a_file_twice_changes_nothing() -> None:
    """The second import finds every hour unchanged and writes no document, not even a new time."""
    stores = Stores()
    file = days(date(2023, 4, 3), 7)
    await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    before = await stores.profile_document()
    report = await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    assert (report.inserted, report.changed, report.unchanged, report.profile_changed) == (0, 0, 168, False)
    assert before == await stores.profile_document()


async def test_a_later_file_replaces_and_extends() -> None:
    """Changed hours count as changed, new ones as inserted; the rest of the profile is left alone."""
    stores = Stores()
    await import_consumption(
        days(date(2023, 4, 3), 2), "user-ana", stores.analytics, stores.documents, stores.clock
    )
    before = await stores.profile_document()
    report = await import_consumption(
        days(date(2023, 4, 4), 2, "0.2"),
        "user-ana",
        stores.analytics,
        stores.documents,
        stores.clock,
        NamedUser("X"),
    )
    after = await stores.profile_document()
    assert (report.inserted, report.changed, report.unchanged, report.profile_changed) == (24, 24, 0, True)
    assert before is not None
    assert after is not None
    assert before.fields["created_at"] == after.fields["created_at"] != after.fields["updated_at"]
    assert after.fields["user_name"] == "Usuario"
    assert (await stores.profile()).months[Month(2023, 4)].total_kwh == Decimal("12.0")


async def test_an_import_that_stopped_halfway_is_completed_by_the_next() -> None:
    """Hours stored without a profile (a crash between the two) reach the profile although no hour changes."""
    stores = Stores()
    file = days(date(2023, 4, 3), 1)
    await import_consumption(file, "user-ana", stores.analytics, MemoryDocuments(), stores.clock)
    report = await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    assert (report.inserted, report.unchanged, report.profile_changed) == (0, 24, True)
    assert (await stores.profile()).data_until == date(2023, 4, 3)


async def test_bad_rows_are_reported_and_good_ones_kept() -> None:
    """Rejects are listed with line and reason, and cost nothing else."""
    stores = Stores()
    file = [*days(date(2023, 4, 3), 1), b"2023-04-04,1,x,Real\n"]
    report = await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    reason = "consumo 'x' is not a number of kWh such as 0.123 or 0,123"
    assert (25, 24, (RejectedRow(26, reason),)) == (report.rows_read, report.accepted, report.rejected)


@pytest.mark.parametrize("rows", [[], [b"x,1,0.1,Real\n"]], ids=["no rows", "only bad rows"])
async def test_a_file_without_a_usable_row_stores_nothing(rows: list[bytes]) -> None:
    """Nothing usable means no hour, no profile, and a report that says so."""
    stores = Stores()
    report = await import_consumption(
        [HEADER, *rows], "user-ana", stores.analytics, stores.documents, stores.clock
    )
    assert (len(rows), 0, None, False) == (
        report.rows_read,
        report.accepted,
        report.first_day,
        report.profile_changed,
    )
    assert stores.analytics.readings == {}
    assert await stores.profile_document() is None


@pytest.mark.parametrize("user_id", ["", "../x", "a b", "user\n", "ñ", "x" * 129], ids=repr)
async def test_a_user_id_outside_the_contract_is_refused(user_id: str) -> None:
    """The id must be one that events can carry; the file is not even read."""
    stores = Stores()
    with pytest.raises(UsageError, match=r"user id .* must match"):
        await import_consumption(
            days(date(2023, 4, 3), 1), user_id, stores.analytics, stores.documents, stores.clock
        )
    assert stores.analytics.readings == {}


async def test_a_file_that_is_something_else_is_refused() -> None:
    """A file without the header is an error of the whole import, and nothing is stored."""
    stores = Stores()
    with pytest.raises(UsageError, match="no header"):
        await import_consumption(
            io.BytesIO(b"a,b\n1,2\n"), "user-ana", stores.analytics, stores.documents, stores.clock
        )
    assert stores.analytics.readings == {}


async def test_refreshing_a_user_without_hours_makes_no_profile() -> None:
    """Without stored hours there are no figures to write."""
    stores = Stores()
    assert not await refresh_profile("user-ana", stores.analytics, stores.documents, stores.clock)
    assert await stores.profile_document() is None


async def test_another_writer_of_the_profile_is_not_overwritten() -> None:
    """A lost precondition is tried again on the fresh profile; who never wins says that the store is busy."""
    stores = Stores(documents=ContestedDocuments(losses=2))
    file = days(date(2023, 4, 3), 1)
    report = await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    assert report.profile_changed
    busy = ContestedDocuments(losses=1000)
    with pytest.raises(StoreUnavailableError, match="try again"):
        await import_consumption(file, "user-ana", stores.analytics, busy, stores.clock)


class OvertakenAnalytics(MemoryAnalytics):
    """After the figures are read the first time, another import stores a day and refreshes the profile."""

    def __init__(self, documents: MemoryDocuments) -> None:
        super().__init__()
        self._documents = documents
        self._was_overtaken = False

    async def monthly_usage(self, user_id: str) -> list[MonthUsage]:
        figures = await super().monthly_usage(user_id)
        if not self._was_overtaken:
            self._was_overtaken = True
            await import_consumption(
                days(date(2023, 4, 10), 1), user_id, self, self._documents, TickingClock(), NamedUser("Ana")
            )
        return figures


@pytest.mark.parametrize("has_profile", [False, True], ids=["no profile yet", "profile there"])
async def test_figures_that_are_already_old_never_replace_newer_ones(*, has_profile: bool) -> None:
    """Two imports at once leave the profile with the hours of both, whichever finishes last."""
    documents = MemoryDocuments()
    if has_profile:
        await documents.commit([Put(profile_key("user-ana"), {"user_id": "user-ana", "user_name": "Ana"})])
    stores = Stores(documents=documents, analytics=OvertakenAnalytics(documents))
    await import_consumption(days(date(2023, 4, 3), 1), "user-ana", stores.analytics, documents, stores.clock)
    profile = await stores.profile()
    assert (48, date(2023, 4, 3), date(2023, 4, 10)) == (
        profile.months[Month(2023, 4)].hours,
        profile.data_from,
        profile.data_until,
    )


async def test_monthly_maxima_alone_are_worth_an_import(shared_data: Path) -> None:
    """A file without hours is not unusable if it tells something else; the profile knows it afterwards."""
    stores = Stores()
    file = (
        (shared_data / "energy" / "formats" / "datadis_maxpower_v2.json")
        .read_bytes()
        .splitlines(keepends=True)
    )
    report = await import_consumption(file, "user-ana", stores.analytics, stores.documents, stores.clock)
    assert (report.accepted, report.also_read, report.profile_changed) == (0, ("power_maxima",), True)
    document = await stores.profile_document()
    assert document is not None
    assert "supply" in document.fields


async def test_hours_of_more_days_than_a_load_may_have_are_refused(tmp_path: Path) -> None:
    """Whoever imports them is told what is allowed, and nothing is stored."""
    stores = Stores()
    lines = [b"fecha,hora,consumo,met_obtencion\n"]
    lines += [f"{date(2010, 1, 1) + timedelta(days=day)},1,0.1,Real\n".encode() for day in range(3901)]
    analytics = DuckdbAnalytics(tmp_path / "analytics.duckdb", pseudonym=str)
    with pytest.raises(UsageError, match="3900"):
        await import_consumption(lines, "user-ana", analytics, stores.documents, stores.clock)
    await analytics.close()
    assert await stores.profile_document() is None
