"""Who a user is, read from the account records."""

from __future__ import annotations

import pytest

from expert_bot.ports import Create, DocKey, Value
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.users_identity import UsersIdentity


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        pytest.param("Ana", "Ana", id="name"),
        pytest.param("Ana María", "  Ana María\n", id="spaces-around"),
        pytest.param(None, " \t", id="blank"),
        pytest.param(None, None, id="null"),
        pytest.param(None, 7, id="not-text"),
    ],
)
async def test_display_name_is_stripped_text(expected: str | None, value: Value) -> None:
    """The name is the record's `display_name` without surrounding space, None if nothing is left."""
    documents = MemoryDocuments()
    await documents.commit([Create(DocKey("users", "ana"), {"display_name": value})])
    assert await UsersIdentity(documents).display_name("ana") == expected


@pytest.mark.parametrize("user_id", ["nobody", "", "..", "a/b", "__x__", "ñ" * 751])
async def test_no_record_means_no_name(user_id: str) -> None:
    """A user without a record, or with an id no record can have, has no name."""
    documents = MemoryDocuments()
    await documents.commit([Create(DocKey("users", "ana"), {})])
    assert await UsersIdentity(documents).display_name(user_id) is None
    assert await UsersIdentity(documents).display_name("ana") is None
