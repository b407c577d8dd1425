"""A dead key server closes the push endpoint, and nothing else: 10,000 pushes, no 2xx, and health answers as ever."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from statistics import quantiles

import pytest
from aiohttp import ClientSession, TCPConnector

from expert_bot.http.oidc_keys import FETCH_TIMEOUT_S
from tests.emulator.processes import service
from tests.token_mint import AUDIENCE, EMAIL, claims, signer

pytestmark = pytest.mark.slow

PUSHES = 10_000
AT_ONCE = 32
PUSH = "/push/expert-bot-chat-requests"
SAMPLE_EVERY_S = 0.01
LEAST_P99_S = 0.05  # below that the machine's own noise is measured
MANY_TIMES = 10


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Listen on a port of loopback, accept every connection, and never say anything."""
    opened: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        with suppress(ConnectionError):
            await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        assert opened, "the key server was never asked"
    finally:
        server.close()
        for writer in opened:
            writer.close()


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    """Find a port of loopback on which nobody listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    yield port


async def time_health(
    client: ClientSession, address: str, enough: Callable[[list[float]], bool]
) -> list[float]:
    """Ask for health until there are enough samples, and return how long each took, in seconds."""
    took: list[float] = []
    while not enough(took):
        started = time.perf_counter()
        async with client.get(f"{address}/api/v1/health") as response:
            assert response.status == 200
        took.append(time.perf_counter() - started)
        await asyncio.sleep(SAMPLE_EVERY_S)  # the pace of the samples
    return took


async def push_all(client: ClientSession, address: str) -> Counter[tuple[int, bool]]:
    """Push with a token that only the keys could prove right or wrong; count statuses and whether they say when to come again."""
    seen: Counter[tuple[int, bool]] = Counter()
    headers = {"Authorization": f"Bearer {signer().sign(claims())}", "ce-id": "e-1"}

    async def push_some() -> None:
        for _ in range(PUSHES // AT_ONCE + 1):
            async with client.post(address + PUSH, headers=headers, data=b"{}") as response:
                seen[response.status, "Retry-After" in response.headers] += 1

    await asyncio.gather(*(push_some() for _ in range(AT_ONCE)))
    return seen


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(seconds, n=100)[98]


@pytest.mark.parametrize("dead", [silent, refusing])
async def test_a_dead_key_server_closes_push_and_nothing_else(
    dead: Callable[[], AbstractAsyncContextManager[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every push is to come again, none is accepted, and the process goes on answering."""
    async with dead() as port, ClientSession(connector=TCPConnector(limit=0)) as client:
        environment = {
            "PORT": "0",
            "EXPERT_BOT_PULL": "false",
            "EXPERT_BOT_PUSH_AUTH": "oidc",
            "EXPERT_BOT_PUSH_AUDIENCES": AUDIENCE,
            "EXPERT_BOT_PUSH_SERVICE_ACCOUNTS": EMAIL,
            "EXPERT_BOT_PUSH_CERTS_URL": f"http://127.0.0.1:{port}/certs",
        }
        with service(tmp_path, environment, "serve") as serving:
            address = serving.logged("service_started")["http"]
            idle = await time_health(client, address, lambda took: len(took) == 100)
            started = time.perf_counter()
            pushing = asyncio.create_task(push_all(client, address))
            busy = await time_health(client, address, lambda _: pushing.done())
            seen = await pushing
            took_s = time.perf_counter() - started
            attempts = [line for line in serving.lines() if line["message"] == "keys_unavailable"]
    with capsys.disabled():
        print(  # noqa: T201  # the figure is for the reader; the gate is the ratio
            f"\n{dead.__name__}: {seen.total()} pushes in {took_s:.1f} s, {len(attempts)} attempts to fetch, "
            f"health p99 {p99(busy) * 1000:.1f} ms of {len(busy)} samples (idle {p99(idle) * 1000:.1f} ms)"
        )
    assert set(seen) == {(503, True)}
    assert seen.total() >= PUSHES
    assert len(attempts) <= 1 + took_s, "attempts come in growing pauses, not with every push"
    assert p99(busy) < MANY_TIMES * max(p99(idle), LEAST_P99_S)
    assert max(busy) < FETCH_TIMEOUT_S, "nobody waits for the key server but who needs the keys"
