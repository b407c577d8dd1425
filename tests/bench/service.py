"""The service as a contender: pull consumer, dispatcher, inbox and publisher as in production, with an echo handler.

The handler answers at once, so that what is timed is delivery: decode, claim, validate, commit, publish, mark, acknowledge.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull import EMULATOR, PullConsumer
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.dispatch import Dispatcher
from expert_bot.google_channels import open_channel
from expert_bot.handlers import Context, Handler, Reply, Result
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import InboxSettings
from expert_bot.ports import Documents
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.service import calm_garbage_collector
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.firestore_documents import FirestoreDocuments
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.system_clock import SystemClock
from expert_bot.storage.users_identity import UsersIdentity
from expert_bot.telemetry import configure_logging
from tests.bench.loops import Job


class Text(EventData):
    """The smallest request and reply: a text of somebody's."""

    user_id: str
    message: str


REQUESTED: Final = EventType(
    name="com.smarwatt.bench.requested.v1", data=Text, summary="Echo this.", example={}
)
ECHOED: Final = EventType(name="com.smarwatt.bench.echoed.v1", data=Text, summary="The echo.", example={})


async def echo(request: Text, _context: Context) -> Result:
    """Answer with the request: the cheapest handler."""
    return Result(replies=(Reply(ECHOED, request),))


async def expert_bot_memory(job: Job) -> None:
    """Run over an in-memory inbox, log lines off."""
    configure_logging("error", "json")
    await _run(job, MemoryDocuments())


async def expert_bot_memory_logged(job: Job) -> None:
    """Run over an in-memory inbox with production's log lines (standard error is the caller's)."""
    configure_logging("info", "json")
    await _run(job, MemoryDocuments())


async def expert_bot_firestore(job: Job) -> None:
    """Run over Firestore."""
    configure_logging("error", "json")
    host = os.environ["FIRESTORE_EMULATOR_HOST"]
    await _run(job, FirestoreDocuments(project=job.topic.split("/")[1], emulator_host=host))


async def _run(job: Job, documents: Documents) -> None:
    project, topic = job.topic.split("/")[1], job.topic.split("/")[3]
    channel = open_channel(emulator_host=job.host)
    done = asyncio.Event()
    subscription = job.subscription.split("/")[3]
    publisher = PubsubPublisher(channel=channel, project=project)
    family = EventFamily(
        name=topic.removesuffix("-replies"),
        requested=REQUESTED,
        replies=(ECHOED,),
        ordering_key=lambda data: data.user_id,
    )
    clock = SystemClock()
    dispatcher = Dispatcher(
        inbox=Inbox(documents=documents, publisher=publisher, clock=clock, settings=InboxSettings()),
        publisher=publisher,
        documents=documents,
        identity=UsersIdentity(documents),
        analytics=DuckdbAnalytics(Path("never-opened.duckdb"), pseudonym=str),
        files=LocalFiles(Path("/")),
        clock=clock,
        families={subscription: family},
        handlers={REQUESTED.name: Handler("echo", REQUESTED, echo)},
        source="urn:bench",
        allowed_sources=("*",),
    )

    async def process(delivery: Delivery) -> Outcome:
        outcome = await dispatcher.process(delivery)
        if outcome == Ack() and job.settle(delivery.attributes["ce-id"]):
            done.set()
        return outcome

    consumer = PullConsumer(
        channel=channel,
        project=project,
        subscription=subscription,
        process=process,
        pulls=job.streams,
        polling=EMULATOR,
        budget=Budget(),
        ordered=False,
    )
    with calm_garbage_collector():
        running = asyncio.create_task(consumer.run())
        await done.wait()
        await consumer.drain(1)
        await running
    await publisher.close()
    await documents.close()
    await channel.close()
