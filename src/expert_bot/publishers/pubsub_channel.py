"""The gRPC connection that the Pub/Sub publisher, admin and consumer share."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.api_core.gapic_v1 import routing_header
from google.auth.credentials import Credentials
from google.pubsub_v1.services.publisher.transports.grpc_asyncio import PublisherGrpcAsyncIOTransport

from expert_bot.storage.grpc_channel import CHANNEL_OPTIONS


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
