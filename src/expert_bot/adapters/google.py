"""Cloud and emulators modes: Pub/Sub, Firestore, BigQuery, Cloud Storage, through Google's own clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from google.auth.exceptions import DefaultCredentialsError

from expert_bot.adapters.kit import Adapters
from expert_bot.adapters.local import local_analytics, pseudonyms
from expert_bot.config import Mode, Settings
from expert_bot.consumers.budget import Budget
from expert_bot.consumers.pull import EMULATOR, SERVICE, PullConsumer
from expert_bot.delivery import Delivery, Outcome
from expert_bot.errors import SettingError
from expert_bot.google_channels import open_channel
from expert_bot.ports import DEFAULT_MAX_WORK_S, Analytics, Consumer, Files
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.publishers.pubsub_admin import PubsubAdmin
from expert_bot.storage.firestore_documents import FirestoreDocuments
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.system_clock import SystemClock
from expert_bot.storage.users_identity import UsersIdentity

Process = Callable[[Delivery], Awaitable[Outcome]]

_NO_CREDENTIALS: Final = (
    "no Google credentials found; run on Google Cloud, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
)


async def google_adapters(settings: Settings, stack: AsyncExitStack) -> Adapters:
    """Return adapters of Google's engines or of their emulators, closed with the stack. Raises SettingError, UsageError."""
    analytics = await _open_analytics(settings, stack)

    in_cloud = settings.mode is Mode.CLOUD
    budget = Budget(settings.max_in_flight)
    try:
        channel = open_channel(emulator_host=settings.pubsub_emulator_host)
        documents = FirestoreDocuments(
            project=settings.project, emulator_host=settings.firestore_emulator_host
        )
    except DefaultCredentialsError as error:
        raise SettingError(_NO_CREDENTIALS) from error

    def make_consumer(
        subscription: str, process: Process, *, ordered: bool, max_work_s: float = DEFAULT_MAX_WORK_S
    ) -> Consumer:
        return PullConsumer(
            channel=channel,
            project=settings.project,
            subscription=subscription,
            process=process,
            pulls=settings.pulls,
            budget=budget,
            polling=SERVICE if in_cloud else EMULATOR,
            ack_deadline_s=settings.ack_deadline_s,
            ordered=ordered,
            max_extension_s=max_work_s,
        )

    publisher = PubsubPublisher(channel=channel, project=settings.project)
    stack.push_async_callback(channel.close)
    stack.push_async_callback(documents.close)
    stack.push_async_callback(publisher.close)  # the first to be closed: it sends what is buffered
    return Adapters(
        documents=documents,
        publisher=publisher,
        identity=UsersIdentity(documents),
        clock=SystemClock(),
        make_consumer=make_consumer,
        files=_cloud_files(settings, stack) if in_cloud else LocalFiles(settings.documents_dir),
        admin=None if in_cloud else PubsubAdmin(channel=channel, project=settings.project),
        analytics=analytics,
    )


def _cloud_files(settings: Settings, stack: AsyncExitStack) -> Files:
    from google.cloud.storage import Client  # noqa: PLC0415  # large, and of no use with emulators

    from expert_bot.storage.cloud_files import CloudFiles  # noqa: PLC0415  # likewise

    files = CloudFiles(Client(project=settings.project), settings.document_buckets)
    stack.push_async_callback(files.close)
    return files


async def _open_analytics(settings: Settings, stack: AsyncExitStack) -> Analytics:
    """Open BigQuery in the cloud or on an emulator, whose tables are made if they are missing; else the local file."""
    if settings.mode is not Mode.CLOUD and settings.bigquery_emulator_host is None:
        return local_analytics(settings, stack)

    from expert_bot.storage.bigquery_analytics import BigqueryAnalytics  # noqa: PLC0415  # large, seldom with emulators

    try:
        analytics = BigqueryAnalytics(
            project=settings.project,
            dataset=settings.bigquery_dataset,
            location=settings.bigquery_location,
            emulator_host=settings.bigquery_emulator_host,
            pseudonym=pseudonyms(settings),
        )
    except DefaultCredentialsError as error:
        raise SettingError(_NO_CREDENTIALS) from error
    stack.push_async_callback(analytics.close)
    if settings.bigquery_emulator_host is not None:
        await analytics.ensure_tables()
    return analytics
