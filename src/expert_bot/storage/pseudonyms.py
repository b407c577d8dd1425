"""Pseudonyms of user ids: the same id always has the same one, and without the key nobody finds the id again."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Final

from expert_bot.errors import UsageError
from expert_bot.storage.key_files import made_once

MIN_KEY_BYTES: Final = 32
_KEY_FILE: Final = "pseudonym.key"
_HEX_DIGITS: Final = 32


class Pseudonyms:
    """HMAC-SHA256 of user ids, in hexadecimal, cut to 128 bits (RFC 2104, section 5: at least half of the hash)."""

    def __init__(self, key: bytes) -> None:
        """Take a secret of at least 32 bytes. Raises ValueError if it is shorter."""
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"a pseudonym key has at least {MIN_KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    def __call__(self, user_id: str) -> str:
        """Return the pseudonym of a user id: 32 hexadecimal digits."""
        return hmac.digest(self._key, user_id.encode(), "sha256").hex()[:_HEX_DIGITS]


def local_key(folder: Path) -> bytes:
    """Return the key that lies in a data folder; make it the first time, readable by the owner only.

    Whoever makes it first, everyone has the same key. Raises UsageError if the folder or the file cannot be used.
    """
    path = folder / _KEY_FILE
    try:
        key = bytes.fromhex(made_once(path, _new_key).decode("ascii"))
    except (OSError, ValueError) as error:
        raise UsageError(f"pseudonym key {path} cannot be used: {error}") from error
    if len(key) < MIN_KEY_BYTES:
        raise UsageError(f"pseudonym key {path} has {len(key)} bytes instead of {MIN_KEY_BYTES}")
    return key


def _new_key() -> bytes:
    return secrets.token_hex(MIN_KEY_BYTES).encode("ascii")
