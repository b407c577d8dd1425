"""What embedded and emulators modes keep in the data folder."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from expert_bot.config import Settings
from expert_bot.errors import UsageError
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.pseudonyms import Pseudonyms, local_key


def local_analytics(settings: Settings, stack: AsyncExitStack) -> DuckdbAnalytics:
    """Return analytics in the data folder's file. Raises UsageError."""
    analytics = DuckdbAnalytics(data_folder(settings) / "analytics.duckdb", pseudonym=pseudonyms(settings))
    stack.push_async_callback(analytics.close)
    return analytics


def pseudonyms(settings: Settings) -> Pseudonyms:
    """Return the pseudonyms of the key that is set; in local modes, where none is, of the data folder's own."""
    if settings.pseudonym_key is not None:
        return Pseudonyms(settings.pseudonym_key.get_secret_value().encode())
    return Pseudonyms(local_key(data_folder(settings)))


def data_folder(settings: Settings) -> Path:
    """Return the data folder, made if it is missing. Raises UsageError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"EXPERT_BOT_DATA_DIR={str(settings.data_dir)!r} cannot be used: {error.strerror}"
        ) from error
    return settings.data_dir
