"""Pseudonyms: the same for the same id, different for others, useless without the key, and one key per data folder."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from expert_bot.errors import UsageError
from expert_bot.storage.pseudonyms import Pseudonyms, local_key

KEY = bytes(range(32))


def test_a_pseudonym_is_the_hmac_of_the_id() -> None:
    """HMAC-SHA256 in hexadecimal, its first 128 bits: whoever has the key finds a user's rows by any tool."""
    assert Pseudonyms(KEY)("user-ana") == "210b5ea1e566fc68541300c9b3952b7b"


def test_ids_and_keys_are_told_apart() -> None:
    """Another id or another key gives another pseudonym."""
    pseudonyms = {
        Pseudonyms(key)(user) for key in (KEY, bytes(32)) for user in ("ana", "Ana", "ana ", "", "ñ")
    }
    assert len(pseudonyms) == 10


def test_a_short_key_is_refused() -> None:
    """A key that could be guessed is no key."""
    with pytest.raises(ValueError, match="at least 32 bytes, not 31"):
        Pseudonyms(KEY[:31])


def test_a_folder_has_one_key_for_its_owner_only(tmp_path: Path) -> None:
    """The key is made once, random, and nobody else may read it."""
    key = local_key(tmp_path)
    assert key == local_key(tmp_path)
    assert len(key) == 32
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert key != local_key(other)


def test_all_that_start_together_have_one_key(tmp_path: Path) -> None:
    """Whoever makes the key first, everyone gets the same, and no half of it is ever read."""
    with ThreadPoolExecutor(16) as starters:
        keys = set(starters.map(local_key, [tmp_path] * 64))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


@pytest.mark.parametrize("content", ["", "zz", "00" * 31], ids=["empty", "not hexadecimal", "too short"])
def test_a_broken_key_file_is_refused(content: str, tmp_path: Path) -> None:
    """A damaged key would silently make strangers of all users: the error names the file."""
    (tmp_path / "pseudonym.key").write_text(content)
    with pytest.raises(UsageError, match=r"pseudonym\.key"):
        local_key(tmp_path)


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    """Where no file can be written, the error says so."""
    with pytest.raises(UsageError, match=r"pseudonym\.key cannot be used"):
        local_key(tmp_path / "missing")
