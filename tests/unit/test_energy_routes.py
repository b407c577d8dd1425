"""The caller's own home over HTTP: what is known of it, analyses while he waits, and what nobody else ever sees."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expert_bot.assistant.profile import new_profile_fields, profile_key, usage_fields
from expert_bot.energy.analyses.outcome import Outcome
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import hour_number
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.report import Report
from expert_bot.energy.simulation import simulate_household
from expert_bot.energy.usage import MonthUsage
from expert_bot.errors import StoreUnavailableError
from expert_bot.handlers.analysis_requested import HANDLES, handle
from expert_bot.http import energy_routes
from expert_bot.http.analysis_turns import AnalysisTurns
from expert_bot.http.callers import Level, level_of
from expert_bot.http.energy_routes import ANALYSIS_PATH, PROFILE_PATH, RECOMMENDATIONS_PATH
from expert_bot.http.server import make_app
from expert_bot.ports import DocKey, Document, Put, Update, Value
from expert_bot.ports_analytics import AsyncTaskRow
from expert_bot.schemas.events.analysis import AnalysisRequested
from tests.unit.handler_world import ASKED_AT, HandlerWorld
from tests.unit.http_people import ANA, AT, BEA, STRANGERS, Client, MakeClient, SetClock, bearer, callers
from tests.waiting import until

READINGS = simulate_household(until=date(2026, 10, 31), months=13)
SUPPLY: dict[str, Value] = {"zone": "peninsula", "power_kw": ["4.60", "3.45"], "province": "Madrid", "maxima": []}  # fmt: skip
ROUTES = [("GET", PROFILE_PATH), ("POST", ANALYSIS_PATH), ("GET", RECOMMENDATIONS_PATH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The three routes, and the stores below them."""

    client: Client
    stores: HandlerWorld

    async def ask(
        self, method: str, path: str, identity: dict[str, str] = ANA, **options: Any
    ) -> tuple[int, Any]:
        """Ask a route; return status and body."""
        if method == "POST":
            options = {"json": {}} | options
        async with self.client.request(method, path, headers=identity, **options) as response:
            assert method == "POST" or response.status != 200 or response.headers["Cache-Control"] == "no-store"  # fmt: skip
            return response.status, await response.json()

    async def analyse(self, identity: dict[str, str] = ANA, **asked: Any) -> tuple[int, Any]:
        """Ask for an analysis."""
        return await self.ask("POST", ANALYSIS_PATH, identity, json=asked)

    async def change_profile(self, **fields: Value) -> None:
        """Change Ana's profile."""
        await self.stores.documents.commit([Update(profile_key("user-ana"), fields)])

    async def profiles(self) -> list[str]:
        """Return whose profiles there are."""
        found = await self.stores.documents.find("user_profiles_enriched", [], limit=9)
        return [document.key.id for document in found]


MakeWorld = Callable[..., Any]


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[HandlerWorld]:
    """Return empty stores."""
    made = HandlerWorld(tmp_path)
    yield made
    await made.analytics.close()


@pytest.fixture
async def home(stores: HandlerWorld) -> None:
    """Store thirteen months of Ana's, and her profile."""
    await stores.analytics.store_readings("user-ana", READINGS, as_of=ASKED_AT)
    profile = new_profile_fields(user_id="user-ana", user_name="Ana", created_at=AT)
    usage = usage_fields(await stores.analytics.monthly_usage("user-ana"))
    known = {"usage": usage, "supply": SUPPLY, "home_type": "flat"}
    await stores.documents.commit([Put(profile_key("user-ana"), {**profile, **known})])


@pytest.fixture
def make_world(stores: HandlerWorld, aiohttp_client: MakeClient) -> MakeWorld:
    """Return what serves the routes over the stores."""

    async def make(limit_s: float = 20.0) -> World:
        routes = energy_routes.energy_routes(
            callers(), documents=stores.documents, analytics=stores.analytics, clock=SetClock(),
            confirmed={}, limit_s=limit_s,
        )  # fmt: skip
        return World(client=await aiohttp_client(make_app(routes)), stores=stores)

    return make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """Serve the routes."""
    made: World = await make_world()
    return made


def test_every_route_asks_for_a_token() -> None:
    """None can be added without saying what it asks of its caller."""
    routes = energy_routes.energy_routes(callers(), documents=None, analytics=None, clock=None, confirmed={})  # type: ignore[arg-type]  # never called
    assert [(route.method, route.path, level_of(route.handler)) for route in routes] == [
        (method, path, Level.TOKEN) for method, path in ROUTES
    ]


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_without_a_token_is_told_anything(
    method: str, path: str, who: str, world: World
) -> None:
    """401, whatever else is asked."""
    status, problem = await world.ask(method, path, STRANGERS[who])
    assert (status, problem["status"], "Ana" in json.dumps(problem)) == (401, 401, False)


@pytest.mark.usefixtures("home")
async def test_a_user_never_sees_what_is_not_his(world: World) -> None:
    """With data of Ana's alone, Bea's token shows an empty home on every route; Ana's shows hers."""
    bea = [await world.ask(method, path, BEA) for method, path in ROUTES]
    ana = [await world.ask(method, path, ANA) for method, path in ROUTES]
    assert [status for status, _ in (*bea, *ana)] == [200] * 6
    assert (bea[0][1]["months"], bea[0][1]["user_id"]) == ([], "user-bea")
    assert [body["status"] for _, body in bea[1:]] == ["no_data", "no_data"]
    assert [body["status"] for _, body in ana[1:]] == ["success", "success"]
    assert (len(ana[0][1]["months"]), ana[0][1]["user_id"]) == (13, "user-ana")


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        pytest.param("POST", ANALYSIS_PATH, {"json": {"user_id": "user-ana"}}, id="in the body"),
        pytest.param("POST", ANALYSIS_PATH, {"json": {"parameters": {"user_id": "user-ana"}}}, id="in the parameters"),
        pytest.param("GET", RECOMMENDATIONS_PATH, {"params": {"user_id": "user-ana"}}, id="in the query"),
        pytest.param("GET", f"{PROFILE_PATH}/user-ana", {}, id="in the path"),
    ],
)  # fmt: skip
async def test_no_request_can_name_another_user(
    method: str, path: str, options: dict[str, Any], world: World
) -> None:
    """Whose data are meant is said by the token alone."""
    status, _ = await world.ask(method, path, BEA, **options)
    assert status == (422 if options else 404)


async def test_a_query_does_not_change_whose_profile_it_is(world: World) -> None:
    """What the route does not read does nothing."""
    status, body = await world.ask("GET", PROFILE_PATH, BEA, params={"user_id": "user-ana"})
    assert (status, body["user_id"], body["months"]) == (200, "user-bea", [])


@pytest.mark.usefixtures("home")
async def test_the_profile_is_what_is_stored(world: World) -> None:
    """Months to the watt-hour and oldest first, the supply, and how complete the data are."""
    status, body = await world.ask("GET", PROFILE_PATH)
    months = body.pop("months")
    assert (status, body) == (
        200,
        {
            "user_id": "user-ana",
            "user_name": "Ana",
            "home_type": "flat",
            "data_from": "2025-10-01",
            "data_until": "2026-10-31",
            "supply": {"zone": "peninsula", "power_kw": {"P1": "4.6", "P2": "3.45"}, "province": "Madrid"},
            "data_quality": {"coverage_pct": "100.0", "estimated_pct": body["data_quality"]["estimated_pct"], "data_until": "2026-10-31"},
            "source": "user_profiles_enriched.usage",
        },
    )  # fmt: skip
    march = [reading for reading in READINGS if reading.starts_at.isoformat() >= "2026-02-28T23"]
    march = [reading for reading in march if reading.starts_at.isoformat() < "2026-03-31T22"]
    assert [month["month"] for month in months] == sorted(month["month"] for month in months)
    assert months[5] == {
        "month": "2026-03",
        "kwh": months[5]["kwh"],
        "total_kwh": f"{sum(reading.energy_kwh for reading in march).normalize():f}",  # type: ignore[union-attr]  # of many hours, no 0
        "hours": 743,
        "hours_expected": 743,
        "estimated_hours": months[5]["estimated_hours"],
        "first_day": "2026-03-01",
        "last_day": "2026-03-31",
    }
    assert sum(map(Decimal, months[5]["kwh"].values())) == Decimal(months[5]["total_kwh"])
    assert list(months[5]["kwh"]) == ["P1", "P2", "P3"]


@pytest.mark.usefixtures("home")
async def test_a_profile_that_is_not_there_is_empty_and_stays_away(world: World) -> None:
    """A look creates nothing; the name is the account's if the token says one."""
    empty = {
        "user_id": "user-bea", "user_name": "Usuario", "home_type": None, "data_from": None, "data_until": None,
        "months": [], "supply": {"zone": None, "power_kw": None, "province": None}, "data_quality": None,
        "source": "user_profiles_enriched.usage",
    }  # fmt: skip
    assert await world.ask("GET", PROFILE_PATH, BEA) == (200, empty)
    _, named = await world.ask("GET", PROFILE_PATH, bearer("user-bea", name="Bea"))
    assert (named["user_name"], await world.profiles()) == ("Bea", ["user-ana"])


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("coverage_pct", "data_from"),
    [
        pytest.param("8.5", "2025-11-01", id="of a year"),
        pytest.param("100.0", "2026-10-01", id="of its month"),
        pytest.param("100.0", "2026-10-02", id="more than there can be"),
    ],
)
async def test_missing_and_estimated_hours_are_told(coverage_pct: str, data_from: str, world: World) -> None:
    """Rounded down, over the days from the first to the last: 745 of 8,760 hours are 8.5 %, 744 of 745 are 99.8 %."""
    month = MonthUsage(
        month="2026-10", energy_kwh={}, hours=745, estimated_hours=744,
        first_day="2026-10-01", last_day="2026-10-31",
    )  # fmt: skip
    await world.change_profile(usage={**usage_fields([month]), "data_from": data_from})
    _, body = await world.ask("GET", PROFILE_PATH)
    assert body["data_quality"] == {
        "coverage_pct": coverage_pct, "estimated_pct": "99.8", "data_until": "2026-10-31",
    }  # fmt: skip


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("field", ["usage", "supply"])
async def test_a_profile_that_cannot_be_read_is_not_guessed_at(field: str, world: World) -> None:
    """409 says what would mend it."""
    await world.change_profile(**{field: {"months": {"2026-13": {}}, "zone": "norte"}})
    status, problem = await world.ask("GET", PROFILE_PATH)
    assert (status, problem["reason"]) == (409, "profile-unreadable")
    if field == "supply":
        status, problem = await world.analyse()
        assert (status, problem["reason"]) == (409, "profile-unreadable")


OFFER = {
    "id": "night", "name": "Night", "power_eur_per_kw_day": {"P1": 0.09, "P2": 0.02},
    "energy_eur_per_kwh": {"P1": 0.2, "P2": 0.12, "P3": 0.08},
}  # fmt: skip


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"kind": "consumption", "period": {"start": "2026-03-01", "end": "2026-04-01"}}, id="a month"),
        pytest.param({"kind": "forecast"}, id="forecast"),
        pytest.param({"kind": "solar", "parameters": {"province": "Sevilla"}}, id="solar"),
        pytest.param({"kind": "tariff_comparison", "parameters": {"offers": [OFFER]}}, id="offers"),
        pytest.param({"kind": "bill_check"}, id="not possible"),
        pytest.param({"kind": "consumption", "period": {"start": "2010-03-01", "end": "2010-04-01"}}, id="no hours"),
    ],
)  # fmt: skip
async def test_an_answer_is_what_the_event_would_have_been_answered(
    asked: dict[str, Any], world: World
) -> None:
    """Member by member `analysis.completed`, but for the task; no task is kept or logged."""
    status, body = await world.analyse(**asked)
    rows = await world.stores.analytics.recent_rows(AsyncTaskRow, since=AT, limit=9)
    documents = await world.stores.documents.find("tasks", [], limit=9)
    request = AnalysisRequested.model_validate({"user_id": "user-ana", "task_id": "task-1", **asked})
    [reply] = (await handle(request, world.stores.context(HANDLES.name, asked_at=AT))).replies
    expected = json.loads(reply.data.model_dump_json(exclude={"task_id"}))
    assert (status, body, rows, documents) == (200, expected, [], [])


@pytest.mark.usefixtures("home")
async def test_consumption_of_all_months_is_what_is_computed_unless_told(world: World) -> None:
    """The shortest request, on Ana's 13 months."""
    status, body = await world.analyse()
    assert (status, body["kind"], body["status"]) == (200, "consumption", "success")
    assert {"data_quality", "facts", "kind", "result", "status"} == set(body)
    assert body["facts"]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        pytest.param("kind: Input should be", {"kind": "everything"}, id="kind"),
        pytest.param("perod: Extra inputs", {"perod": None}, id="member"),
        pytest.param("period.end must be after", {"period": {"start": "2026-03-01", "end": "2026-03-01"}}, id="no day"),
        pytest.param("period.end is not a date", {"period": {"start": "2026-02-01", "end": "2026-02-30"}}, id="no such day"),
        pytest.param("years 2000..2100", {"period": {"start": "1999-03-01", "end": "2026-03-01"}}, id="years"),
        pytest.param("parameters.backtest_days", {"parameters": {"backtest_days": 0}}, id="parameter"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_a_problem(said: str, asked: dict[str, Any], world: World) -> None:
    """422 says what is wrong and what is allowed."""
    status, problem = await world.analyse(**asked)
    assert (status, said in problem["detail"]) == (422, True), problem


@pytest.mark.usefixtures("home")
async def test_recommendations_are_those_of_the_event(world: World) -> None:
    """The query's province is the parameters'; without one it is the profile's."""
    first = hour_number(READINGS[0].starts_at)
    prices = HourlyPrices(
        zone=TariffZone.PENINSULA,
        start_hours=np.arange(first, first + len(READINGS)),
        price_neur=np.full(len(READINGS), 150_000_000),
    )
    await world.stores.analytics.store_prices(prices)
    answers = {}
    for province in ("Sevilla", "Madrid"):
        asked = {"user_id": "user-ana", "kind": "recommendations", "parameters": {"province": province}}
        context = world.stores.context(HANDLES.name, asked_at=AT)
        [reply] = (await handle(AnalysisRequested.model_validate(asked), context)).replies
        answers[province] = json.loads(reply.data.model_dump_json(exclude={"task_id"}))
    assert answers["Sevilla"] != answers["Madrid"]
    named = await world.ask("GET", RECOMMENDATIONS_PATH, params={"province": "sevilla"})
    default = await world.ask("GET", RECOMMENDATIONS_PATH)
    assert (named, default) == ((200, answers["Sevilla"]), (200, answers["Madrid"]))


@pytest.mark.parametrize(
    ("said", "query"),
    [
        pytest.param("known: A Coruña", "province=Atlantis", id="no province"),
        pytest.param("at least 1 character", "province=", id="empty"),
        pytest.param("at most 60 characters", f"province={'x' * 61}", id="long"),
        pytest.param("given once", "province=Madrid&province=Sevilla", id="twice"),
        pytest.param("provincia: Extra inputs", "provincia=Madrid", id="unknown"),
    ],
)
async def test_a_query_is_read_strictly(said: str, query: str, world: World) -> None:
    """422 says what is allowed; the value is repeated only as far as a province's name goes."""
    status, problem = await world.ask("GET", f"{RECOMMENDATIONS_PATH}?{query}")
    assert (status, said in problem["detail"]) == (422, True), problem


class Slow:
    """An analysis that ends when the test lets it."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = 0
        self.ended = 0

    def __call__(self, *_: Any, **__: Any) -> Outcome:
        self.begun += 1
        assert self.go_on.wait(20)
        self.ended += 1
        return Outcome(status="success", report=Report(result={}))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Make analyses take as long as the test wants."""
    made = Slow()
    monkeypatch.setattr(energy_routes, "analysis_outcome", made)
    yield made
    made.go_on.set()


@pytest.mark.usefixtures("home")
async def test_an_analysis_that_takes_too_long_says_where_to_submit_it(
    slow: Slow, make_world: MakeWorld
) -> None:
    """504 in time; the thread goes on, and has its user's turn until it ends."""
    world: World = await make_world(limit_s=0.1)
    answers = [await world.analyse() for _ in range(3)]
    assert [(status, body["reason"]) for status, body in answers] == [
        (504, "took-too-long"), (504, "took-too-long"), (429, "too-many-analyses"),
    ]  # fmt: skip
    assert "/api/v1/async/submit" in answers[0][1]["detail"]
    assert (await world.analyse(BEA))[0] == 504  # her turn is her own
    slow.go_on.set()
    await until(lambda: slow.ended == slow.begun == 3)
    async with asyncio.timeout(20):  # a busy machine may not do it in a tenth of a second: then he asks again
        while (status := (await world.analyse())[0]) == 504:
            await until(lambda: slow.ended == slow.begun)
    assert status == 200


@pytest.mark.usefixtures("home")
async def test_nobody_takes_all_the_turns(slow: Slow, make_world: MakeWorld) -> None:
    """Four are computed at once, two of one user; the fifth waits, and is computed when one ends."""
    world: World = await make_world()
    people = [bearer(f"user-{number % 3}") for number in range(5)]
    asked = [asyncio.create_task(world.analyse(who)) for who in people]
    await until(lambda: slow.begun == 4)
    refused, _ = await world.analyse(people[0])
    await asyncio.sleep(0.05)
    assert (refused, slow.begun) == (429, 4)
    slow.go_on.set()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 5


async def test_whoever_gives_up_waiting_leaves_his_place() -> None:
    """He may come again, and nobody waits behind him."""
    go_on = threading.Event()
    turns = AnalysisTurns(at_once=1, per_user=1)
    first = asyncio.create_task(turns.run("user-ana", lambda: go_on.wait(20)))
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await turns.run("user-bea", lambda: None)
    go_on.set()
    assert (await first, await turns.run("user-bea", lambda: 7)) == (True, 7)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_store_the_answer_says_when_to_come_again(
    method: str, path: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, and nothing of what the store said."""

    async def down(_key: DocKey) -> Document | None:
        raise StoreUnavailableError("documents: canary", retry_after_s=7.2)

    monkeypatch.setattr(world.stores.documents, "get", down)
    options: dict[str, Any] = {"json": {}} if method == "POST" else {}
    response = await world.client.request(method, path, headers=ANA, **options)
    said = await response.text()
    assert (response.status, response.headers["Retry-After"], "canary" in said) == (503, "8", False)
