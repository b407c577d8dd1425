"""A sibling service asks over HTTP what a household asks: the real service, its command line, and one answer for one key."""

from __future__ import annotations

import asyncio
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from expert_bot.adapters import open_adapters
from expert_bot.config import Settings
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.handlers.chat_requested import CONVERSATIONS
from expert_bot.http.cross_service import CROSS_SERVICE_PATH
from tests.emulator.processes import run, service

pytestmark = pytest.mark.slow

APRIL = 24 * 30
ASKED_AT_ONCE = 100
OTHERS_ONLY = {"PORT": "0", "EXPERT_BOT_ALLOWED_SOURCES": "//energy-ia"}
QUESTION = {
    "message": "¿Cuánto consumí en abril de 2023?",
    "user_id": "user-ana",
    "source": "energy_ia_api",
    "conversation_id": "conv-1",
}


async def ask(
    client: ClientSession, headers: dict[str, str], body: dict[str, str] = QUESTION
) -> tuple[int, bytes]:
    """Ask; return status and body."""
    async with client.post(CROSS_SERVICE_PATH, json=body, headers=headers) as response:
        return response.status, await response.read()


async def stored_turns(folder: Path) -> list[Any]:
    """Return the turns of Ana's conversation, once the service has stopped."""
    async with open_adapters(Settings(data_dir=folder)) as adapters:
        [conversation] = await adapters.documents.find(CONVERSATIONS, [], limit=2)
    turns = conversation.fields["turns"]
    assert isinstance(turns, list)
    return turns


async def test_a_service_asks_for_a_user(tmp_path: Path) -> None:
    """The figure of the imported data, with its facts; a hundred repetitions at once are one turn, one answer, and no reply."""
    curve = tmp_path / "curve.csv"
    lines = write_household_csv(simulate_household(until=date(2023, 4, 30), months=1))
    curve.write_bytes(b"".join(islice(lines, APRIL + 1)))
    run(tmp_path, {}, "import", "consumption", str(curve), "--user", "user-ana")

    with service(tmp_path, OTHERS_ONLY, "serve") as serving:
        address = serving.logged("service_started")["http"]
        token = await asyncio.to_thread(
            run, tmp_path, {}, "token", "--user", "energy-ia", "--role", "service"
        )
        energy_ia = {"Authorization": f"Bearer {token.strip()}"}
        keyed = energy_ia | {"Idempotency-Key": "k-1"}
        async with ClientSession(address) as client:
            answers = await asyncio.gather(*(ask(client, keyed) for _ in range(ASKED_AT_ONCE)))
            refused = [
                (await ask(client, headers, body))[0]
                for headers, body in (
                    ({}, QUESTION),
                    (energy_ia, QUESTION | {"source": "otra"}),
                    (energy_ia, QUESTION | {"extra": ""}),
                    (keyed, QUESTION | {"message": "¿Y en marzo?"}),
                )
            ]
        log = repr(serving.lines())
    assert {(200, answers[0][1])} == set(answers)
    assert refused == [401, 403, 422, 422]
    assert b'"status":"success"' in answers[0][1]
    assert b"kWh" in answers[0][1]
    assert [secret for secret in (token.strip(), QUESTION["message"]) if secret in log] == []
    assert len(await stored_turns(tmp_path / "data")) == 1
