"""Documents and analyses from outside, over real emulators: a real file in, the same figures as the command line out."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from tests.emulator.black_box import Mailbox, World

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

SEED = 20261124
POWER = {"P1": "4.6", "P2": "4.6"}
OFFERS = [
    {
        "id": "night",
        "name": "Night",
        "power_eur_per_kw_day": {"P1": 0.09, "P2": 0.02},
        "energy_eur_per_kwh": {"P1": 0.2012, "P2": 0.1201, "P3": 0.0813},
    },
    {
        "id": "flat",
        "name": "Flat",
        "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.03},
        "energy_eur_per_kwh": 0.1349,
    },
]
USERS = tuple(f"home-{number}" for number in range(8))
KILLS = 2
QUICK = {
    "EXPERT_BOT_LEASE_S": "1",
    "EXPERT_BOT_ACK_DEADLINE_S": "10",
}  # so that the next worker need not wait long


@pytest.fixture(scope="module")
def home_4(shared_data: Path) -> Path:
    """Return a real household's hourly curve."""
    return shared_data / "energy" / "households_es" / "home_4.csv"


@pytest.fixture
def world(pubsub_emulator: str, firestore_emulator: str, tmp_path: Path) -> Iterator[World]:
    """Return a project with its topics."""
    with closing(World(tmp_path, pubsub_emulator, firestore_emulator)) as made:
        made.run("topics", "apply")
        yield made


def publish(world: World, family: str, message: str, data: dict[str, Any]) -> str:
    """Publish a request as the contract says, and return its id."""
    event_id = uuid.uuid4().hex
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": "//energy-ia",
        "ce-type": world.contract.type_name(message),
        "ce-time": "2026-11-20T09:30:00Z",
        "ce-partitionkey": data["user_id"],
        "content-type": "application/json",
    }
    world.publish(json.dumps(data).encode(), attributes, data["user_id"], family=family)
    return event_id


def reply_to(replies: Mailbox, event_id: str) -> Any:
    """Wait for a request's reply."""
    return replies.until(lambda reply: reply.attributes["ce-correlationid"] == event_id)[0]


def uploaded(home: Path) -> dict[str, Any]:
    """Return the data of an upload."""
    return {"user_id": "home4", "document_id": "doc-1", "content": home.read_text("utf-8")}


def compare_request() -> dict[str, Any]:
    """Return the data of a comparison."""
    return {
        "user_id": "home4",
        "kind": "tariff_comparison",
        "task_id": "task-1",
        "parameters": {"power_kw": POWER, "offers": OFFERS},
    }


def test_an_uploaded_home_is_compared_to_the_same_figures_as_by_the_command_line(
    world: World, home_4: Path, tmp_path: Path
) -> None:
    """document.uploaded -> document.processed, then analysis.requested -> analysis.completed, by a plain client."""
    documents = world.mailbox(world.contract.channel("send", "document"))
    analyses = world.mailbox(world.contract.channel("send", "analysis"))
    with world.service("work"):
        upload = publish(world, "document", "document.uploaded.v1", uploaded(home_4))
        read = reply_to(documents, upload)
        assert world.contract.violations("document.processed.v1", read.attributes, read.data) == []
        report = json.loads(read.data)
        assert (report["rows_read"], report["rows_accepted"], report["hours_inserted"]) == (
            17088,
            17088,
            17088,
        )

        analysis = publish(world, "analysis", "analysis.requested.v1", compare_request())
        answer = reply_to(analyses, analysis)
        assert world.contract.violations("analysis.completed.v1", answer.attributes, answer.data) == []
        result = json.loads(answer.data)["result"]

    offers = tmp_path / "offers.json"
    offers.write_text(json.dumps(OFFERS), "utf-8")
    printed = json.loads(
        world.run("compare", str(home_4), "--offers", str(offers), "--power", "4.6,4.6", "--json")
    )
    assert result == {name: printed[name] for name in result}
    assert [offer["id"] for offer in result["offers"]] == ["night", "flat"]


def test_workers_killed_during_the_load_lose_and_double_no_hour(world: World) -> None:
    """Killed at random moments while they load several homes: in the end each has every hour once."""
    chance = random.Random(SEED)
    readings = simulate_household(until=date(2026, 10, 31), months=24)
    content = b"".join(write_household_csv(readings)).decode()
    documents = world.mailbox(world.contract.channel("send", "document"))
    uploads = {
        publish(
            world,
            "document",
            "document.uploaded.v1",
            {"user_id": user, "document_id": "doc-1", "content": content},
        ): user
        for user in USERS
    }
    interrupted = 0
    for _ in range(KILLS):
        with world.service("work", **QUICK) as worker:
            time.sleep(chance.uniform(0.5, 2.0))  # the moment of the death is what is tried here
            worker.process.kill()
            interrupted += sum(line["message"] == "event_handled" for line in worker.lines()) < len(USERS)
    assert interrupted == KILLS, "the workers were done before they were killed: nothing was tried"
    with world.service("work", **QUICK):
        replies = documents.until(
            lambda reply: reply.attributes["ce-correlationid"] in uploads, count=len(USERS)
        )
        assert {uploads[reply.attributes["ce-correlationid"]] for reply in replies} == set(USERS)
        analyses = world.mailbox(world.contract.channel("send", "analysis"))
        for user in USERS:
            request = {"user_id": user, "kind": "consumption"}
            answer = json.loads(
                reply_to(analyses, publish(world, "analysis", "analysis.requested.v1", request)).data
            )["result"]
            assert answer["hours"] == len(readings)
            assert Decimal(answer["total_kwh"]) == sum(reading.energy_kwh for reading in readings)
    assert all(json.loads(reply.data)["rows_accepted"] == len(readings) for reply in replies)
