"""The Identity port over the account records the service keeps itself."""

from __future__ import annotations

from typing import Final

from expert_bot.ports import DocKey, DocumentReader

USERS_COLLECTION: Final = "users"


class UsersIdentity:
    """Reads the display name from document `users/{user_id}`, field `display_name`."""

    def __init__(self, documents: DocumentReader) -> None:
        self._documents = documents

    async def display_name(self, user_id: str) -> str | None:
        """Return the stripped display name, or None: no account, no usable name, or an id no document can have.

        Raises StoreUnavailableError.
        """
        try:
            key = DocKey(USERS_COLLECTION, user_id)
        except ValueError:
            return None
        document = await self._documents.get(key)
        name = document.fields.get("display_name") if document is not None else None
        return (name.strip() or None) if isinstance(name, str) else None
