"""What BigQuery's client does when the service refuses, fails, hangs or is not there: one error, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from expert_bot.errors import StoreUnavailableError
from expert_bot.ports_analytics import UserAnalyticsRow
from expert_bot.storage.bigquery_analytics import BigqueryAnalytics
from expert_bot.storage.bigquery_jobs import Limits
from tests.emulators import free_port

LIMITS = Limits(job_s=0.4, call_s=0.2, billed_bytes=12345)
ROW = UserAnalyticsRow(
    row_id="r", recorded_at=datetime(2024, 1, 1, tzinfo=UTC), user_id="ana", name="n", value=Decimal(1)
)


@dataclass
class ScriptedService:
    """Answers every request in the same way and remembers what it was asked."""

    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    pause_s: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json() if request.can_read_body else {})
        await asyncio.sleep(self.pause_s)
        return web.json_response(self.answer, status=self.status)


Connect = Callable[[ScriptedService], Awaitable[BigqueryAnalytics]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make clients of scripted services, closed afterwards."""
    opened: list[tuple[BigqueryAnalytics, TestServer]] = []

    async def start(service: ScriptedService) -> BigqueryAnalytics:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", service.handle)
        server = TestServer(app)
        await server.start_server()
        analytics = client_of(f"127.0.0.1:{server.port}")
        opened.append((analytics, server))
        return analytics

    yield start
    for analytics, server in opened:
        await analytics.close()
        await server.close()


def client_of(host: str) -> BigqueryAnalytics:
    """Return analytics whose service is at `host`, with limits of tenths of seconds."""
    return BigqueryAnalytics(project="p", dataset="d", pseudonym=str.upper, emulator_host=host, limits=LIMITS)


def refusal(reason: str, message: str) -> dict[str, Any]:
    """Return an error as BigQuery writes it."""
    return {"error": {"code": 400, "message": message, "errors": [{"reason": reason, "message": message}]}}


@pytest.mark.parametrize(
    ("says", "service"),
    [
        pytest.param("no right", ScriptedService(403, refusal("accessDenied", "no right")), id="refused"),
        pytest.param("no table", ScriptedService(404, refusal("notFound", "no table")), id="not found"),
        pytest.param("broken", ScriptedService(503, refusal("backendError", "broken")), id="broken for long"),
        pytest.param("", ScriptedService(pause_s=30), id="hangs"),
    ],
)
async def test_every_failure_is_an_outage_in_time(
    says: str, service: ScriptedService, connect: Connect
) -> None:
    """Whatever the client raises becomes StoreUnavailableError, which names the operation, within the limits."""
    analytics = await connect(service)
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailableError, match=f"BigQuery monthly_usage: .*{says}"):
            await analytics.monthly_usage("ana")
        with pytest.raises(StoreUnavailableError, match="BigQuery append"):
            await analytics.append([ROW])


async def test_nobody_there_is_an_outage_in_time() -> None:
    """A service that cannot be reached at all is an outage like any other."""
    analytics = client_of(f"127.0.0.1:{free_port()}")
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailableError, match="BigQuery ping"):
            await analytics.ping()
    await analytics.close()


async def test_an_error_does_not_repeat_the_statement(connect: Connect) -> None:
    """Messages keep their first line: what follows may be the statement and what users brought."""
    service = ScriptedService(400, refusal("invalidQuery", "wrong\nSELECT 'canary'"))
    with pytest.raises(StoreUnavailableError) as failed:
        await (await connect(service)).monthly_usage("ana")
    assert "canary" not in str(failed.value)


async def test_rows_that_the_service_refuses_are_an_outage(connect: Connect) -> None:
    """A streamed row that was not taken is an error, though the request succeeded."""
    service = ScriptedService(answer={"insertErrors": [{"index": 0, "errors": [{"reason": "invalid"}]}]})
    with pytest.raises(StoreUnavailableError, match=r"user_analytics: .*invalid"):
        await (await connect(service)).append([ROW])


async def test_streamed_rows_carry_their_ids(connect: Connect) -> None:
    """The service can tell a repetition by the row's own id; users are pseudonyms there too."""
    service = ScriptedService()
    await (await connect(service)).append([ROW])
    [request] = service.asked
    assert request["rows"] == [
        {
            "insertId": "r",
            "json": {
                "row_id": "r",
                "recorded_at": "2024-01-01T00:00:00.000000",
                "user_id": "ANA",
                "name": "n",
                "value": "1.000000000",
            },
        }
    ]


async def test_many_rows_are_several_requests(connect: Connect) -> None:
    """A request has at most 500 rows, as Google recommends."""
    service = ScriptedService()
    rows = [
        UserAnalyticsRow(row_id=str(n), recorded_at=ROW.recorded_at, user_id="ana", name="n", value=ROW.value)
        for n in range(1001)
    ]
    await (await connect(service)).append(rows)
    assert [len(request["rows"]) for request in service.asked] == [500, 500, 1]


async def test_jobs_are_labelled_and_limited(connect: Connect) -> None:
    """What a query costs can be found by its operation, and is cut off; users are parameters, never text."""
    service = ScriptedService(400, refusal("invalidQuery", "as asked"))
    with pytest.raises(StoreUnavailableError):
        await (await connect(service)).monthly_usage("ana")
    [request] = service.asked
    assert request["labels"] == {"service": "expert-bot", "operation": "monthly_usage"}
    assert (request["maximumBytesBilled"], request["jobTimeoutMs"]) == ("12345", "400")
    assert "ANA" not in request["query"]
    assert [each["parameterValue"]["value"] for each in request["queryParameters"]] == ["ANA"]
