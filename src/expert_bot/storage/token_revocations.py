"""Which tokens are no longer good although they have not expired: what the service's own account records say."""

from __future__ import annotations

from datetime import UTC, datetime

from expert_bot.ports import DocKey, DocumentReader
from expert_bot.storage.users_identity import USERS_COLLECTION


class UsersRevocations:
    """Reads `users/{user_id}`: `disabled`, and `tokens_valid_after`, the instant before which nobody is signed in any more."""

    def __init__(self, documents: DocumentReader) -> None:
        self._documents = documents

    async def is_revoked(self, user_id: str, auth_time: int) -> bool:
        """Tell whether a token of somebody who signed in at `auth_time` (seconds since the epoch) is no longer good.

        No record, or a record that says nothing, revokes nothing; one that nobody can read revokes everything. Raises
        StoreUnavailableError.
        """
        document = await self._documents.get(DocKey(USERS_COLLECTION, user_id))
        if document is None:
            return False
        if document.fields.get("disabled") not in (None, False):
            return True
        valid_after = document.fields.get("tokens_valid_after")
        if valid_after is None:
            return False
        return not isinstance(valid_after, datetime) or datetime.fromtimestamp(auth_time, UTC) < valid_after
