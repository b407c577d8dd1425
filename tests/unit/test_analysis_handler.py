"""The handler of analyses: every kind answers, the task is kept through its life, and what cannot be computed says why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest

from expert_bot.assistant.profile import profile_key
from expert_bot.energy.analyses.catalogue import ANALYSES
from expert_bot.energy.analyses.use.consumption_report import consumption_report
from expert_bot.energy.calendar import Month
from expert_bot.energy.curve import Curve
from expert_bot.energy.simulation import simulate_household
from expert_bot.errors import PermanentError, PreconditionFailedError, StoreUnavailableError
from expert_bot.handlers.analysis_requested import COMPLETED, HANDLES, begin, fail, handle
from expert_bot.household import OFFERS
from expert_bot.inbox.entry import MAX_STORED_BYTES
from expert_bot.ports import DocKey, Put
from expert_bot.ports_analytics import AsyncTaskRow
from expert_bot.schemas.events.analysis import AnalysisCompleted, AnalysisKind, AnalysisRequested
from expert_bot.tasks import Task, submitted, task_key
from tests.unit.handler_world import ASKED_AT, PROBLEM, HandlerWorld

READINGS = simulate_household(until=date(2026, 10, 31), months=24)
CURVE = Curve.from_readings(READINGS)
POWER = {"P1": "4.6", "P2": "4.6"}
FIXED = {"kind": "fixed", "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.03}, "energy_eur_per_kwh": 0.1499}
OFFER = {
    "id": "night",
    "name": "Night",
    "power_eur_per_kw_day": {"P1": 0.09, "P2": 0.02},
    "energy_eur_per_kwh": {"P1": 0.2, "P2": 0.12, "P3": 0.08},
}
BILL = {
    "contract": {
        "zone": "peninsula",
        "power_kw": {"P1": 4.6, "P2": 4.6},
        "tariff": {"kind": "pvpc", "mean_prices": {"P1": 0.2, "P2": 0.15, "P3": 0.1}},
    },
    "period": {"start": "2026-05-31", "end": "2026-06-30", "days": 30, "due": "2026-07-07"},
    "consumption": {"kwh": {"P1": 60, "P2": 70, "P3": 120}},
    "printed": {"total": "60.77"},
}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "bill_check": {"bill": BILL},
    "solar": {"province": "Madrid", "tariff": FIXED},
    "recommendations": {"power_kw": POWER, "tariff": FIXED, "offers": [OFFER]},
    "tariff_comparison": {"power_kw": POWER, "tariff": FIXED, "offers": [OFFER]},
    "contracted_power": {"power_kw": POWER},
    "forecast": {"backtest_days": 30},
}
KINDS = get_args(AnalysisKind)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HandlerWorld]:
    """Return stores with two years of a household."""
    made = HandlerWorld(tmp_path)
    await made.analytics.store_readings("user-ana", READINGS, as_of=ASKED_AT)
    yield made
    await made.analytics.close()


def requested(kind: str, **members: object) -> AnalysisRequested:
    """Return a request as it comes off the wire."""
    data = {"user_id": "user-ana", "kind": kind, "task_id": "task-1", **members}
    return AnalysisRequested.model_validate(data)


async def analyse(world: HandlerWorld, request: AnalysisRequested) -> AnalysisCompleted:
    """Handle a request, commit what it returns, and return the reply's data."""
    context = world.context(HANDLES.name)
    for write in await begin(request, context):
        await world.documents.commit([write])
    result = await world.commit(await handle(request, context))
    (reply,) = result.replies
    assert reply.type is COMPLETED
    assert isinstance(reply.data, AnalysisCompleted)
    return reply.data


async def task(world: HandlerWorld) -> Mapping[str, Any]:
    """Return the task's fields."""
    document = await world.documents.get(task_key("user-ana", "task-1"))
    assert document is not None
    return document.fields


def test_every_kind_of_the_contract_can_be_run() -> None:
    """The contract and the catalogue name the same kinds."""
    assert set(KINDS) == set(ANALYSES)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_answers_with_facts_and_completes_its_task(world: HandlerWorld, kind: str) -> None:
    """The task holds exactly what was replied; no number is floating point."""
    reply = await analyse(world, requested(kind, parameters=PARAMETERS.get(kind, {})))
    assert reply.status == "success", reply.result
    assert reply.facts or kind == "anomalies"  # nothing unusual, nothing to state
    assert "float" not in {type(value).__name__ for value in _leaves(reply.result)}
    fields = await task(world)
    assert fields["status"] == "completed"
    assert json.loads(fields["result_json"]) == json.loads(reply.model_dump_json())


def _leaves(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


async def test_an_analysis_is_that_of_the_command_on_the_same_readings(world: HandlerWorld) -> None:
    """Stored readings and a file's readings give the same figures, for the days asked about."""
    period = {"start": "2026-03-01", "end": "2026-04-01"}
    reply = await analyse(world, requested("consumption", period=period))
    expected = consumption_report(CURVE, date(2026, 3, 1), date(2026, 4, 1))
    assert reply.result == dict(expected.result)
    assert reply.facts == list(expected.facts)


async def test_without_readings_the_answer_says_so(world: HandlerWorld) -> None:
    """An unknown user has no data, and no profile is made for them."""
    reply = await analyse(world, requested("forecast", user_id="user-eva"))
    assert (reply.status, list(reply.result)) == ("no_data", ["reason"])
    assert await world.documents.get(profile_key("user-eva")) is None


@pytest.mark.parametrize(
    ("kind", "members", "says"),
    [
        (
            "contracted_power",
            {"parameters": {"power_kw": POWER, "tariff": {"kind": "fixed"}}},
            "parameters.tariff",
        ),
        ("contracted_power", {}, "contracted power is not known"),
        ("tariff_comparison", {"parameters": {"power_kw": {"P1": "-1", "P2": "-1"}}}, "15 kW"),
        ("tariff_comparison", {"parameters": {"power_kw": {"P1": "0", "P2": "4"}}}, "15 kW"),
        ("recommendations", {}, "contracted power is not known"),
        ("solar", {}, "province"),
        ("solar", {"parameters": {"province": "Atlantis", "tariff": FIXED}}, "Atlantis"),
        ("bill_check", {}, "parameters.bill"),
        ("consumption", {"period": {"start": "2031-01-01", "end": "2031-02-01"}}, ""),
        (
            "tariff_comparison",
            {"parameters": {"power_kw": POWER, "offers": [OFFER], "current_offer_id": "none"}},
            "none",
        ),
    ],
    ids=[
        "tariff",
        "no power",
        "negative",
        "zero",
        "power",
        "no province",
        "unknown province",
        "no bill",
        "days without data",
        "offer",
    ],
)
async def test_what_cannot_be_computed_is_an_answer_that_says_why(
    world: HandlerWorld, kind: str, members: Mapping[str, Any], says: str
) -> None:
    """Nothing is guessed, and nobody has to look into the dead letters for it."""
    reply = await analyse(world, requested(kind, **members))
    assert reply.status == "not_possible"
    assert says in str(reply.result["reason"])
    assert (await task(world))["status"] == "completed"


async def test_offers_that_are_no_list_of_offers_are_refused(world: HandlerWorld) -> None:
    """A bad offer is named in the result; the good ones are compared."""
    bad = {"id": "bad", "name": "Bad"}
    reply = await analyse(
        world, requested("tariff_comparison", parameters={"power_kw": POWER, "offers": [bad, OFFER]})
    )
    rejected = reply.result["rejected"]
    assert isinstance(rejected, list)
    assert [each["id"] for each in rejected if isinstance(each, dict)] == ["bad"]


async def test_stored_offers_are_compared_where_the_request_has_none(world: HandlerWorld) -> None:
    """`tariff_offers` is what is on the market."""
    await world.documents.commit([Put(DocKey(OFFERS, "night"), dict(OFFER))])
    inline = await analyse(
        world, requested("tariff_comparison", parameters={"power_kw": POWER, "offers": [OFFER]})
    )
    stored = await analyse(world, requested("tariff_comparison", parameters={"power_kw": POWER}))
    assert stored.result == inline.result


async def test_a_task_is_followed_from_submission_to_its_end(world: HandlerWorld) -> None:
    """Its record and its log say submitted, running, completed; the log has each state once."""
    known = Task(task_id="task-1", user_id="user-ana", kind="consumption", correlation_id="e-1")
    await world.documents.commit([submitted(known, ASKED_AT)])
    context, request = world.context(HANDLES.name), requested("consumption")
    await world.documents.commit(await begin(request, context))
    assert (await task(world))["status"] == "running"
    await analyse(world, request)
    await handle(request, context)
    rows = await world.analytics.recent_rows(AsyncTaskRow, since=ASKED_AT, limit=10)
    assert sorted(row.status for row in rows) == ["completed", "running"]


async def test_a_task_that_fails_keeps_its_reason(world: HandlerWorld) -> None:
    """Whoever looks at the task learns what whoever asked was told."""
    context, request = world.context(HANDLES.name), requested("consumption")
    await world.documents.commit(await fail(request, context, PROBLEM))
    fields = await task(world)
    assert (fields["status"], fields["problem"]["reason"]) == ("failed", "expired")


async def test_a_worker_that_was_overtaken_cannot_end_the_task_again(world: HandlerWorld) -> None:
    """The completion carries the version the task was read at."""
    context, request = world.context(HANDLES.name), requested("consumption")
    await world.documents.commit(await begin(request, context))
    late = await handle(request, context)
    await world.commit(await handle(request, context))
    with pytest.raises(PreconditionFailedError):
        await world.commit(late)


async def test_an_event_without_a_task_has_one_of_its_own(world: HandlerWorld) -> None:
    """The same request, delivered twice, is the same task; another request is another."""
    request = requested("consumption", task_id=None)
    ids = [
        (await handle(request, world.context(HANDLES.name, event_id=event_id))).replies[0].data
        for event_id in ("e-1", "e-1", "e-2")
    ]
    first, again, other = (each.task_id for each in ids if isinstance(each, AnalysisCompleted))
    assert first == again != other


async def test_parameters_that_are_no_parameters_die_with_their_reason(world: HandlerWorld) -> None:
    """Offers that are neither a list nor readable are the caller's mistake."""
    request = requested("tariff_comparison", parameters={"offers": [{}] * 500})
    too_many = request.model_copy(
        update={"parameters": request.parameters.model_copy(update={"offers": [{}] * 2001})}
    )
    with pytest.raises(PermanentError, match="unusable-parameters"):
        await handle(too_many, world.context(HANDLES.name))


@pytest.mark.parametrize(
    "period",
    [
        ("2023-02-30", "2023-03-02"),
        ("1999-01-01", "2023-03-02"),
        ("2026-01-01", "9999-12-31"),
        ("2026-02-01", "2026-01-01"),
    ],
    ids=["no date", "too early", "too late", "backwards"],
)
async def test_a_period_that_cannot_be_dies_with_its_reason(
    world: HandlerWorld, period: tuple[str, str]
) -> None:
    """No attempt is wasted on it, and no memory."""
    request = requested("consumption", period={"start": period[0], "end": period[1]})
    with pytest.raises(PermanentError, match="unusable-parameters"):
        await handle(request, world.context(HANDLES.name))


async def test_a_province_nobody_knows_harms_only_what_is_said_about_panels(world: HandlerWorld) -> None:
    """Everything else about the home is computed all the same."""
    parameters = {"power_kw": POWER, "province": "x"}
    assert (await analyse(world, requested("contracted_power", parameters=parameters))).status == "success"
    solar = await analyse(world, requested("solar", parameters={**parameters, "tariff": FIXED}))
    assert solar.status == "not_possible"


async def test_a_stored_offer_that_is_broken_is_rejected_alone(world: HandlerWorld) -> None:
    """The others are compared."""
    await world.documents.commit(
        [Put(DocKey(OFFERS, "bad"), {"offer_json": "{"}), Put(DocKey(OFFERS, "night"), dict(OFFER))]
    )
    result = (await analyse(world, requested("tariff_comparison", parameters={"power_kw": POWER}))).result
    rejected, offers = result["rejected"], result["offers"]
    assert isinstance(rejected, list)
    assert isinstance(offers, list)
    assert [each["id"] for each in rejected if isinstance(each, dict)] == ["bad"]
    assert "night" in [each["id"] for each in offers if isinstance(each, dict)]


async def test_the_most_offers_that_are_promised_fit_into_a_reply(world: HandlerWorld) -> None:
    """500 offers over 12 months stay below what an inbox entry and a task document may hold."""
    offers = [{**OFFER, "id": f"offer-{number}", "name": f"Offer number {number}"} for number in range(500)]
    reply = await analyse(
        world, requested("tariff_comparison", parameters={"power_kw": POWER, "offers": offers})
    )
    assert reply.status == "success"
    assert len(reply.model_dump_json()) < MAX_STORED_BYTES - 8 * 1024


async def test_a_task_fails_also_while_its_log_cannot_be_written(world: HandlerWorld) -> None:
    """The outage of Analytics may be what the request died of: it must not keep the death from being told."""

    async def append(_rows: object) -> None:
        raise StoreUnavailableError("down")

    world.analytics.append = append  # type: ignore[method-assign]  # the store is out
    (write,) = await fail(requested("consumption"), world.context(HANDLES.name), PROBLEM)
    await world.documents.commit([write])
    assert (await task(world))["status"] == "failed"


async def test_the_task_log_does_not_tell_whose_task_it_is(world: HandlerWorld) -> None:
    """Its row ids are made of the event, not of the user."""
    await analyse(world, requested("consumption"))
    (row, *_) = await world.analytics.recent_rows(AsyncTaskRow, since=ASKED_AT, limit=10)
    assert task_key("user-ana", "task-1").id not in row.row_id


async def test_a_conditional_law_gives_both_readings_until_it_is_settled(world: HandlerWorld) -> None:
    """November 2026 has two totals; the setting leaves one."""
    bill = {**BILL, "period": {"start": "2026-10-11", "end": "2026-11-10", "days": 30}}
    request = requested("bill_check", parameters={"bill": bill})
    open_law = await analyse(world, request)
    world.confirmed = {Month(2026, 11): True}
    settled = await analyse(world, request)
    assert open_law.result != settled.result
