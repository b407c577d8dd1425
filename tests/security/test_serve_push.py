"""Push through the command line: `serve` checks tokens and counts users, `work` asks for no setting of push."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession

from expert_bot.config import Settings
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.http.health import Readiness
from expert_bot.http.link_clicks import LinkClicks
from expert_bot.http.push_auth import accept_all
from expert_bot.service import _start_http
from expert_bot.storage.system_clock import SystemClock
from tests.emulator.processes import service
from tests.token_mint import AUDIENCE, EMAIL, KeyServer, claims, signer
from tests.waiting import until

PUSH = "/push/expert-bot-chat-requests"
QUESTION = {"message": "¿Cuánto consumí en abril de 2023?", "user_id": "user-ana", "source": "energy_ia_api"}
EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "e-1",
    "ce-source": "//energy-ia",
    "ce-type": "com.smarwatt.chat.requested.v1",
    "content-type": "application/json",
}


@pytest.mark.slow
async def test_serve_takes_what_google_has_signed_and_nothing_else(tmp_path: Path) -> None:
    """204 for a genuine token, 401 for none and for another signer's, and neither token nor address in the log."""
    google, stranger = signer("google-1"), signer("stranger-1")
    token = google.sign(claims())
    forged = stranger.sign(claims(), kid=google.key_id)
    async with KeyServer(google).running() as keys, ClientSession() as client:
        environment = {
            "PORT": "0",
            "EXPERT_BOT_PUSH_AUTH": "oidc",
            "EXPERT_BOT_PUSH_AUDIENCES": AUDIENCE,
            "EXPERT_BOT_PUSH_SERVICE_ACCOUNTS": EMAIL,
            "EXPERT_BOT_PUSH_CERTS_URL": keys.url,
        }
        with service(tmp_path, environment, "serve") as serving:
            address = serving.logged("service_started")["http"]

            async def push(**headers: str) -> int:
                body = json.dumps(QUESTION).encode()
                async with client.post(address + PUSH, headers=EVENT | headers, data=body) as response:
                    return response.status

            assert [
                await push(),
                await push(Authorization=f"Bearer {forged}"),
                await push(Authorization=f"Bearer {token}"),
            ] == [401, 401, 204]
            log = serving.lines()
    refused = [line["reason"] for line in log if line["message"] == "push_refused"]
    assert refused == ["no-token", "wrong-signature"]
    assert [secret for secret in (token, forged, EMAIL) if secret in json.dumps(log)] == []


@pytest.mark.slow
def test_work_needs_no_setting_of_push(tmp_path: Path) -> None:
    """A worker without HTTP starts with settings that `serve` would refuse."""
    with service(tmp_path, {"EXPERT_BOT_PUSH_AUTH": "oidc"}, "work") as worker:
        assert worker.logged("service_started")["http"] is None


class Waiting:
    """A worker and its dispatcher in one, whose deliveries wait."""

    def __init__(self) -> None:
        self.dispatcher = self
        self.running = 0
        self.open = asyncio.Event()

    async def process(self, _delivery: Delivery) -> Outcome:
        self.running += 1
        await self.open.wait()
        return Ack()


@pytest.mark.parametrize(
    ("status", "max_in_flight", "tenant_limit"),
    [pytest.param(429, 10, 1, id="of one user"), pytest.param(503, 1, 10, id="altogether")],
)
async def test_the_limits_are_the_settings(status: int, max_in_flight: int, tenant_limit: int) -> None:
    """What `serve` lets run at once is what the settings say."""
    limits = {"max_in_flight": max_in_flight, "push_tenant_limit": tenant_limit}
    settings = Settings().model_copy(update=limits | {"port": 0})
    worker = Waiting()
    body = json.dumps(QUESTION).encode()
    async with AsyncExitStack() as stack:
        runner = await _start_http(
            settings,
            worker,  # type: ignore[arg-type]  # the one part of a worker that is used
            Readiness({}),
            accept_all,
            (),
            LinkClicks(None, SystemClock()),  # type: ignore[arg-type]  # no link is resolved
        )
        stack.push_async_callback(runner.cleanup)
        host, port = runner.addresses[0][:2]
        client = await stack.enter_async_context(ClientSession(f"http://{host}:{port}", headers=EVENT))
        stack.callback(worker.open.set)
        first = asyncio.create_task(client.post(PUSH, data=body))
        await until(lambda: worker.running)
        async with client.post(PUSH, data=body) as second:
            assert second.status == status
        worker.open.set()
        async with await first as response:
            assert response.status == 204
