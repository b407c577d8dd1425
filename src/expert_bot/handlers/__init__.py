"""One module per event type: load context, decide, return replies and writes.

A module that defines `HANDLES` (the EventType) and `handle` is a handler; nothing else registers it. A handler never
publishes, acknowledges, writes documents, or reads the clock: the inbox commits what it returns, once. What it stores in
Analytics is idempotent. A module may also define `begin` and `fail`, for families that keep a record of their work.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import BaseModel

from expert_bot.energy.calendar import Month
from expert_bot.links.stored import LinkRules
from expert_bot.ports import Analytics, DocumentReader, Files, Identity, Write
from expert_bot.records import record
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.families import EventType
from expert_bot.schemas.problem import Problem


@record(kw_only=True)
class Context:
    """What a handler may know besides its request.

    `asked_at`: aware UTC instant the request was made (the event's `time`; where absent, when it was received).
    `received_at`: when this delivery of it was received, by this worker's clock.
    `confirmed`: months of conditional tax law that are settled, and whether the condition was met.
    `links`: how short links are made; None: this service makes none.
    """

    event: CloudEvent
    asked_at: datetime
    received_at: datetime
    documents: DocumentReader
    identity: Identity
    analytics: Analytics
    files: Files
    confirmed: Mapping[Month, bool]
    links: LinkRules | None = None


@record()
class Reply:
    """One event to answer with: its type, one of the family's, and its data."""

    type: EventType
    data: BaseModel


@record(kw_only=True)
class Result:
    """What a handler decided: replies to publish and writes to commit with them, all or none.

    A write that depends on something read carries that document's version as precondition; when it fails, the handler
    runs again on fresh context.
    """

    replies: tuple[Reply, ...] = ()
    writes: tuple[Write, ...] = ()


Handle = Callable[[Any, Context], Awaitable[Result]]
Begin = Callable[[Any, Context], Awaitable[tuple[Write, ...]]]
Fail = Callable[[Any, Context, Problem], Awaitable[tuple[Write, ...]]]


@record()
class Handler:
    """A handler as found: `name` (its module's) is part of every reply id, so renaming a module changes reply ids.

    `begin`: returns what is written when work on a request begins, in a commit of its own that may be refused or come
    late: each write carries the version it was read at. `fail`: what is committed with the request's death.
    """

    name: str
    handles: EventType
    handle: Handle
    begin: Begin | None = None
    fail: Fail | None = None


@cache
def all_handlers() -> Mapping[str, Handler]:
    """Return every handler in this package by the event type name it handles.

    Raises TypeError if two modules handle one type.
    """
    handlers: dict[str, Handler] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        handler = Handler(
            entry.name,
            module.HANDLES,
            module.handle,
            getattr(module, "begin", None),
            getattr(module, "fail", None),
        )
        if handler.handles.name in handlers:
            raise TypeError(
                f"both {handlers[handler.handles.name].name} and {entry.name} handle {handler.handles.name}"
            )
        handlers[handler.handles.name] = handler
    return handlers
