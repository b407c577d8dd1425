"""The composition root: the only place that picks adapters and wires the core over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from expert_bot.config import Mode, Settings
from expert_bot.delivery import Delivery, Outcome
from expert_bot.dispatch import ANY_SOURCE, Dispatcher, Observe
from expert_bot.energy.calendar import Month
from expert_bot.errors import SettingError, UsageError
from expert_bot.handlers import all_handlers
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Failpoints, InboxSettings
from expert_bot.ports import (
    DEFAULT_MAX_WORK_S,
    Analytics,
    BusAdmin,
    Clock,
    Consumer,
    Documents,
    Files,
    Identity,
    MakeConsumer,
    Publisher,
)
from expert_bot.publishers import RequestClient
from expert_bot.schemas.families import EventFamily, families_by_subscription
from expert_bot.schemas.topology import topology
from expert_bot.storage.local_files import LocalFiles
from expert_bot.storage.pseudonyms import Pseudonyms, local_key
from expert_bot.storage.system_clock import SystemClock

Process = Callable[[Delivery], Awaitable[Outcome]]

_NO_CREDENTIALS: Final = (
    "no Google credentials found; run on Google Cloud, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Everything outside, behind its ports. `admin` is None where topics and subscriptions are Terraform's."""

    documents: Documents
    publisher: Publisher
    identity: Identity
    clock: Clock
    make_consumer: MakeConsumer
    files: Files
    analytics: Analytics
    admin: BusAdmin | None = None

    def require_admin(self) -> BusAdmin:
        """Return the admin. Raises UsageError where topics and subscriptions are Terraform's."""
        if self.admin is None:
            raise UsageError(
                "in cloud mode topics and subscriptions are created by Terraform, from infra/topics.json"
            )
        return self.admin


def confirmed_months(settings: Settings) -> dict[Month, bool]:
    """Return the months of conditional tax law that are settled, and whether the condition was met."""
    return {Month.parse(month): outcome == "met" for month, outcome in settings.tax_conditions.items()}


def make_client(adapters: Adapters, source: str) -> RequestClient:
    """Return a client whose requests come from `source`. Raises UsageError where it cannot make its subscriptions."""
    return RequestClient(
        publisher=adapters.publisher,
        admin=adapters.require_admin(),
        make_consumer=adapters.make_consumer,
        clock=adapters.clock,
        source=source,
    )


@asynccontextmanager
async def open_adapters(settings: Settings) -> AsyncIterator[Adapters]:
    """Open the adapters that the mode asks for; close them afterwards, the publisher first."""
    async with AsyncExitStack() as stack:
        if settings.mode is Mode.EMBEDDED:
            adapters = _embedded_adapters(settings, stack)
            await adapters.require_admin().apply(topology())
        else:
            analytics = await _open_analytics(settings, stack)
            adapters = _google_adapters(settings, stack, analytics)
        yield adapters


def build_dispatcher(
    settings: Settings,
    adapters: Adapters,
    *,
    failpoints: Failpoints | None = None,
    observe: Observe | None = None,
) -> tuple[Dispatcher, Inbox]:
    """Wire the core: every event family and handler that exists, over the given adapters; `observe`: see Dispatcher."""
    inbox = Inbox(
        documents=adapters.documents,
        publisher=adapters.publisher,
        clock=adapters.clock,
        settings=InboxSettings(
            lease_s=settings.lease_s,
            retention=timedelta(days=settings.dedup_retention_days),
            max_attempts=settings.max_attempts,
        ),
        failpoints=failpoints,
    )
    dispatcher = Dispatcher(
        inbox=inbox,
        publisher=adapters.publisher,
        documents=adapters.documents,
        identity=adapters.identity,
        analytics=adapters.analytics,
        files=adapters.files,
        clock=adapters.clock,
        families=families_of(settings),
        handlers=all_handlers(),
        source=settings.source,
        allowed_sources=settings.allowed_sources or (ANY_SOURCE,),
        confirmed=confirmed_months(settings),
        observe=observe,
    )
    return dispatcher, inbox


def families_of(settings: Settings) -> dict[str, EventFamily]:
    """Return the event families by subscription, with the handler timeouts that the settings give them.

    Raises SettingError for a timeout of a family that does not exist.
    """
    families = families_by_subscription()
    known = sorted(family.name for family in families.values())
    for name in settings.handler_timeouts_s:
        if name not in known:
            raise SettingError(
                f"EXPERT_BOT_HANDLER_TIMEOUTS_S: {name!r} is no event family; known: {', '.join(known)}"
            )
    return {
        subscription: replace(
            family, handler_timeout_s=settings.handler_timeouts_s.get(family.name, family.handler_timeout_s)
        )
        for subscription, family in families.items()
    }


def _embedded_adapters(settings: Settings, stack: AsyncExitStack) -> Adapters:
    # Adapters are imported where they are picked, so that a mode pays only for its own libraries.
    from expert_bot.consumers.budget import Budget  # noqa: PLC0415
    from expert_bot.consumers.embedded import EmbeddedConsumer  # noqa: PLC0415
    from expert_bot.publishers.embedded import EmbeddedPublisher  # noqa: PLC0415
    from expert_bot.storage.duckdb_analytics import DuckdbAnalytics  # noqa: PLC0415
    from expert_bot.storage.sqlite_bus import SqliteBus  # noqa: PLC0415
    from expert_bot.storage.sqlite_documents import SqliteDocuments  # noqa: PLC0415
    from expert_bot.storage.sqlite_file import SqliteFile  # noqa: PLC0415
    from expert_bot.storage.users_identity import UsersIdentity  # noqa: PLC0415

    folder = _data_folder(settings)
    budget = Budget(settings.max_in_flight)
    clock = SystemClock()
    documents = SqliteDocuments(SqliteFile(folder / "documents.sqlite3"))
    bus = SqliteBus(SqliteFile(folder / "bus.sqlite3"), clock=clock)

    def make_consumer(
        subscription: str,
        process: Process,
        *,
        ordered: bool,  # noqa: ARG001  # the bus knows
        max_work_s: float = DEFAULT_MAX_WORK_S,  # noqa: ARG001  # nothing to extend: the lease is renewed by the file's owner
    ) -> Consumer:
        return EmbeddedConsumer(bus, subscription, process, budget=budget)

    publisher = EmbeddedPublisher(bus)
    analytics = DuckdbAnalytics(folder / "analytics.duckdb", pseudonym=_pseudonyms(settings))
    for adapter in (analytics, documents, publisher):  # closed in the opposite order
        stack.push_async_callback(adapter.close)
    return Adapters(
        documents=documents,
        publisher=publisher,
        identity=UsersIdentity(documents),
        clock=clock,
        make_consumer=make_consumer,
        files=LocalFiles(settings.documents_dir),
        admin=bus,
        analytics=analytics,
    )


def _google_adapters(settings: Settings, stack: AsyncExitStack, analytics: Analytics) -> Adapters:
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    from expert_bot.consumers.budget import Budget  # noqa: PLC0415
    from expert_bot.consumers.pull import EMULATOR, SERVICE, PullConsumer  # noqa: PLC0415
    from expert_bot.google_channels import open_channel  # noqa: PLC0415
    from expert_bot.publishers.pubsub import PubsubPublisher  # noqa: PLC0415
    from expert_bot.publishers.pubsub_admin import PubsubAdmin  # noqa: PLC0415
    from expert_bot.storage.firestore_documents import FirestoreDocuments  # noqa: PLC0415
    from expert_bot.storage.users_identity import UsersIdentity  # noqa: PLC0415

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
    from google.cloud.storage import Client  # noqa: PLC0415

    from expert_bot.storage.cloud_files import CloudFiles  # noqa: PLC0415

    files = CloudFiles(Client(project=settings.project), settings.document_buckets)
    stack.push_async_callback(files.close)
    return files


async def _open_analytics(settings: Settings, stack: AsyncExitStack) -> Analytics:
    """Open BigQuery in the cloud or on an emulator, whose tables are made if they are missing; else the local file."""
    if settings.mode is not Mode.CLOUD and settings.bigquery_emulator_host is None:
        from expert_bot.storage.duckdb_analytics import DuckdbAnalytics  # noqa: PLC0415

        local = DuckdbAnalytics(_data_folder(settings) / "analytics.duckdb", pseudonym=_pseudonyms(settings))
        stack.push_async_callback(local.close)
        return local

    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    from expert_bot.storage.bigquery_analytics import BigqueryAnalytics  # noqa: PLC0415

    try:
        analytics = BigqueryAnalytics(
            project=settings.project,
            dataset=settings.bigquery_dataset,
            location=settings.bigquery_location,
            emulator_host=settings.bigquery_emulator_host,
            pseudonym=_pseudonyms(settings),
        )
    except DefaultCredentialsError as error:
        raise SettingError(_NO_CREDENTIALS) from error
    stack.push_async_callback(analytics.close)
    if settings.bigquery_emulator_host is not None:
        await analytics.ensure_tables()
    return analytics


def _pseudonyms(settings: Settings) -> Pseudonyms:
    """Return the pseudonyms of the key that is set; in local modes, where none is, of the data folder's own."""
    if settings.pseudonym_key is not None:
        return Pseudonyms(settings.pseudonym_key.get_secret_value().encode())
    return Pseudonyms(local_key(_data_folder(settings)))


def _data_folder(settings: Settings) -> Path:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"EXPERT_BOT_DATA_DIR={str(settings.data_dir)!r} cannot be used: {error.strerror}"
        ) from error
    return settings.data_dir
