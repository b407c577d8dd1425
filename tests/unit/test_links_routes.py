"""Short links over HTTP: who makes them, where they lead, what they never tell, and clicks that are counted exactly."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from expert_bot.errors import PreconditionFailedError, StoreUnavailableError
from expert_bot.handlers import Context
from expert_bot.http import link_clicks
from expert_bot.http.callers import Level, level_of
from expert_bot.http.link_clicks import CLICKED, LinkClicks
from expert_bot.http.links_routes import CREATE_PATH, links_routes
from expert_bot.http.server import make_app
from expert_bot.links.hosts import AllowedDomains
from expert_bot.links.ids import LinkIds
from expert_bot.links.stored import NOT_FOUND, RESOLVE_PATH, Link, LinkRules, created, link_key
from expert_bot.ports import DocKey, Document, Put, Update, Version, Write
from expert_bot.ports_analytics import LogRow, UserAnalyticsRow
from expert_bot.publishers import RequestClient
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.row_batches import RowBatches
from tests.unit.http_people import ANA, AT, BEA, STRANGERS, Client, MakeClient, SetClock, callers
from tests.waiting import until

URL = "https://www.smarwatt.com/facturas?id=7&next=%2Fa#b"
CORPORA = Path(__file__).parents[1] / "security"
RULES = LinkRules(
    domains=AllowedDomains.parse(["smarwatt.com"]),
    make_id=LinkIds(bytes(32)),
    public_url="https://bot.smarwatt.com",
)
ORIGIN = CloudEvent(id="e-1", source="//energy-ia", type="x", data=b"")


class FewIds(LinkIds):
    """Ids that every request has the same of: the first is taken by whoever comes first."""

    def __call__(self, source: str, event_id: str, attempt: int) -> str:
        return f"collision{attempt:03}"


class Store(MemoryDocuments):
    """Documents that count what is written, and can be down or be overtaken."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = self.reads = 0
        self.down = False
        self.overtaking: list[Write] = []

    async def get(self, key: DocKey) -> Document | None:
        self.reads += 1
        if self.down:
            raise StoreUnavailableError("documents: canary", retry_after_s=7.2)
        return await super().get(key)

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        self.commits += 1
        if self.overtaking:
            await super().commit([self.overtaking.pop()])
        return await super().commit(writes)


class Rows:
    """An analytics store that takes rows, or is down, or waits."""

    def __init__(self) -> None:
        self.rows: dict[str, LogRow] = {}
        self.down = False

    async def append(self, rows: Sequence[LogRow]) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailableError("analytics: no connection")
        self.rows |= {row.row_id: row for row in rows}

    def clicks(self) -> dict[tuple[str, str], int]:
        """Return the clicks of each owner's links that have arrived."""
        sums = Counter[tuple[str, str]]()
        for row in self.rows.values():
            assert isinstance(row, UserAnalyticsRow)
            sums[row.user_id, row.name.removeprefix(CLICKED)] += int(row.value)
        return dict(sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The two routes and what they stand on."""

    client: Client
    documents: Store
    rows: Rows
    clicks: LinkClicks
    clock: SetClock

    async def create(self, identity: dict[str, str] = ANA, **asked: Any) -> tuple[ClientResponse, Any]:
        """Ask for a link; return the response and its body."""
        response = await self.client.post(CREATE_PATH, json={"url": URL} | asked, headers=identity)
        return response, await response.json()

    async def made(self, identity: dict[str, str] = ANA, **asked: Any) -> str:
        """Make a link and return its id."""
        response, body = await self.create(identity, **asked)
        assert response.status == 201, body
        return str(body["link_id"])

    async def follow(self, link_id: str, method: str = "GET") -> ClientResponse:
        """Follow a link as far as the service leads, with nobody's token."""
        path = f"{RESOLVE_PATH}{quote(link_id, safe='')}"
        return await self.client.request(method, path, allow_redirects=False)

    async def stored(self) -> list[Document]:
        """Return every link there is."""
        return await self.documents.find("links", [], limit=1000)


async def serve(make_client: MakeClient, rules: LinkRules | None = RULES) -> World:
    """Serve the two routes over documents in memory."""
    documents, rows, clock = Store(), Rows(), SetClock()
    clicks = LinkClicks(rows, clock, every_s=3600)

    def make_context(event: CloudEvent) -> Context:
        return Context(
            event=event, asked_at=event.time or AT, received_at=AT, documents=documents, links=rules,
            identity=None, analytics=None, files=None, confirmed={},  # type: ignore[arg-type]  # not for links
        )  # fmt: skip

    requests = RequestClient(
        publisher=None, admin=None, make_consumer=None, clock=clock, source="urn:smarwatt:expert-bot",  # type: ignore[arg-type]  # publishes nothing
    )  # fmt: skip
    app = make_app(
        links_routes(
            callers(), documents=documents, requests=requests, make_context=make_context, rules=rules,
            clock=clock, clicks=clicks,
        )
    )  # fmt: skip
    app.cleanup_ctx.append(clicks.running)
    client = await make_client(app)
    return World(client=client, documents=documents, rows=rows, clicks=clicks, clock=clock)


@pytest.fixture
async def world(aiohttp_client: MakeClient) -> World:
    """Serve the two routes."""
    return await serve(aiohttp_client)


def test_making_asks_for_a_token_and_following_does_not() -> None:
    """Links are for people who have no account."""
    routes = links_routes(
        callers(), documents=None, requests=None, make_context=None, rules=None, clock=None, clicks=None,  # type: ignore[arg-type]  # never called
    )  # fmt: skip
    assert [(route.method, level_of(route.handler)) for route in routes] == [
        ("POST", Level.TOKEN),
        ("GET", None),
    ]


@pytest.mark.parametrize("who", STRANGERS)
async def test_nobody_without_a_token_makes_a_link(who: str, world: World) -> None:
    """401, and nothing is stored."""
    response, _ = await world.create(STRANGERS[who])
    assert (response.status, await world.stored()) == (401, [])


async def test_a_link_leads_to_the_url_it_was_made_for(world: World) -> None:
    """201 says where it is and until when; 302 leads to the stored URL, byte by byte, and says nothing else."""
    response, body = await world.create(purpose="help")
    link_id = body["link_id"]
    short = f"https://bot.smarwatt.com/api/v1/links/resolve/{link_id}"
    assert (response.status, body) == (
        201,
        {"link_id": link_id, "short_url": short, "expires_at": "2027-01-31T09:30:00Z"},
    )
    assert (response.headers["Location"], response.headers["Cache-Control"]) == (short, "no-store")
    followed = await world.follow(link_id)
    assert (followed.status, followed.headers["Location"], await followed.read()) == (302, URL, b"")
    assert {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}.items() <= followed.headers.items()  # fmt: skip
    [document] = await world.stored()
    assert (document.fields["user_id"], document.fields["purpose"]) == ("user-ana", "help")


async def test_each_request_makes_a_link_of_its_callers_own(world: World) -> None:
    """Also for the same URL: each has its owner, and can be disabled by itself."""
    made = [await world.made(who) for who in (ANA, ANA, BEA)]
    owners = {document.key.id: document.fields["user_id"] for document in await world.stored()}
    assert owners == dict(zip(made, ("user-ana", "user-ana", "user-bea"), strict=True))


@pytest.mark.parametrize(
    ("status", "said", "asked"),
    [
        pytest.param("unsafe-url", "EXPERT_BOT_LINK_DOMAINS", {"url": "https://evil.com/canary"}, id="another domain"),
        pytest.param("unsafe-url", "https://", {"url": "javascript:canary"}, id="another scheme"),
        pytest.param("unsafe-url", "user name", {"url": "https://canary:canary@smarwatt.com/"}, id="a password"),
        pytest.param("unusable-expiry", "later than", {"expires_at": "2026-11-02T09:30:00Z"}, id="over at once"),
        pytest.param("unusable-expiry", "1830 days", {"expires_at": "2099-01-01T00:00:00Z"}, id="for ever"),
        pytest.param("unusable-expiry", "timestamp", {"expires_at": "2027-02-30T00:00:00Z"}, id="no such day"),
        pytest.param(None, "expires_at: String should match", {"expires_at": "tomorrow"}, id="no instant"),
        pytest.param(None, "url: String should have at least", {"url": ""}, id="empty"),
        pytest.param(None, "url: String should have at most", {"url": f"https://smarwatt.com/{'x' * 2048}"}, id="long"),
        pytest.param(None, "url: Input should be", {"url": ["https://smarwatt.com/"]}, id="list"),
        pytest.param(None, "purpose: String should have", {"purpose": ""}, id="no purpose"),
        pytest.param(None, "user_id: Extra inputs", {"user_id": "user-bea"}, id="another owner"),
        pytest.param(None, "link_id: Extra inputs", {"link_id": "mine000000"}, id="an id of one's own"),
    ],
)  # fmt: skip
async def test_what_cannot_become_a_link_is_a_problem(
    status: str | None, said: str, asked: dict[str, Any], world: World
) -> None:
    """422 says what is allowed and repeats nothing of the URL; nothing is stored."""
    response, problem = await world.create(**asked)
    assert (response.status, problem.get("reason"), said in problem["detail"]) == (422, status, True), problem
    assert ("canary" in json.dumps(problem), await world.stored()) == (False, [])


async def test_no_hostile_url_becomes_a_link_and_every_good_one_does(world: World) -> None:
    """The corpora of the rules, through the route: 0 accepted, 0 refused, led to in the form that was checked."""
    groups = json.loads((CORPORA / "hostile_urls.json").read_text("utf-8"))
    good = json.loads((CORPORA / "good_urls.json").read_text("utf-8"))
    refused = [(await world.create(url=url))[0].status for group in groups for url in group["urls"]]
    assert (set(refused) <= {400, 422}, await world.stored()) == (True, [])
    led_to = {}
    for each in good:
        followed = await world.follow(await world.made(url=each["url"]))
        led_to[each["stored"]] = followed.headers["Location"]
    assert led_to == {stored: stored for stored in led_to}
    assert len(led_to) >= 100


async def test_a_link_is_over_at_its_end(world: World) -> None:
    """Until then it leads on."""
    link_id = await world.made(expires_at="2026-11-02T12:30:00+01:00")
    statuses = []
    for minutes in (0, 119, 120, 10_000):
        world.clock.at = AT + timedelta(minutes=minutes)
        statuses.append((await world.follow(link_id)).status)
    assert statuses == [302, 302, 404, 404]


async def test_every_way_to_lead_nowhere_is_one_answer(world: World) -> None:
    """Unknown, expired, disabled, unsafe by now, damaged, or no link's id at all: status, body and headers are the same."""
    links = {name: await world.made() for name in ("expired", "disabled", "unsafe", "endless", "no url")}
    for name, fields in {
        "expired": {"expires_at": AT},
        "disabled": {"disabled": True},
        "unsafe": {"url": "https://evil.com/"},
        "endless": {"expires_at": None},
        "no url": {"url": 7},
    }.items():
        await world.documents.commit([Update(link_key(links[name]), fields)])  # type: ignore[arg-type]  # values of a document
    hostile = ["unknown00000", "x", "__inbox__", "a" * 65, "a" * 5000, "a/b", "ñandú12345", "0" * 10 + "\n", "0" * 10 + "\x00", "' OR 1=1 --", "%2e%2e%2f", "user-ana"]  # fmt: skip
    answers = []
    reads = world.documents.reads
    for link_id in (*links.values(), *hostile):
        response = await world.follow(link_id)
        headers = {name: value for name, value in response.headers.items() if name != "Date"}
        answers.append((response.status, headers, await response.json()))
    assert answers == [answers[0]] * len(answers)
    assert world.documents.reads - reads == len(links) + 1  # what can be no id is not looked for
    status, headers, problem = answers[0]
    assert (status, problem["detail"], headers["Cache-Control"], headers["Referrer-Policy"]) == (
        404, NOT_FOUND, "no-store", "no-referrer",
    )  # fmt: skip


async def test_the_log_says_why_a_link_leads_nowhere_and_not_which(world: World) -> None:
    """Whoever looks after the service sees the reason; an id in a log would be as good as the link."""
    link_id = await world.made()
    await world.documents.commit([Update(link_key(link_id), {"disabled": True})])
    with capture_logs() as log:
        await world.follow(link_id)
        await world.follow("unknown00000")
    assert log == [{"event": "link_leads_nowhere", "log_level": "info", "why": "disabled"}]


async def test_clicks_are_exact_after_they_are_handed_on(world: World) -> None:
    """400 at the same time, handed on four times meanwhile; HEAD and what leads nowhere count nothing, nor is anything written."""
    links = {await world.made(who): who for who in (ANA, ANA, BEA)}
    owners = {link: "user-ana" if who is ANA else "user-bea" for link, who in links.items()}
    commits = world.documents.commits
    first, second, third = links
    wanted = [first] * 250 + [second] * 100 + [third] * 50
    for begin in range(0, 400, 100):
        followed = [world.follow(link_id) for link_id in wanted[begin : begin + 100]]
        others = [world.follow(first, "HEAD"), world.follow("unknown00000")]
        statuses = [each.status for each in await asyncio.gather(*followed, *others)]
        assert statuses == [302] * 101 + [404]
        await world.clicks.hand_on()
    assert world.documents.commits == commits
    await world.client.close()
    assert world.rows.clicks() == {
        (owners[first], first): 250, (owners[second], second): 100, (owners[third], third): 50,
    }  # fmt: skip


async def test_the_last_clicks_are_handed_on_when_the_application_ends(world: World) -> None:
    """Those that nobody has handed on before; afterwards nothing runs."""
    link_id = await world.made()
    for _ in range(3):
        await world.follow(link_id)
    assert world.rows.rows == {}
    await world.client.close()
    assert world.rows.clicks() == {("user-ana", link_id): 3}


async def test_clicks_are_handed_on_by_themselves() -> None:
    """Whenever the time has come, without a request's doing."""
    rows = Rows()
    clicks = LinkClicks(rows, SetClock(), every_s=0.01)
    running = clicks.running(None)  # type: ignore[arg-type]  # the application is not looked at
    await anext(running)
    clicks.count("user-ana", "link000000")
    await until(lambda: not clicks.waiting)
    clicks.count("user-ana", "link000000")
    await anext(running, None)
    assert (rows.clicks(), len(rows.rows)) == ({("user-ana", "link000000"): 2}, 2)


async def test_an_outage_of_analytics_costs_no_click_and_no_redirect(world: World) -> None:
    """Links lead on, and what was clicked meanwhile arrives, once."""
    link_id = await world.made()
    world.rows.down = True
    for _ in range(3):
        assert (await world.follow(link_id)).status == 302
        await world.clicks.hand_on()
    world.rows.down = False
    await world.follow(link_id)
    await world.client.close()
    assert world.rows.clicks() == {("user-ana", link_id): 4}


@pytest.mark.parametrize("lost", ["analytics_rows_lost", "link_clicks_lost"])
async def test_clicks_that_are_lost_are_told(
    lost: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end takes no longer than it may: rows that were not stored are logged, and clicks that found no room."""

    async def wait(_row: LogRow) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(link_clicks, "AT_THE_END_S", 0.05)
    world.rows.down = True
    if lost == "link_clicks_lost":
        monkeypatch.setattr(RowBatches, "put", lambda _, row: wait(row))
    await world.follow(await world.made())
    with capture_logs() as log:
        await world.client.close()
    assert [line["event"] for line in log if line["event"].endswith("_lost")] == [lost]


async def test_handing_on_that_is_interrupted_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that found no room stay counted, those that were taken do not."""
    taken: list[UserAnalyticsRow] = []
    room = 2

    async def put(_batches: RowBatches, row: UserAnalyticsRow) -> None:
        if len(taken) == room:
            raise StoreUnavailableError("no room")
        taken.append(row)

    monkeypatch.setattr(RowBatches, "put", put)
    clicks = LinkClicks(Rows(), SetClock())
    for number in range(5):
        clicks.count("user-ana", f"link{number:06}")
    with pytest.raises(StoreUnavailableError):
        await clicks.hand_on()
    clicks.count("user-ana", "link000000")
    room = 6
    await clicks.hand_on()
    sums = Counter[str]()
    for row in taken:
        sums[row.name] += int(row.value)
    assert sums == {f"{CLICKED}link{number:06}": 2 if number == 0 else 1 for number in range(5)}
    assert len({row.row_id for row in taken}) == 6


async def test_without_a_store_nothing_is_promised(world: World) -> None:
    """503 says when to come again and nothing of what the store said; nothing is counted."""
    link_id = await world.made()
    world.documents.down = True
    response, problem = await world.create()
    followed = await world.follow(link_id)
    assert (response.status, response.headers["Retry-After"]) == (503, "8")
    assert (followed.status, followed.headers["Retry-After"]) == (503, "8")
    assert "canary" not in json.dumps(problem) + await followed.text()
    await world.client.close()
    assert world.rows.clicks() == {}


async def test_without_a_public_url_no_link_is_made_and_none_leads_on(aiohttp_client: MakeClient) -> None:
    """501 names the setting."""
    world = await serve(aiohttp_client, rules=None)
    response, problem = await world.create()
    assert (response.status, problem["reason"]) == (501, "links-off")
    assert "EXPERT_BOT_PUBLIC_URL" in problem["detail"]
    assert (await world.follow("unknown00000")).status == 404


async def test_an_id_that_is_taken_meanwhile_is_left_to_whoever_has_it(aiohttp_client: MakeClient) -> None:
    """The second gets the next one; the first's link still leads where it led."""
    rules = replace(RULES, make_id=FewIds(bytes(32)))
    world = await serve(aiohttp_client, rules)
    other = Link(
        link_id="collision000", url="https://smarwatt.com/other", user_id="user-bea", purpose=None,
        created_at=AT, expires_at=AT + timedelta(days=1),
    )  # fmt: skip
    world.documents.overtaking = [created(other, ORIGIN)]
    assert await world.made() == "collision001"
    assert (await world.follow("collision000")).headers["Location"] == other.url


async def test_a_commit_that_was_made_after_all_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store says that the link was there already, because it was: it is the caller's."""
    commit = world.documents.commit

    async def commit_twice(writes: Sequence[Write]) -> list[Version]:
        await commit(writes)
        raise PreconditionFailedError("it is there")

    monkeypatch.setattr(world.documents, "commit", commit_twice)
    link_id = await world.made()
    assert [document.key.id for document in await world.stored()] == [link_id]


async def test_a_link_without_an_owner_leads_on_and_counts_for_nobody(world: World) -> None:
    """A document that somebody has made by hand."""
    fields = {"url": URL, "disabled": False, "expires_at": AT + timedelta(days=1)}
    await world.documents.commit([Put(link_key("byhand0000"), fields)])
    assert (await world.follow("byhand0000")).status == 302
    await world.client.close()
    assert world.rows.clicks() == {}
