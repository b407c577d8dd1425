"""A home and its links over HTTP: the real service, two people, and clicks that survive its end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from expert_bot.adapters import open_adapters
from expert_bot.config import Settings
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from expert_bot.ports_analytics import UserAnalyticsRow
from tests.emulator.processes import run, service

pytestmark = pytest.mark.slow

HOURS = 720
URL = "https://www.smarwatt.com/facturas/ayuda?id=7"
CLICKS = 300
PATIENCE_S = 20.0


async def headers_of(folder: Path, user_id: str) -> dict[str, str]:
    """Return the headers of a user's request."""
    token = await asyncio.to_thread(run, folder, {}, "token", "--user", user_id, "--json")
    return {"Authorization": f"Bearer {json.loads(token)['token']}"}


async def ask(client: ClientSession, method: str, path: str, headers: dict[str, str], **options: Any) -> Any:
    """Ask a route that answers; return its body."""
    async with client.request(method, path, headers=headers, **options) as response:
        assert response.status in (200, 201), await response.text()
        return await response.json()


async def follow(client: ClientSession, path: str) -> tuple[int, str | None]:
    """Follow a link as far as the service leads."""
    async with client.get(path, allow_redirects=False) as response:
        return response.status, response.headers.get("Location")


async def clicks(folder: Path) -> dict[str, int]:
    """Return the clicks of each link that are stored, after the service has ended."""
    async with open_adapters(Settings(data_dir=folder / "data")) as adapters:
        rows = await adapters.analytics.recent_rows(
            UserAnalyticsRow, since=datetime(2020, 1, 1, tzinfo=UTC), limit=1000
        )
    sums = Counter[str]()
    for row in rows:
        assert row.user_id not in ("user-ana", "user-bea")  # a pseudonym
        sums[row.name.rpartition(":")[2]] += int(row.value)
    return dict(sums)


async def test_a_home_is_its_owners_and_a_link_is_everybodys(tmp_path: Path) -> None:
    """Ana sees her month and Bea nothing of it; whoever has the link is led on, and each click is there at the end."""
    curve = tmp_path / "curve.csv"
    lines = write_household_csv(simulate_household(until=date(2023, 5, 1)))
    curve.write_bytes(b"".join(islice(lines, HOURS + 1)))
    run(tmp_path, {}, "import", "consumption", str(curve), "--user", "user-ana")

    with service(tmp_path, {"PORT": "0"}, "serve") as serving:
        address = serving.logged("service_started")["http"]
        ana, bea = [await headers_of(tmp_path, user_id) for user_id in ("user-ana", "user-bea")]
        async with ClientSession(address) as client:
            profiles = [await ask(client, "GET", "/api/v1/energy/profile", who) for who in (ana, bea)]
            analyses = [
                await ask(client, "POST", "/api/v1/energy/consumption/analysis", who, json={})
                for who in (ana, bea)
            ]
            advice = await ask(client, "GET", "/api/v1/energy/recommendations?province=Madrid", ana)
            links = [
                (await ask(client, "POST", "/api/v1/links/create", who, json={"url": URL}))["link_id"]
                for who in (ana, bea)
            ]
            paths = [f"/api/v1/links/resolve/{link_id}" for link_id in links]
            wanted = [paths[number % 3 > 0] for number in range(CLICKS)]
            led = await asyncio.gather(*(follow(client, path) for path in wanted))
            nowhere = await follow(client, "/api/v1/links/resolve/unknown00000")
        serving.process.terminate()
        code = await asyncio.wait_for(asyncio.to_thread(serving.process.wait), PATIENCE_S)
        log = json.dumps(serving.lines())

    assert code == 0
    [month] = profiles[0]["months"]
    assert (month["hours"], profiles[0]["data_from"], profiles[1]["months"]) == (
        HOURS,
        f"{month['month']}-01",
        [],
    )
    assert [each["status"] for each in analyses] == ["success", "no_data"]
    assert analyses[0]["data_quality"]["data_until"] == profiles[0]["data_until"]
    assert advice["status"] == "not_possible"
    assert "contracted power" in advice["result"]["reason"]
    assert (set(led), nowhere) == ({(302, URL)}, (404, None))
    assert await clicks(tmp_path) == {links[0]: CLICKS // 3, links[1]: 2 * CLICKS // 3}
    assert [secret for secret in (*links, "facturas/ayuda", ana["Authorization"][7:]) if secret in log] == []
