"""The registry: families and handlers are found by being there, and everything else follows from them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import expert_bot
from expert_bot.handlers import all_handlers
from expert_bot.schemas.families import EventFamily, all_families, families_by_subscription
from expert_bot.schemas.problem import Problem

FAMILIES = all_families()
of_every_family = pytest.mark.parametrize("family", [pytest.param(each, id=each.name) for each in FAMILIES])

SCHEMA_FILE = '''
"""Echo: an event family that exists in this test only."""

from typing import Final

from expert_bot.schemas.families import EventData, EventFamily, EventType


class EchoRequested(EventData):
    """Something to be said again."""

    text: str


FAMILY: Final = EventFamily(
    name="echo",
    requested=EventType(
        name="com.smarwatt.echo.requested.v1", data=EchoRequested, summary="Say it again.", example={"text": "hola"}
    ),
    replies=(
        EventType(name="com.smarwatt.echo.said.v1", data=EchoRequested, summary="Said.", example={"text": "hola"}),
    ),
    ordering_key=lambda data: data.text,
)
'''
HANDLER_FILE = '''
"""echo.requested: say it again."""

from expert_bot.handlers import Context, Reply, Result
from expert_bot.schemas.events.echo import FAMILY, EchoRequested

HANDLES = FAMILY.requested


async def handle(request: EchoRequested, context: Context) -> Result:
    """Answer with the request."""
    return Result(replies=(Reply(FAMILY.replies[0], request),))
'''
PROGRAM = """
import asyncio, json
from pathlib import Path

import expert_bot
from expert_bot.adapters import open_adapters
from expert_bot.app import make_client
from expert_bot.config import Settings
from expert_bot.schemas.contract import asyncapi_document, generated_files, topic_manifest
from expert_bot.schemas.events.echo import EchoRequested
from expert_bot.service import Worker


async def say(text):
    settings = Settings(data_dir=Path("data"))
    async with open_adapters(settings) as adapters:
        worker = Worker(settings, adapters)
        worker.start()
        async with make_client(adapters, "urn:test") as client:
            answer = await client.ask(EchoRequested(text=text))
        await worker.drain()
        return answer.event


document = asyncapi_document()
reply = asyncio.run(say("hola"))
print(json.dumps({
    "package": expert_bot.__file__,
    "channels": sorted(document["channels"]),
    "messages": sorted(document["components"]["messages"]),
    "subscriptions": [each["name"] for each in topic_manifest()["subscriptions"]],
    "files": sorted(generated_files()),
    "reply": [reply.type, reply.data.decode(), reply.extensions["partitionkey"]],
}))
"""


def test_a_new_event_type_is_one_schema_file_and_one_handler_file(tmp_path: Path) -> None:
    """With nothing else edited, topics, contract and dispatch know the new type, and its event is answered."""
    package = tmp_path / "src" / "expert_bot"
    shutil.copytree(Path(expert_bot.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "schemas/events/echo.py").write_text(SCHEMA_FILE, "utf-8")
    (package / "handlers/echo_requested.py").write_text(HANDLER_FILE, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["package"].startswith(str(tmp_path)), "the copy must be what was tested"
    assert {"chat-requests", "echo-requests", "echo-replies"} <= set(seen["channels"])
    assert {"echo.requested.v1", "echo.said.v1", "echo.failed.v1"} <= set(seen["messages"])
    assert {"expert-bot-chat-requests", "expert-bot-echo-requests"} <= set(seen["subscriptions"])
    assert "docs/schemas/com.smarwatt.echo.said.v1.json" in seen["files"]
    assert seen["reply"] == ["com.smarwatt.echo.said.v1", '{"text":"hola"}', "hola"]


def test_families_are_sorted_and_found_by_subscription() -> None:
    """The order is the names', so that generated files do not change by themselves."""
    assert [family.name for family in FAMILIES] == sorted(family.name for family in FAMILIES)
    assert families_by_subscription()["expert-bot-chat-requests"].name == "chat"


@of_every_family
def test_every_family_has_a_handler(family: EventFamily) -> None:
    """A request type without a handler would be a topic that nobody answers."""
    assert all_handlers()[family.requested.name].handles is family.requested


@of_every_family
def test_every_family_can_fail(family: EventFamily) -> None:
    """Failure is always one of the types a requester may be answered with, as a problem."""
    assert family.failed in family.emitted
    assert (f"com.smarwatt.{family.name}.failed.v1", Problem) == (family.failed.name, family.failed.data)


@of_every_family
def test_names_follow_from_the_family(family: EventFamily) -> None:
    """Topics, subscription and types carry the family's name."""
    assert (family.request_topic, family.reply_topic) == (f"{family.name}-requests", f"{family.name}-replies")
    assert family.subscription == f"expert-bot-{family.name}-requests"
    assert all(
        each.name.startswith(f"com.smarwatt.{family.name}.") for each in (family.requested, *family.emitted)
    )


@of_every_family
def test_a_request_is_ordered_by_its_data(family: EventFamily) -> None:
    """The example's ordering key fits a Pub/Sub ordering key."""
    key = family.ordering_key(family.requested.data.model_validate(family.requested.example))
    assert 1 <= len(key.encode()) <= 1024
