"""The event registry: families found in `schemas/events`, one module each. Everything else is derived from it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from expert_bot.schemas import events
from expert_bot.schemas.problem import Problem

TYPE_PREFIX: Final = "com.smarwatt."
DEFAULT_MAX_DATA_BYTES: Final = 256 * 1024


class EventData(BaseModel):
    """Base of every event's `data`: strict types, frozen, unknown members ignored so that publishers can evolve first."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", ser_json_inf_nan="constants")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event: its full CloudEvents `type`, the schema of its data, one sentence, and an example's data."""

    name: str
    data: type[BaseModel]
    summary: str
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFamily:
    """A request type, its replies, and the topics they travel on.

    `ordering_key`: what a request's data is ordered by. `handler_timeout_s`: time a handler may take.
    `max_data_bytes`: largest accepted message. `failed` is the family's own `*.failed` reply type, always there.
    """

    name: str
    requested: EventType
    replies: tuple[EventType, ...]
    ordering_key: Callable[[Any], str]
    handler_timeout_s: float = 30.0
    max_data_bytes: int = DEFAULT_MAX_DATA_BYTES

    @property
    def request_topic(self) -> str:
        """Topic that requests arrive on."""
        return f"{self.name}-requests"

    @property
    def reply_topic(self) -> str:
        """Topic that replies, failures included, leave on."""
        return f"{self.name}-replies"

    @property
    def subscription(self) -> str:
        """The service's subscription to the request topic."""
        return f"expert-bot-{self.request_topic}"

    @property
    def failed(self) -> EventType:
        """The reply that says a request died."""
        return EventType(
            name=f"{TYPE_PREFIX}{self.name}.failed.v1",
            data=Problem,
            summary=f"A {self.name} request could not be answered; says why and whether to try again.",
            example={
                "type": "urn:expert-bot:problem:schema-violation",
                "title": "The event does not match its schema",
                "status": 422,
                "detail": "user_id: Field required",
                "reason": "schema-violation",
                "retriable": False,
            },
        )

    @property
    def emitted(self) -> tuple[EventType, ...]:
        """Every type this family may answer with."""
        return (*self.replies, self.failed)


@cache
def all_families() -> tuple[EventFamily, ...]:
    """Return every family defined in `schemas/events`, sorted by name."""
    found = [
        module.FAMILY
        for entry in pkgutil.iter_modules(events.__path__)
        if isinstance(
            (module := importlib.import_module(f"{events.__name__}.{entry.name}")).FAMILY, EventFamily
        )
    ]
    return tuple(sorted(found, key=lambda family: family.name))


@cache
def families_by_subscription() -> Mapping[str, EventFamily]:
    """Return the families by the name of this service's subscription to their requests."""
    return {family.subscription: family for family in all_families()}
