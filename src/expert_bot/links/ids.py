"""A link's id: the same for the same request, and without the key nobody can tell what it is."""

from __future__ import annotations

import hmac
import string
from typing import Final

ID_CHARS: Final = 12
MIN_SECRET_BYTES: Final = 32
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PURPOSE: Final = b"\x00expert-bot link ids 1"
"""What the key is derived for. No user id has its first byte, so that no pseudonym is ever a part of the key."""


class LinkIds:
    """HMAC-SHA256 of requests, cut to 12 base62 characters: 71 bits."""

    def __init__(self, secret: bytes) -> None:
        """Take the service's secret of at least 32 bytes, and derive this purpose's own key from it.

        Raises ValueError if it is shorter.
        """
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret has at least {MIN_SECRET_BYTES} bytes, not {len(secret)}")
        self._key = hmac.digest(secret, _PURPOSE, "sha256")

    def __call__(self, source: str, event_id: str, attempt: int) -> str:
        """Return the id of a request's link. `attempt`: 0, then 1 and so on while others have the id already."""
        # line ends cannot be in an event's source or id, so that no two requests have the same text
        request = f"{source}\n{event_id}\n{attempt}".encode()
        number = int.from_bytes(hmac.digest(self._key, request, "sha256"), "big")
        digits = []
        for _ in range(ID_CHARS):
            number, digit = divmod(number, len(_BASE62))
            digits.append(_BASE62[digit])
        return "".join(digits)
