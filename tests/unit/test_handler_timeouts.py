"""The time a handler may take: its family's own, or what the settings say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from expert_bot.adapters import open_adapters
from expert_bot.app import build_dispatcher, families_of
from expert_bot.config import Settings
from expert_bot.delivery import Delivery, Retry
from expert_bot.errors import SettingError
from expert_bot.handlers import Handler, Result
from expert_bot.ports import DEFAULT_MAX_WORK_S
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatRequested


def test_a_family_has_its_own_time_unless_a_setting_says_otherwise() -> None:
    """Set or not, every other property of the family stays."""
    assert families_of(Settings())[FAMILY.subscription] is not None
    assert families_of(Settings())[FAMILY.subscription].handler_timeout_s == FAMILY.handler_timeout_s
    changed = families_of(Settings(handler_timeouts_s={"chat": 7.5}))[FAMILY.subscription]
    assert (changed.handler_timeout_s, changed.name) == (7.5, "chat")
    assert FAMILY.handler_timeout_s == 30.0, "the registry must not have been touched"


def test_a_family_that_does_not_exist_is_named() -> None:
    """The error says which families there are."""
    with pytest.raises(SettingError, match=r"'chatt' is no event family; known: .*chat"):
        families_of(Settings(handler_timeouts_s={"chatt": 5.0}))


def test_the_settings_text_is_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and empty parts do no harm."""
    monkeypatch.setenv("EXPERT_BOT_HANDLER_TIMEOUTS_S", " chat = 20 ,, link=0.5 ")
    assert Settings().handler_timeouts_s == {"chat": 20.0, "link": 0.5}


def test_the_longest_time_fits_into_the_lease_that_a_broker_allows() -> None:
    """480 s, and what comes before and after the handler."""
    longest = next(
        each.le
        for each in Settings.model_fields["handler_timeouts_s"]
        .annotation.__args__[1]
        .__metadata__[0]
        .metadata  # type: ignore[union-attr]  # pydantic's own structure
        if hasattr(each, "le")
    )
    assert longest + 120 <= DEFAULT_MAX_WORK_S


async def test_a_handler_over_its_settings_time_is_cancelled_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second instead of thirty: the handler is stopped, the attempt counted."""
    cancelled = asyncio.Event()

    async def never_ends(_request: ChatRequested, _context: object) -> Result:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    slow = Handler("slow", FAMILY.requested, never_ends)
    monkeypatch.setattr("expert_bot.app.all_handlers", lambda: {FAMILY.requested.name: slow})
    settings = Settings(data_dir=tmp_path, handler_timeouts_s={"chat": 0.5}, lease_s=3.0)
    async with open_adapters(settings) as adapters:
        dispatcher, _ = build_dispatcher(settings, adapters)
        data = ChatRequested(message="hola", user_id="user-ana", source="test").model_dump_json().encode()
        event = CloudEvent(id="e-1", source="urn:test", type=FAMILY.requested.name, data=data)
        message = pubsub.encode_binary(event, FAMILY.request_topic)
        outcome = await dispatcher.process(
            Delivery(subscription=FAMILY.subscription, data=message.data, attributes=message.attributes)
        )
    assert isinstance(outcome, Retry)
    assert (outcome.cause, cancelled.is_set()) == ("TimeoutError", True)
