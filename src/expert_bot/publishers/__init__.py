"""Messages out: the bus adapters, and the typed client with which other services send requests and await replies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from expert_bot.delivery import Delivery, Outcome
from expert_bot.ports import DEFAULT_MAX_WORK_S, Consumer
from expert_bot.publishers.requests import Answer, NoReplyError, RequestClient, RequestFailedError
from expert_bot.storage.system_clock import SystemClock

__all__ = ["Answer", "NoReplyError", "RequestClient", "RequestFailedError", "connect"]


@asynccontextmanager
async def connect(
    *,
    project: str,
    source: str,
    emulator_host: str | None = None,
    reply_subscriptions: Mapping[str, str] | None = None,
) -> AsyncIterator[RequestClient]:
    """Open a client over Google Pub/Sub with the application default credentials, or over an emulator at HOST:PORT.

    `reply_subscriptions`: by family name, this process's own subscriptions to the reply topics; without, temporary ones
    are made, for which the caller needs the role `roles/pubsub.editor`. Raises google.auth DefaultCredentialsError.
    """
    # imported here: who uses another bus should not pay for gRPC
    from expert_bot.consumers.pull import EMULATOR, SERVICE, PullConsumer  # noqa: PLC0415
    from expert_bot.google_channels import open_channel  # noqa: PLC0415
    from expert_bot.publishers.pubsub import PubsubPublisher  # noqa: PLC0415
    from expert_bot.publishers.pubsub_admin import PubsubAdmin  # noqa: PLC0415

    channel = open_channel(emulator_host=emulator_host)
    publisher = PubsubPublisher(channel=channel, project=project)

    def make_consumer(
        subscription: str,
        process: Callable[[Delivery], Awaitable[Outcome]],
        *,
        ordered: bool,
        max_work_s: float = DEFAULT_MAX_WORK_S,
    ) -> Consumer:
        return PullConsumer(
            channel=channel,
            project=project,
            subscription=subscription,
            process=process,
            ordered=ordered,
            max_extension_s=max_work_s,
            pulls=1,
            polling=EMULATOR if emulator_host else SERVICE,
        )

    try:
        async with RequestClient(
            publisher=publisher,
            admin=PubsubAdmin(channel=channel, project=project),
            make_consumer=make_consumer,
            clock=SystemClock(),
            source=source,
            reply_subscriptions=reply_subscriptions,
        ) as client:
            yield client
    finally:
        await publisher.close()
        await channel.close()
