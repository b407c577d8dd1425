"""gRPC connections to Google's services: how each is kept, and calls on raw protobuf classes."""

from __future__ import annotations

from typing import Any, Final

import grpc.aio
from google.api_core.gapic_v1 import routing_header
from google.auth.credentials import Credentials
from google.pubsub_v1.services.publisher.transports.grpc_asyncio import PublisherGrpcAsyncIOTransport

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC's own reconnect delay grows to two minutes; after an outage that would be our outage.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(*, emulator_host: str | None, credentials: Credentials | None = None) -> grpc.aio.Channel:
    """Return a channel bound to the running loop; whoever opens it closes it.

    `emulator_host`: "HOST:PORT" for an unencrypted connection to an emulator; None for Google's service, with
    `credentials` or, if None, the application default credentials. Raises google.auth DefaultCredentialsError.
    """
    if emulator_host is not None:
        return grpc.aio.insecure_channel(emulator_host, options=CHANNEL_OPTIONS)
    return PublisherGrpcAsyncIOTransport.create_channel(credentials=credentials, options=CHANNEL_OPTIONS)


def routing(field: str, path: str) -> tuple[tuple[str, str], ...]:
    """Return the call metadata by which Google's front end routes a request: the resource it is about."""
    return (routing_header.to_grpc_metadata(((field, path),)),)


def unary(channel: grpc.aio.Channel, method: str, request: Any, response: Any) -> Any:  # noqa: ANN401 - untyped generated classes
    """Return the stub of a unary call on raw protobuf classes; `method` as in "Publisher/Publish"."""
    return channel.unary_unary(
        f"/google.pubsub.v1.{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
