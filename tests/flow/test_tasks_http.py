"""An analysis over HTTP, from the token to the result: the real service, its command line, and two people."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from typer.testing import CliRunner

from expert_bot.__main__ import app
from expert_bot.commands import token
from expert_bot.config import Settings, load_settings
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.errors import UsageError
from expert_bot.storage.local_signer import LOCAL_ISSUER, local_signer
from tests.emulator.processes import environment_of, run, service

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
HOURS = 720
OTHERS_ONLY = {"PORT": "0", "EXPERT_BOT_ALLOWED_SOURCES": "//energy-ia"}


async def ended(client: ClientSession, url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Ask as often as the service says until a task has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with client.get(url, headers=headers) as response:
                assert response.status == 200
                task: dict[str, Any] = await response.json()
                if "Retry-After" not in response.headers:
                    return task
                await asyncio.sleep(float(response.headers["Retry-After"]))


async def test_an_analysis_is_submitted_worked_on_and_read(tmp_path: Path) -> None:
    """The event that the service sends itself passes its own list of sources; only its owner sees the task."""
    curve = tmp_path / "curve.csv"
    lines = write_household_csv(simulate_household(until=date(2023, 5, 1)))
    curve.write_bytes(b"".join(islice(lines, HOURS + 1)))
    run(tmp_path, {}, "import", "consumption", str(curve), "--user", "user-ana")

    with service(tmp_path, OTHERS_ONLY, "serve") as serving:
        address = serving.logged("service_started")["http"]
        arguments = ("--user", "user-ana", "--role", "admin", "--json")
        said = json.loads(await asyncio.to_thread(run, tmp_path, {}, "token", *arguments))
        ana = {"Authorization": f"Bearer {said['token']}"}
        admin = {"Authorization": f"Bearer {admin_token(tmp_path / 'data')}"}
        async with ClientSession(address) as client:
            async with client.post(
                "/api/v1/async/submit", json={"kind": "consumption"}, headers=ana
            ) as response:
                assert response.status == 202
                location = response.headers["Location"]
            task = await ended(client, location, ana)
            statuses = []
            for headers in ({}, admin):
                async with client.get(location, headers=headers) as response:
                    statuses.append(response.status)
        log = json.dumps(serving.lines())
    assert (set(said), said["user_id"], said["role"]) == (
        {"token", "user_id", "role", "expires_at"},
        "user-ana",
        "admin",
    )
    assert (task["status"], task["result"]["status"], task["result"]["task_id"]) == (
        "completed",
        "success",
        task["task_id"],
    )
    assert task["result"]["facts"]
    assert statuses == [401, 404]
    assert [secret for secret in (ana, admin) if secret["Authorization"][7:] in log] == []


def admin_token(folder: Path) -> str:
    """Return another person's token, signed by the key that the service has made."""
    now = int(time.time())
    claims = {"iss": LOCAL_ISSUER, "aud": Settings().project, "sub": "user-root", "role": "admin"}
    return local_signer(folder).sign(claims | {"auth_time": now, "iat": now, "exp": now + 600})


@pytest.mark.parametrize(
    ("said", "arguments", "environment"),
    [
        pytest.param("EXPERT_BOT_AUTH='firebase'", ("--user", "user-ana"), {"EXPERT_BOT_AUTH": "firebase", "GOOGLE_CLOUD_PROJECT": "example-project"}, id="Firebase's"),
        pytest.param("--user '../x' must match", ("--user", "../x"), {}, id="no user id"),
    ],
)  # fmt: skip
def test_no_token_is_made_that_would_open_nothing(
    said: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says whose tokens are taken, or what an id looks like; no key is made."""
    for name, value in environment_of(tmp_path, environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(token, "start", lambda **_: load_settings())  # logging is the other tests', too
    result = CliRunner().invoke(app, ["token", *arguments])
    assert (type(result.exception), said in str(result.exception)) == (UsageError, True)
    assert not (tmp_path / "data").exists()
