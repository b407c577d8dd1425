"""The only place that picks adapters: everything outside, behind its ports, as the mode asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from expert_bot.adapters.kit import Adapters as Adapters
from expert_bot.config import Mode, Settings
from expert_bot.schemas.topology import topology


@asynccontextmanager
async def open_adapters(settings: Settings) -> AsyncIterator[Adapters]:
    """Open the adapters that the mode asks for; close them afterwards, the publisher first.

    A mode imports, and pays for, its own libraries only. Raises SettingError or UsageError.
    """
    async with AsyncExitStack() as stack:
        if settings.mode is Mode.EMBEDDED:
            from expert_bot.adapters.embedded import embedded_adapters  # noqa: PLC0415

            adapters = embedded_adapters(settings, stack)
            await adapters.require_admin().apply(topology())
        else:
            from expert_bot.adapters.google import google_adapters  # noqa: PLC0415

            adapters = await google_adapters(settings, stack)
        yield adapters
