"""The typed client over a real broker, as a sibling service would use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from expert_bot.adapters import open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.publishers import NoReplyError, connect
from expert_bot.schemas.events.chat import ChatRequested, ChatResponded
from expert_bot.schemas.topology import topology
from expert_bot.service import Worker

pytestmark = pytest.mark.emulator


async def test_a_sibling_service_asks_fifty_questions(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """Every one gets its own answer; when nobody works, asking says so."""
    settings = Settings(
        mode=Mode.EMULATORS,
        data_dir=tmp_path,
        PUBSUB_EMULATOR_HOST=pubsub_emulator,
        FIRESTORE_EMULATOR_HOST=firestore_emulator,
        GOOGLE_CLOUD_PROJECT="client-tests",
    )
    async with open_adapters(settings) as adapters:
        await adapters.require_admin().apply(topology())
        worker = Worker(settings, adapters)
        worker.start()
        async with connect(
            project="client-tests", source="urn:test:sibling", emulator_host=pubsub_emulator
        ) as client:
            answers = await asyncio.gather(*(client.ask(question(number)) for number in range(50)))
            await worker.drain()
            with pytest.raises(NoReplyError):
                await client.ask(question(51), timeout_s=1)
    conversations = [
        answer.data.conversation_id for answer in answers if isinstance(answer.data, ChatResponded)
    ]
    assert conversations == [f"conv-{number}" for number in range(50)]


def question(number: int) -> ChatRequested:
    """Return a question in a conversation of its own."""
    return ChatRequested(
        message="¿Cuánto consumí en abril de 2023?",
        user_id=f"user-{number}",
        source="energy_ia_api",
        conversation_id=f"conv-{number}",
    )
