"""The archive's promises, over every store: what comes out is exactly what went in, whatever its size."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from expert_bot.deadletters.archive import (
    CHUNK_BYTES,
    MAX_INLINE_BYTES,
    LetterDamagedError,
    chunk_key,
    letter_key,
    read_letter,
    store_letter,
)
from expert_bot.deadletters.reading import list_letters
from expert_bot.deadletters.record import DeadLetterRecord, read_record
from expert_bot.delivery import Delivery
from expert_bot.ports import Delete, Documents, Update

NOW = datetime(2023, 5, 2, 9, 32, tzinfo=UTC)
MAX_DATA_BYTES = 10_000_000  # what Pub/Sub takes
FULLEST = {f"{'ñ.`/' * 40}{number:04}"[:200]: "x" * 1024 for number in range(96)}


def record(unique: str, size: int = 1, **attributes: str) -> DeadLetterRecord:
    """Return a letter of this size that no other test has."""
    data = random.Random(size).randbytes(size)
    context = {"ce-id": unique, "ce-source": "//s", "ce-type": "t", "ce-specversion": "1.0"}
    marks = {"dl-reason": f"reason-{unique}", "dl-subscription": "expert-bot-x"}
    delivery = Delivery(
        subscription="expert-bot-dead-letters",
        data=data,
        attributes=attributes | context | marks,
        published_at=NOW,
    )
    return read_record(delivery, NOW)


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize(
    "size",
    [0, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1, MAX_DATA_BYTES],
    ids=["empty", "largest in one", "smallest in chunks", "one chunk", "two chunks", "largest message"],
)
async def test_a_letter_comes_out_as_it_went_in(
    size: int, documents: Documents, unique: str, *, reduced: bool
) -> None:
    """Bytes, attributes and facts are the same after a way through the store; storing it again changes nothing."""
    letter = record(unique, size)
    assert await store_letter(documents, letter, reduced=reduced)
    assert not await store_letter(documents, letter, reduced=reduced)
    assert letter == await read_letter(documents, letter.facts.id)


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
async def test_the_fullest_message_fits(documents: Documents, unique: str, *, reduced: bool) -> None:
    """100 attributes of 1 KiB with names that no field could have, beside the most data that stands in a letter."""
    letter = record(unique, MAX_INLINE_BYTES, **FULLEST)
    assert len(letter.attributes) == 100
    assert await store_letter(documents, letter, reduced=reduced)
    assert letter == await read_letter(documents, letter.facts.id)


async def test_an_unknown_letter_is_none(documents: Documents, unique: str) -> None:
    """Nothing is made up."""
    assert await read_letter(documents, unique) is None


async def test_a_damaged_letter_is_told(documents: Documents, unique: str) -> None:
    """Changed bytes and missing chunks never pass for the original."""
    small, big = record(f"{unique}-small"), record(f"{unique}-big", 2 * CHUNK_BYTES)
    for letter in (small, big):
        await store_letter(documents, letter)
    await documents.commit(
        [Update(letter_key(small.facts.id), {"data": b"other"}), Delete(chunk_key(big.facts.id, 1))]
    )
    for letter, said in ((small, "checksum"), (big, "chunk 2 of 2 is missing")):
        with pytest.raises(LetterDamagedError, match=said):
            await read_letter(documents, letter.facts.id)


async def test_letters_are_found_by_their_reason(documents: Documents, unique: str) -> None:
    """Of all letters, those of one reason."""
    wanted, other = record(unique), record(f"{unique}-other")
    for letter in (wanted, other):
        await store_letter(documents, letter)
    assert await list_letters(documents, reason=f"reason-{unique}") == [wanted.facts]
    assert {wanted.facts.id, other.facts.id} <= {facts.id for facts in await list_letters(documents)}
