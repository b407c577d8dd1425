"""What dies at a running service can be looked at: from the bus into the archive, from the archive onto the terminal."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.config import Settings
from expert_bot.deadletters.reading import AUDIT, find_letter, list_letters
from expert_bot.deadletters.record import LetterFacts
from expert_bot.delivery import Message
from expert_bot.schemas.topology import topology
from expert_bot.service import Worker
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile
from expert_bot.storage.system_clock import SystemClock
from tests.flow.test_command_line import run

REQUESTS = "chat-requests"
EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "bad-1",
    "ce-source": "//energy-ia",
    "ce-type": "com.smarwatt.chat.requested.v1",
    "content-type": "application/json",
    "note": "[bold]\x1b[31mred",
}
SECRET = b'{"message": "la factura de Ana", "user_id": 7, "source": "energy_ia_api"}'
POISON = Message(topic=REQUESTS, data=SECRET, attributes=EVENT, ordering_key="conv-1")


@asynccontextmanager
async def serving(folder: Path, *, pull: bool = True) -> AsyncIterator[Adapters]:
    """Run a worker over a data folder."""
    settings = Settings(data_dir=folder, drain_s=5)
    async with open_adapters(settings) as adapters:
        worker = Worker(settings, adapters, pull=pull)
        worker.start()
        try:
            yield adapters
        finally:
            await worker.drain()


async def archived(adapters: Adapters, count: int) -> Sequence[LetterFacts]:
    """Wait for this many letters in the archive."""
    async with asyncio.timeout(30):
        while len(letters := await list_letters(adapters.documents)) < count:  # noqa: ASYNC110  # the store tells nobody
            await asyncio.sleep(0.02)  # the store tells nobody
    return letters


async def kept(folder: Path, *messages: Message) -> Sequence[LetterFacts]:
    """Let a service meet poison; return the letters it leaves."""
    async with serving(folder) as adapters:
        for message in messages:
            await adapters.publisher.publish(message)
        return await archived(adapters, len(messages))


async def test_poison_ends_in_the_archive_as_it_was(tmp_path: Path) -> None:
    """Each malformed message is one letter with its reason, context, order and every byte; 10 MB are no exception."""
    large = replace(POISON, data=b"x" * 9_999_000, attributes=EVENT | {"ce-id": "bad-2"})
    nothing = Message(topic=REQUESTS, data=b"\x00\xff", attributes={"x": "y"})
    async with serving(tmp_path) as adapters:
        for message in (POISON, large, nothing, POISON):
            await adapters.publisher.publish(message)
        letters = {facts.reason: facts for facts in await archived(adapters, 3)}
        assert set(letters) == {"schema-violation", "payload-too-large", "not-a-cloudevent"}
        for reason, message in {
            "schema-violation": POISON,
            "payload-too-large": large,
            "not-a-cloudevent": nothing,
        }.items():
            record = await find_letter(adapters.documents, letters[reason].id)
            assert (record.attributes, record.data) == (message.attributes, message.data)
    facts = letters["schema-violation"]
    assert (facts.subscription, facts.event_id, facts.ordering_key) == (
        "expert-bot-chat-requests",
        "bad-1",
        "conv-1",
    )
    assert (facts.attempts, facts.replays, facts.state, facts.frame) == (1, 0, "new", "")


async def test_a_service_that_is_pushed_to_archives_too(tmp_path: Path) -> None:
    """Dead letters are pulled even where requests are not: nobody pushes them."""
    async with serving(tmp_path, pull=False) as adapters:
        letter = Message(topic="expert-bot-dead-letters", data=b"x", attributes={"dl-reason": "expired"})
        await adapters.publisher.publish(letter)
        (facts,) = await archived(adapters, 1)
    assert facts.reason == "expired"


async def test_what_the_broker_gives_up_is_archived_with_its_origin(tmp_path: Path) -> None:
    """An event whose deliveries all ended without an outcome: the broker's own forward, explained as that."""
    bus = SqliteBus(SqliteFile(tmp_path / "bus.sqlite3"), clock=SystemClock())
    await bus.apply(topology())
    await bus.publish([POISON])
    for _ in range(20):
        (received,) = await bus.receive("expert-bot-chat-requests", 1)
        await bus.modify_deadline([received.ack_id], 0)
    await bus.close()
    async with serving(tmp_path) as adapters:
        (facts,) = await archived(adapters, 1)
        record = await find_letter(adapters.documents, facts.id)
    assert (facts.reason, facts.attempts, facts.subscription) == (
        "broker-attempts-exhausted",
        20,
        "expert-bot-chat-requests",
    )
    assert (record.attributes, record.data, facts.ordering_key) == (EVENT, SECRET, "conv-1")


async def test_content_does_not_reach_the_log(tmp_path: Path) -> None:
    """A letter's line in the log has ids and the reason, and nothing of what was in it."""
    with capture_logs() as log:
        await kept(tmp_path, POISON)
    (line,) = [entry for entry in log if entry["event"] == "dead_letter_archived"]
    assert (line["reason"], line["event_id"]) == ("schema-violation", "bad-1")
    assert not re.search("factura|bold|note", json.dumps(log, default=str))


async def test_letters_are_listed_by_reason(tmp_path: Path) -> None:
    """Last archived first; a reason narrows them down; scripts get the same letters as people."""
    other = Message(topic=REQUESTS, data=b"x", attributes={"x": "y"})
    letters = await kept(tmp_path / "data", POISON, other)
    report = json.loads(run(tmp_path, "deadletters", "list", "--json").stdout)
    assert [each["id"] for each in report["letters"]] == [facts.id for facts in letters]
    assert report["complete"] is True
    narrowed = run(tmp_path, "deadletters", "list", "--reason", "schema-violation", COLUMNS="200").stdout
    by_reason = {facts.reason: facts for facts in letters}
    wanted = by_reason["schema-violation"]
    assert all(text in narrowed for text in (wanted.id, wanted.reason, wanted.event_type, wanted.fingerprint))
    assert by_reason["not-a-cloudevent"].id not in narrowed
    assert run(tmp_path, "deadletters", "list", "--reason", "expired").stdout == "no dead letters\n"


async def test_a_letters_content_is_hidden_until_it_is_revealed(tmp_path: Path) -> None:
    """Neither data nor attribute values are shown unless asked for; then all of them, and the archive knows who looked."""
    (facts,) = await kept(tmp_path / "data", POISON)
    for form in ([], ["--json"]):
        hidden = run(tmp_path, "deadletters", "show", facts.id, *form).stdout
        assert "schema-violation" in hidden
        assert "note" in hidden
        assert not re.search("factura|bold", hidden)
    assert await audit(tmp_path / "data") == []

    revealed = json.loads(run(tmp_path, "deadletters", "show", facts.id, "--reveal", "--json").stdout)
    assert (base64.b64decode(revealed["data_base64"]), revealed["attributes"]) == (SECRET, EVENT)
    shown = run(tmp_path, "deadletters", "show", facts.id, "--reveal").stdout
    assert "la factura de Ana" in shown
    assert "[bold]" in shown
    assert "\x1b" not in shown, "what a sender wrote must not steer the terminal"
    trail = await audit(tmp_path / "data")
    assert [(entry["action"], entry["letter"], bool(entry["actor"])) for entry in trail] == [
        ("reveal", facts.id, True)
    ] * 2


async def audit(folder: Path) -> list[Mapping[str, Any]]:
    """Return the audit trail."""
    async with open_adapters(Settings(data_dir=folder)) as adapters:
        return [document.fields for document in await adapters.documents.find(AUDIT, [], limit=10)]


@pytest.mark.parametrize(
    ("code", "letter_id", "said"),
    [
        pytest.param(2, "x/y", "error: 'x/y' is not a letter's id", id="no id"),
        pytest.param(1, "0" * 32, f"error: no letter {'0' * 32}; see", id="unknown"),
    ],
)
def test_a_letter_that_is_not_there_is_told(code: int, letter_id: str, said: str, tmp_path: Path) -> None:
    """One line that says what to do."""
    ran = run(tmp_path, "deadletters", "show", letter_id, code=code)
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == 1
