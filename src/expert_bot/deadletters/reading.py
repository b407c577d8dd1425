"""What an operator reads of the archive. Looking at a letter's content leaves a trace: it may be about a person."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Final

from expert_bot.deadletters.archive import LETTERS, read_facts, read_letter
from expert_bot.deadletters.record import DeadLetterRecord, LetterFacts
from expert_bot.errors import ExpertBotError, UsageError
from expert_bot.ports import Clock, Create, DocKey, DocumentReader, Documents, Where

AUDIT: Final = "dead_letter_audit"
MAX_LISTED: Final = 500
_LETTER_ID: Final = re.compile(r"[0-9a-f]{32}")


class NoSuchLetterError(ExpertBotError):
    """The archive has no letter with this id."""


async def list_letters(documents: Documents, *, reason: str | None = None) -> Sequence[LetterFacts]:
    """Return up to `MAX_LISTED` letters, those archived last first; which ones, if there are more, is unspecified.

    Raises StoreUnavailableError.
    """
    where = [] if reason is None else [Where("reason", "==", reason)]
    found = [read_facts(document) for document in await documents.find(LETTERS, where, limit=MAX_LISTED)]
    return sorted(found, key=lambda facts: (facts.archived_at, facts.id), reverse=True)


async def find_letter(documents: DocumentReader, letter_id: str) -> DeadLetterRecord:
    """Return one letter.

    Raises UsageError for what is no id, NoSuchLetterError, LetterDamagedError or StoreUnavailableError.
    """
    if not _LETTER_ID.fullmatch(letter_id):
        raise UsageError(
            f"{letter_id!r} is not a letter's id (32 of 0-9a-f); see `expert-bot deadletters list`"
        )
    record = await read_letter(documents, letter_id)
    if record is None:
        raise NoSuchLetterError(f"no letter {letter_id}; see `expert-bot deadletters list`")
    return record


async def note_reveal(documents: Documents, clock: Clock, letter_id: str, *, actor: str) -> None:
    """Record that somebody looks at a letter's content; to be done before it is shown. Raises StoreUnavailableError."""
    entry = DocKey(AUDIT, uuid.uuid4().hex)
    await documents.commit(
        [Create(entry, {"action": "reveal", "letter": letter_id, "actor": actor, "at": clock.now()})]
    )
