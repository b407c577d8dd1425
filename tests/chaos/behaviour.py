"""How a worker process differs from the real one, told to it by whoever starts it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import expert_bot.app
import expert_bot.service
from expert_bot.adapters import Adapters
from expert_bot.config import Settings
from expert_bot.handlers import Context, Handler, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """`kill_at`: die at the `nth` time this step is reached. `clock_off_s`: how wrong its clock is.

    `exact`: events pass between publish and mark one by one. `pauses_s`: each handler takes one of these, at random.
    """

    kill_at: str | None = None
    nth: int = 1
    exact: bool = False
    clock_off_s: float = 0.0
    pauses_s: tuple[float, ...] = ()


class WrongClock:
    """The machine's clock, off by some seconds."""

    def __init__(self, off_s: float) -> None:
        self._off = timedelta(seconds=off_s)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._off


def behave(behaviour: Behaviour, trace: Path) -> None:
    """Change this process: its clock and its handlers. In the trace `h` is a handler that began, `e` one that ended."""
    if behaviour.clock_off_s:
        clock = WrongClock(behaviour.clock_off_s)
        expert_bot.service.open_adapters = _with_clock(expert_bot.service.open_adapters, clock)
    if behaviour.pauses_s:
        written = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        slowed = {
            name: replace(handler, handle=_slowed(handler, behaviour.pauses_s, written))
            for name, handler in expert_bot.app.all_handlers().items()
        }
        expert_bot.app.all_handlers = _always(slowed)


def _always(handlers: Mapping[str, Handler]) -> Any:
    return lambda: handlers


def _with_clock(
    open_adapters: Callable[[Settings], AbstractAsyncContextManager[Adapters]], clock: WrongClock
) -> Any:
    @asynccontextmanager
    async def open_with_clock(settings: Settings) -> AsyncIterator[Adapters]:
        async with open_adapters(settings) as adapters:
            yield replace(adapters, clock=clock)

    return open_with_clock


def _slowed(handler: Handler, pauses_s: tuple[float, ...], trace: int) -> Any:
    async def handle(request: Any, context: Context) -> Result:
        os.write(trace, b"h")
        try:
            await asyncio.sleep(random.choice(pauses_s))
            return await handler.handle(request, context)
        finally:
            os.write(trace, b"e")

    return handle
