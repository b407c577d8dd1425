"""What an operator is shown of dead letters: enough to act on, no content unless asked for, nothing that fools a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from expert_bot import show
from expert_bot.deadletters.archive import store_letter
from expert_bot.deadletters.reading import (
    AUDIT,
    MAX_LISTED,
    NoSuchLetterError,
    find_letter,
    list_letters,
    note_reveal,
)
from expert_bot.deadletters.record import DeadLetterRecord, read_record
from expert_bot.delivery import Delivery
from expert_bot.errors import UsageError
from expert_bot.storage.memory_documents import MemoryDocuments

NOW = datetime(2023, 5, 2, 9, 32, tzinfo=UTC)


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


def letter(number: int = 0, *, data: bytes = b"la factura de Ana", **attributes: str) -> DeadLetterRecord:
    """Return a letter that was archived so many seconds late."""
    delivery = Delivery(
        subscription="expert-bot-dead-letters",
        data=data,
        attributes={"number": str(number), "dl-reason": "expired", **attributes},
    )
    return read_record(delivery, NOW + timedelta(seconds=number))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """Yield a wide terminal whose output is kept."""
    console = Console(width=240, record=True, highlight=False, quiet=False)
    monkeypatch.setattr(show, "console", console)
    yield console
    console.export_text()


async def test_letters_archived_last_come_first() -> None:
    """Order does not depend on the store."""
    documents = MemoryDocuments()
    for number in (1, 3, 2):
        await store_letter(documents, letter(number))
    assert [facts.archived_at.second for facts in await list_letters(documents)] == [3, 2, 1]


async def test_a_letter_is_found_by_its_id() -> None:
    """The whole letter, or what to do to find one."""
    documents = MemoryDocuments()
    stored = letter()
    await store_letter(documents, stored)
    assert stored == await find_letter(documents, stored.facts.id)
    with pytest.raises(NoSuchLetterError, match="deadletters list"):
        await find_letter(documents, "0" * 32)
    for wrong in ("", "x/y", "..", "0" * 31, stored.facts.id.upper() + "\n"):
        with pytest.raises(UsageError, match="is not a letter's id"):
            await find_letter(documents, wrong)


async def test_a_look_at_the_content_is_recorded() -> None:
    """Who, what and when; twice is two entries."""
    documents = MemoryDocuments()
    for _ in range(2):
        await note_reveal(documents, FixedClock(), "0" * 32, actor="ana")
    entries = [entry.fields for entry in await documents.find(AUDIT, [], limit=10)]
    assert entries == [{"action": "reveal", "letter": "0" * 32, "actor": "ana", "at": NOW}] * 2


def test_a_long_list_says_that_there_may_be_more(terminal: Console) -> None:
    """Nobody takes the first 500 for all."""
    listed = [letter(number).facts for number in range(MAX_LISTED)]
    show.letters(listed)
    assert "may be more" in terminal.export_text()
    show.letters(listed[1:])
    assert "may be more" not in terminal.export_text()
    assert show.letters_report(listed)["complete"] is False
    assert show.letters_report(listed[1:])["complete"] is True


def test_content_is_hidden_unless_it_is_to_be_revealed(terminal: Console) -> None:
    """Without `reveal` neither form has data or attribute values; with it both have all of them."""
    shown = letter(note="Ana lives here")
    show.letter(shown, reveal=False)
    hidden = terminal.export_text() + json.dumps(show.letter_report(shown, reveal=False))
    assert "expired" in hidden
    assert "note" in hidden
    assert "Ana" not in hidden
    show.letter(shown, reveal=True)
    for revealed in (terminal.export_text(), json.dumps(show.letter_report(shown, reveal=True))):
        assert "Ana lives here" in revealed


def test_a_strangers_text_is_shown_as_text(terminal: Console) -> None:
    """Markup stays text, control characters and bytes that are not UTF-8 are replaced."""
    hostile = letter(data=b"[red]x[/]\x1b[2J\x00\xff\r\n", note="[bold]\x1b]0;title\x07\u202e")
    show.letter(hostile, reveal=True)
    shown = terminal.export_text()
    assert "[red]x[/]" in shown
    assert "[bold]" in shown
    assert "\\xff" in shown
    assert not {"\x1b", "\x07", "\x00", "\r", "\u202e"} & set(shown)


def test_long_data_is_cut_on_the_terminal_only(terminal: Console) -> None:
    """A letter of megabytes does not flood the terminal; scripts get every byte."""
    shown = letter(data=b"x" * 5000)
    show.letter(shown, reveal=True)
    assert "1000 more characters" in terminal.export_text()
    assert len(show.letter_report(shown, reveal=True)["data_base64"]) == 6668
