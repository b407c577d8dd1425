"""The client of the price API, against a server on this machine that hands out recorded answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.prices import HourlyPrices
from expert_bot.errors import TransientError, UsageError
from expert_bot.storage import esios
from expert_bot.storage.esios import EsiosClient

DAY = date(2021, 10, 31)
NEXT_DAY = date(2021, 11, 1)
ARCHIVE = "/archives/70/download_json"
INDICATOR = "/indicators/1001"


@dataclass
class PriceServer:
    """Answers with what it is told, in turn, the last answer for ever; remembers what it was asked."""

    samples: Path
    answers: list[web.Response | str | bytes | float]
    asked: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer: a response as it is, a sample's name, bytes, or nothing for so many seconds."""
        self.asked.append((request.path, dict(request.query), request.headers.get("x-api-key")))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, headers=answer.headers)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return web.Response()
        body = answer if isinstance(answer, bytes) else (self.samples / f"{answer}.json").read_bytes()
        return web.Response(body=body, content_type="application/json")


Serve = Callable[..., Awaitable[PriceServer]]


@pytest.fixture
async def serve(shared_data: Path) -> AsyncIterator[Serve]:
    """Start servers; stop them after the test."""
    started: list[TestServer] = []

    async def start(*answers: web.Response | str | bytes | float) -> PriceServer:
        prices = PriceServer(shared_data / "energy" / "esios_samples", list(answers))
        app = web.Application()
        app.router.add_get("/{path:.*}", prices.handle)
        server = TestServer(app)
        await server.start_server()
        started.append(server)
        prices.url = str(server.make_url("/"))
        return prices

    yield start
    for server in started:
        await server.close()


@asynccontextmanager
async def client(server: PriceServer, **options: object) -> AsyncIterator[EsiosClient]:
    """Return a client that does not wait long."""
    quick = {"first_pause_s": 0.01, "timeout_s": 5.0, **options}
    async with EsiosClient(base_url=server.url, **quick) as made:  # type: ignore[arg-type]  # options of many types
        yield made


async def fetch(
    server: PriceServer,
    first: date = DAY,
    until: date = NEXT_DAY,
    zone: TariffZone = TariffZone.PENINSULA,
    **options: object,
) -> list[HourlyPrices]:
    """Return all parts."""
    async with client(server, **options) as made:
        return [part async for part in made.prices(first, until, zone)]


async def test_without_a_token_the_archive_is_asked_day_by_day(serve: Serve) -> None:
    """Each day is a question of its own; the prices are those of the day."""
    server = await serve("PVPC_CURV_DD_2021_10_30", "PVPC_CURV_DD_2021_10_31")
    parts = await fetch(server, first=date(2021, 10, 30))
    assert [len(part) for part in parts] == [24, 25]
    assert [(ARCHIVE, f"2021-10-{day}", None) for day in (30, 31)] == [
        (path, query["date"], token) for path, query, token in server.asked
    ]


async def test_with_a_token_the_indicator_is_asked_for_a_month(serve: Serve) -> None:
    """The token goes into a header, the zone into the query; one question is for up to 31 days."""
    server = await serve("PRICES_ESIOS_1001_2021_10_31")
    (part,) = await fetch(server, token="a-token", zone=TariffZone.CANARIAS)  # noqa: S106 # invented
    assert (len(part), part.zone, part.first_day) == (25, TariffZone.CANARIAS, DAY)
    assert server.asked == [
        (
            INDICATOR,
            {
                "start_date": "2021-10-31T00:00",
                "end_date": "2021-10-31T23:59",
                "time_trunc": "hour",
                "geo_ids[]": "8742",
            },
            "a-token",
        )
    ]


async def test_a_busy_api_is_asked_again(serve: Serve) -> None:
    """Errors that pass, and answers that do not come, are tried again."""
    server = await serve(
        web.Response(status=503),
        web.Response(status=429, headers={"Retry-After": "0"}),
        9.0,
        "PVPC_CURV_DD_2021_10_31",
    )
    (part,) = await fetch(server, timeout_s=0.5)
    assert len(part) == 25
    assert len(server.asked) == 4


async def test_an_api_that_stays_busy_is_a_passing_error(serve: Serve) -> None:
    """After the last attempt the caller may try again later; what came before stays."""
    server = await serve("PVPC_CURV_DD_2021_10_30", web.Response(status=502))
    parts: list[HourlyPrices] = []

    async def collect() -> None:
        async with client(server, attempts=2) as made:
            async for part in made.prices(date(2021, 10, 30), NEXT_DAY, TariffZone.PENINSULA):
                parts.append(part)  # noqa: PERF401 # what was yielded before the error counts

    with pytest.raises(TransientError, match="did not answer: status 502"):
        await collect()
    assert [len(part) for part in parts] == [24]
    assert len(server.asked) == 3


async def test_an_api_that_is_not_there_is_a_passing_error() -> None:
    """No connection is not a wrong use."""
    server = PriceServer(Path(), [], url="http://127.0.0.1:1")
    with pytest.raises(TransientError, match=r"price API http://127\.0\.0\.1:1 did not answer"):
        await fetch(server, attempts=2)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param("refused the request .status 403.: check the token", web.Response(status=403), id="denied"),
        pytest.param("has no prices for 2021-10-31 .yet.", web.Response(status=404), id="not published"),
        pytest.param("answered status 302", web.Response(status=302, headers={"Location": "/"}), id="elsewhere"),
        pytest.param("answer for 2021-10-31 cannot be used: the file is no file of prices", b"<html>", id="a page"),
        pytest.param("has no prices of peninsula for 2021-10-31 .yet.", "PVPC_CURV_DD_2021_06_01", id="another day"),
    ],
)  # fmt: skip
async def test_an_answer_that_never_helps_is_not_asked_for_again(
    serve: Serve, message: str, answer: web.Response | bytes | str
) -> None:
    """One question, and the message says what was wrong."""
    server = await serve(answer)
    with pytest.raises(UsageError, match=message):
        await fetch(server)
    assert len(server.asked) == 1


async def test_an_answer_without_end_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than prices can have are not read."""
    monkeypatch.setattr(esios, "MAX_RESPONSE_BYTES", 1000)
    server = await serve("PVPC_CURV_DD_2021_10_31")
    with pytest.raises(UsageError, match="more than 1000 bytes"):
        await fetch(server)


@pytest.mark.parametrize(
    ("message", "first", "until"),
    [
        pytest.param("no PVPC of the 2.0TD before 2021-06-01", date(2021, 5, 31), DAY, id="too early"),
        pytest.param("must be later than --from", DAY, DAY, id="no day"),
    ],
)
async def test_days_without_prices_are_not_asked_for(
    serve: Serve, message: str, first: date, until: date
) -> None:
    """Nothing is sent for days that can have no answer."""
    server = await serve("PVPC_CURV_DD_2021_10_31")
    with pytest.raises(UsageError, match=message):
        await fetch(server, first=first, until=until)
    assert server.asked == []


async def test_a_client_is_opened_before_it_is_used() -> None:
    """Outside its context there is no connection."""
    with pytest.raises(RuntimeError, match="async context manager"):
        await anext(EsiosClient(base_url="http://127.0.0.1:9").prices(DAY, NEXT_DAY, TariffZone.PENINSULA))
