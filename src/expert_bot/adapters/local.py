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
    """Return the pseudonyms that analytics have in the place of user ids. Raises UsageError."""
    return Pseudonyms(service_secret(settings))


def service_secret(settings: Settings) -> bytes:
    """Return the key that is set; in local modes, where none is, the data folder's own. Raises UsageError."""
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key.get_secret_value().encode()
    return local_key(data_folder(settings))


def data_folder(settings: Settings) -> Path:
    """Return the data folder, made if it is missing. Raises UsageError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"EXPERT_BOT_DATA_DIR={str(settings.data_dir)!r} cannot be used: {error.strerror}"
        ) from error
    return settings.data_dir
