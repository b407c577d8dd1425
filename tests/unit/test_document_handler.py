"""The handler of documents: hours stored once, profile and record brought up to them, whatever comes late or twice."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from expert_bot.assistant.profile import profile_key, read_profile
from expert_bot.assistant.supply import read_supply
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.errors import PermanentError
from expert_bot.handlers.document_uploaded import HANDLES, PROCESSED, document_key, handle
from expert_bot.ports_analytics import UploadedDocumentRow
from expert_bot.schemas.events.document import DocumentProcessed, DocumentUploaded
from tests.unit.handler_world import ASKED_AT, HandlerWorld

APRIL = simulate_household(until=date(2026, 4, 30), months=1)
FILE = b"".join(write_household_csv(APRIL)).decode()
TOTAL_KWH = sum((reading.energy_kwh for reading in APRIL), Decimal(0))
MAXIMA = json.dumps(
    {
        "maxPower": [
            {
                "cups": "ES0291000000000001DN0F",
                "date": "2026/03/14",
                "time": "13:15",
                "maxPower": 3008,
                "period": "PUNTA",
            }
        ],
        "distributorError": [],
    }
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HandlerWorld]:
    """Return empty stores."""
    made = HandlerWorld(tmp_path)
    yield made
    await made.analytics.close()


def uploaded(content: str | None = FILE, **members: str | None) -> DocumentUploaded:
    """Return a request."""
    return DocumentUploaded.model_validate(
        {"user_id": "user-ana", "document_id": "doc-1", "content": content, **members}
    )


async def process(
    world: HandlerWorld,
    request: DocumentUploaded,
    event_id: str = "e-1",
    later: timedelta = timedelta(0),
) -> DocumentProcessed:
    """Handle a request, commit what it returns, and return the reply's data."""
    context = world.context(HANDLES.name, event_id=event_id, asked_at=ASKED_AT + later)
    result = await world.commit(await handle(request, context))
    (reply,) = result.replies
    assert reply.type is PROCESSED
    assert isinstance(reply.data, DocumentProcessed)
    return reply.data


async def test_a_file_becomes_stored_hours_a_profile_a_record_and_a_log_row(world: HandlerWorld) -> None:
    """What was read is what is stored, and everyone who has to know of it does."""
    reply = await process(world, uploaded())
    assert (reply.status, reply.layout, reply.rows_read, reply.rows_accepted) == (
        "processed",
        "household_csv",
        720,
        720,
    )
    assert (reply.hours_inserted, reply.hours_changed, reply.rows_rejected) == (720, 0, 0)
    assert (reply.first_day, reply.last_day) == ("2026-04-01", "2026-04-30")
    assert Decimal(reply.energy_kwh) == TOTAL_KWH
    assert {fact.id for fact in reply.facts} == {
        "consumption_total",
        *(f"consumption_p{n}" for n in (1, 2, 3)),
    }
    assert reply.data_quality is not None
    assert reply.data_quality.coverage_pct == "100.0"

    curve = await world.analytics.hourly_curve("user-ana")
    assert (len(curve), curve.total_kwh()) == (720, TOTAL_KWH)
    profile = await world.documents.get(profile_key("user-ana"))
    assert profile is not None
    assert read_profile(profile).months[Month(2026, 4)].total_kwh == TOTAL_KWH
    record = await world.documents.get(document_key("user-ana", "doc-1"))
    assert record is not None
    assert (record.fields["status"], record.fields["rows_accepted"]) == ("processed", 720)
    (row,) = await world.analytics.recent_rows(UploadedDocumentRow, since=ASKED_AT, limit=10)
    assert (row.document_id, row.accepted, row.inserted, row.size_bytes) == ("doc-1", 720, 720, len(FILE))


async def test_the_same_event_again_changes_nothing(world: HandlerWorld) -> None:
    """A death between the load and the commit is repaired by doing all of it again."""
    await process(world, uploaded())
    before = await world.documents.get(profile_key("user-ana"))
    reply = await process(world, uploaded())
    assert (reply.hours_inserted, reply.hours_changed) == (0, 0)
    assert await world.documents.get(profile_key("user-ana")) == before
    assert len(await world.analytics.hourly_curve("user-ana")) == 720
    assert len(await world.analytics.recent_rows(UploadedDocumentRow, since=ASKED_AT, limit=10)) == 1


async def test_a_late_copy_of_an_old_upload_does_not_undo_a_correction(world: HandlerWorld) -> None:
    """The newest upload stands, in whatever order they are handled."""
    corrected = FILE.replace("2026-04-01,1,", "2026-04-01,1,9", 1)
    await process(world, uploaded(corrected, document_id="doc-2"), "e-2", timedelta(hours=1))
    expected = (await world.analytics.hourly_curve("user-ana")).total_kwh()
    assert expected > TOTAL_KWH
    reply = await process(world, uploaded(), "e-1")
    assert reply.hours_changed == 0
    assert (await world.analytics.hourly_curve("user-ana")).total_kwh() == expected


async def test_bad_rows_are_told_and_the_rest_is_used(world: HandlerWorld) -> None:
    """Each rejected row has its line and its reason."""
    lines = FILE.splitlines()
    lines[3] = "2026-04-01,3,lots,Real,"
    reply = await process(world, uploaded("\n".join(lines)))
    assert (reply.status, reply.rows_accepted, reply.rows_rejected) == ("processed", 719, 1)
    (rejected,) = reply.rejected
    assert rejected.line == 4
    assert "lots" in rejected.reason


async def test_a_file_without_one_usable_row_is_unusable_and_makes_no_profile(world: HandlerWorld) -> None:
    """Whoever uploaded it learns why; nothing is made up from it."""
    reply = await process(world, uploaded("fecha,hora,consumo,met_obtencion\n2026-04-01,99,1,Real\n"))
    assert (reply.status, reply.rows_rejected, reply.energy_kwh) == ("unusable", 1, "0")
    assert reply.data_quality is None
    assert await world.documents.get(profile_key("user-ana")) is None


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"content": "what is this"}, "known layouts|layout"),
        ({"content": "!", "content_encoding": "base64"}, "base64"),
        ({"content": "é", "content_encoding": "base64"}, "base64"),
        ({"content": FILE, "format": "i_de_csv"}, "household_csv"),
    ],
    ids=["no layout", "not base64", "not ascii", "another format than said"],
)
async def test_a_document_that_cannot_be_read_dies_with_its_reason(
    world: HandlerWorld, members: dict[str, str], says: str
) -> None:
    """The failed reply says what was wrong and what is allowed."""
    with pytest.raises(PermanentError, match=says) as refused:
        await handle(uploaded(**members), world.context(HANDLES.name))
    assert refused.value.reason == "document-unreadable"
    assert await world.analytics.monthly_usage("user-ana") == []


async def test_hours_of_more_days_than_a_load_may_have_are_refused_at_once(world: HandlerWorld) -> None:
    """A file of one hour a day for eleven years wastes no attempt."""
    days = (date(2010, 1, 1) + timedelta(days=number) for number in range(3901))
    rows = "".join(f"{day},1,0.1,Real\n" for day in days)
    with pytest.raises(PermanentError, match="document-unreadable"):
        await handle(uploaded("fecha,hora,consumo,met_obtencion\n" + rows), world.context(HANDLES.name))


async def test_bytes_may_come_as_base64_or_from_a_file(world: HandlerWorld, tmp_path: Path) -> None:
    """Three ways to hand in the same document give the same hours."""
    path = tmp_path / "home.csv"
    path.write_bytes(FILE.encode())
    encoded = base64.b64encode(FILE.encode()).decode()
    replies = [
        await process(world, uploaded(encoded, content_encoding="base64")),
        await process(world, uploaded(None, uri=path.as_uri()), "e-2"),
    ]
    assert [reply.energy_kwh for reply in replies] == [str(TOTAL_KWH)] * 2


async def test_what_is_odd_about_a_document_is_told(world: HandlerWorld) -> None:
    """Wrong check letters of the supply's code lose nothing, and whoever uploaded it learns of them."""
    reply = await process(world, uploaded(MAXIMA.replace("DN0F", "DX0F")))
    assert reply.status == "processed"
    assert any("CUPS" in note for note in reply.notes)
    assert "ES0291000000000001" not in " ".join(reply.notes)


async def test_what_the_meter_measured_at_most_goes_into_the_profile(world: HandlerWorld) -> None:
    """Monthly maxima are kept beside the hours, each once."""
    reply = await process(world, uploaded(MAXIMA))
    await process(world, uploaded(MAXIMA, document_id="doc-2"), "e-2")
    assert (reply.status, reply.also_read, reply.notes) == ("processed", ["power_maxima"], [])
    supply = read_supply(await world.documents.get(profile_key("user-ana")))
    (maximum,) = supply.maxima
    assert (maximum.period, maximum.power_kw, str(maximum.month)) == ("PUNTA", Decimal("3.008"), "2026-03")
    assert supply.zone is TariffZone.PENINSULA


async def test_a_document_without_a_zone_is_of_the_zone_that_is_known(world: HandlerWorld) -> None:
    """A later upload does not move a household from the Canaries to the peninsula."""
    await process(world, uploaded(zone="canarias"))
    await process(world, uploaded(MAXIMA, document_id="doc-2"), "e-2")
    supply = read_supply(await world.documents.get(profile_key("user-ana")))
    assert supply.zone is TariffZone.CANARIAS
    again = await process(world, uploaded(document_id="doc-3"), "e-3")
    assert (again.hours_inserted, again.hours_changed) == (0, 0)


async def test_a_clock_in_the_future_does_not_shield_hours_from_corrections(world: HandlerWorld) -> None:
    """An upload counts as of when it was received, at the latest."""
    await process(world, uploaded(), "e-1", later=timedelta(days=36500))
    corrected = FILE.replace("2026-04-01,1,", "2026-04-01,1,9", 1)
    world.received_at += timedelta(minutes=1)
    reply = await process(world, uploaded(corrected, document_id="doc-2"), "e-2", later=timedelta(days=1))
    assert reply.hours_changed == 1


async def test_the_canaries_hours_are_labelled_by_their_own_clock(world: HandlerWorld) -> None:
    """Label 1 of a summer day in the Canaries is an hour later than on the Peninsula."""
    await process(world, uploaded())
    await process(world, uploaded(user_id="user-eva", zone="canarias"), "e-2")
    peninsula = await world.analytics.hourly_curve("user-ana")
    canaries = await world.analytics.hourly_curve("user-eva", zone=TariffZone.CANARIAS)
    assert canaries.start_hours[0] - peninsula.start_hours[0] == 1
    assert canaries.first_day == peninsula.first_day == date(2026, 4, 1)


def test_two_users_documents_of_one_id_are_two_documents() -> None:
    """A document id never leads to another user's document."""
    assert document_key("user-ana", "doc-1") != document_key("user-eva", "doc-1")
