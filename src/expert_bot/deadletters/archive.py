"""Letters in the store: one document each, larger data in chunks beside it.

Chunks are written before their letter, so that a letter that can be seen is complete; ids come from the content, so that
every step can be done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Final, cast

from expert_bot.deadletters.record import DeadLetterRecord, LetterFacts
from expert_bot.errors import ExpertBotError, PreconditionFailedError, StoreUnavailableError
from expert_bot.ports import Create, DocKey, Document, DocumentReader, Documents, Fields, Put, Update
from expert_bot.schemas.dead_letter import BROKER_ATTEMPTS_EXHAUSTED, one_ascii_line

LETTERS: Final = "dead_letters"
CHUNKS: Final = "dead_letter_chunks"
MAX_INLINE_BYTES: Final = 64 * 1024
"""Data up to this size stand in the letter: small enough that many letters can be listed at once."""
CHUNK_BYTES: Final = 700 * 1024
"""Firestore documents hold at most 1 MiB."""
_CHUNKS_PER_COMMIT: Final = 4
"""Firestore commits take at most 10 MiB, its emulator's 4 MiB."""

_REDUCED_TEXT_CHARS: Final = 200
_EXPLANATION: Final = (
    "reason",
    "error_class",
    "detail",
    "handler",
    "frame",
    "version",
    "attempts",
    "fingerprint",
)


class LetterDamagedError(ExpertBotError):
    """A letter's bytes are not, or not all, what was archived."""


async def store_letter(documents: Documents, record: DeadLetterRecord, *, reduced: bool = False) -> bool:
    """Store a letter; True if it was new, False if a copy of it was there.

    Our own letter explains a copy that only the broker had forwarded. `reduced`: in a form that any store can hold, with
    the facts' texts shortened to ASCII; attributes and data stay as they were. Raises StoreUnavailableError, or whatever
    the store raises for what it can never hold.
    """
    facts = _shortened(record.facts) if reduced else record.facts
    await _put_chunks(documents, record)
    try:
        await documents.commit([Create(letter_key(facts.id), _letter_fields(record, facts, reduced=reduced))])
    except PreconditionFailedError:
        await _explain(documents, facts)
        return False
    return True


async def read_letter(documents: DocumentReader, letter_id: str) -> DeadLetterRecord | None:
    """Return a letter with exactly the attributes and bytes it came with, or None if there is none.

    Raises LetterDamagedError or StoreUnavailableError.
    """
    document = await documents.get(letter_key(letter_id))
    if document is None:
        return None
    facts = read_facts(document)
    stored = cast("Mapping[str, Any]", document.fields)
    data = stored["data"] if "data" in stored else await _read_chunks(documents, letter_id, stored["chunks"])
    if hashlib.sha256(data).hexdigest() != facts.data_sha256:
        raise LetterDamagedError(
            f"letter {letter_id}: {len(data)} bytes do not have the stored checksum of {facts.data_bytes} bytes"
        )
    return DeadLetterRecord(facts=facts, attributes=_read_attributes(stored), data=data)


def read_facts(document: Document) -> LetterFacts:
    """Return what is known about a stored letter, without its attributes and data."""
    stored = cast("Mapping[str, Any]", document.fields)
    known = {field.name: stored[field.name] for field in fields(LetterFacts) if field.name != "id"}
    return LetterFacts(id=document.key.id, **known)


def letter_key(letter_id: str) -> DocKey:
    """Return the address of a letter's document."""
    return DocKey(LETTERS, letter_id)


def chunk_key(letter_id: str, index: int) -> DocKey:
    """Return the address of one chunk of a letter's data."""
    return DocKey(CHUNKS, f"{letter_id}-{index:03}")


async def _put_chunks(documents: Documents, record: DeadLetterRecord) -> None:
    chunks = [
        Put(chunk_key(record.facts.id, index), {"letter": record.facts.id, "data": part})
        for index, part in enumerate(_chunks(record.data))
    ]
    for start in range(0, len(chunks), _CHUNKS_PER_COMMIT):
        await documents.commit(chunks[start : start + _CHUNKS_PER_COMMIT])


def _chunks(data: bytes) -> list[bytes]:
    """Split data that do not fit into the letter."""
    if len(data) <= MAX_INLINE_BYTES:
        return []
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


async def _read_chunks(documents: DocumentReader, letter_id: str, count: int) -> bytes:
    parts = []
    for index in range(count):
        chunk = await documents.get(chunk_key(letter_id, index))
        if chunk is None:
            raise LetterDamagedError(f"letter {letter_id}: chunk {index + 1} of {count} is missing")
        parts.append(cast("bytes", chunk.fields["data"]))
    return b"".join(parts)


def _letter_fields(record: DeadLetterRecord, facts: LetterFacts, *, reduced: bool) -> Fields:
    known: Fields = asdict(facts)
    del known["id"]
    chunks = len(_chunks(record.data))
    content: Fields = {"chunks": chunks} if chunks else {"data": record.data}
    if reduced:
        content["attributes_json"] = json.dumps(dict(record.attributes)).encode("ascii")
    else:  # a flat list, because attribute names obey no field-name rule
        content["attributes"] = [text for pair in record.attributes.items() for text in pair]
    return {**known, **content}


def _read_attributes(stored: Mapping[str, Any]) -> dict[str, str]:
    if "attributes_json" in stored:
        return dict(json.loads(stored["attributes_json"]))
    flat: Sequence[str] = stored["attributes"]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _shortened(facts: LetterFacts) -> LetterFacts:
    texts: dict[str, Any] = {
        name: one_ascii_line(value)[:_REDUCED_TEXT_CHARS]
        for name, value in asdict(facts).items()
        if isinstance(value, str) and value
    }
    return replace(facts, **texts)


async def _explain(documents: Documents, facts: LetterFacts) -> None:
    """Put our reason on a letter of which only the broker's forward had come: a forward does not know why."""
    document = await documents.get(letter_key(facts.id))
    if document is None:
        raise StoreUnavailableError("the store refused to create a letter that is not there")
    if facts.reason == BROKER_ATTEMPTS_EXHAUSTED or document.fields["reason"] != BROKER_ATTEMPTS_EXHAUSTED:
        return
    known = asdict(facts)
    explanation: Fields = {name: known[name] for name in _EXPLANATION}
    try:
        await documents.commit([Update(document.key, explanation, if_version=document.version)])
    except PreconditionFailedError as error:
        raise StoreUnavailableError("the letter changed while it was being explained") from error
