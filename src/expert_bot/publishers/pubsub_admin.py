"""Topics and subscriptions on a Pub/Sub emulator (in the cloud they are Terraform's)."""

from __future__ import annotations

from typing import Any, Final

import grpc.aio
from google.protobuf import duration_pb2, empty_pb2
from google.pubsub_v1.types import pubsub as wire

from expert_bot.errors import BusUnavailableError
from expert_bot.google_channels import routing, unary
from expert_bot.ports import ApplyReport
from expert_bot.schemas.topology import Subscription, Topology

_Topic: Final[Any] = wire.Topic.pb()
_Subscription: Final[Any] = wire.Subscription.pb()
_DeadLetterPolicy: Final[Any] = wire.DeadLetterPolicy.pb()
_RetryPolicy: Final[Any] = wire.RetryPolicy.pb()
_ExpirationPolicy: Final[Any] = wire.ExpirationPolicy.pb()
_DeleteSubscriptionRequest: Final[Any] = wire.DeleteSubscriptionRequest.pb()

_TIMEOUT_S: Final = 10.0
_DAY_S: Final = 24 * 3600
_EMULATOR_MAX_RETENTION_S: Final = 7 * _DAY_S
_TEMPORARY_RETENTION_S: Final = 3600  # must be shorter than the expiration


class PubsubAdmin:
    """BusAdmin over a channel it does not own."""

    def __init__(self, *, channel: grpc.aio.Channel, project: str) -> None:
        self._project = project
        self._create_topic = unary(channel, "Publisher/CreateTopic", _Topic, _Topic)
        self._create_subscription = unary(
            channel, "Subscriber/CreateSubscription", _Subscription, _Subscription
        )
        self._delete_subscription = unary(
            channel, "Subscriber/DeleteSubscription", _DeleteSubscriptionRequest, empty_pb2.Empty
        )

    async def apply(self, topology: Topology) -> ApplyReport:
        """Create the topics, then the subscriptions that are missing; see `ports.BusAdmin`."""
        created: list[str] = []
        existing: list[str] = []
        for topic in topology.topics:
            path = self._topic(topic.name)
            is_new = await self._create(self._create_topic, _Topic(name=path))
            (created if is_new else existing).append(topic.name)
        for subscription in topology.subscriptions:
            is_new = await self._create_with_retention(self._request(subscription))
            (created if is_new else existing).append(subscription.name)
        return ApplyReport(created=tuple(created), existing=tuple(existing))

    async def create_temporary_subscription(
        self, name: str, topic: str, *, filter_expression: str = ""
    ) -> None:
        """Create a subscription that disappears by itself after a day without use; an existing one is kept."""
        await self._create(
            self._create_subscription,
            _Subscription(
                name=self._subscription(name),
                topic=self._topic(topic),
                message_retention_duration=_seconds(_TEMPORARY_RETENTION_S),
                expiration_policy=_ExpirationPolicy(ttl=_seconds(_DAY_S)),
                filter=filter_expression,
            ),
        )

    async def delete_subscription(self, name: str) -> None:
        """Delete a subscription; absent is fine."""
        path = self._subscription(name)
        try:
            await self._delete_subscription(
                _DeleteSubscriptionRequest(subscription=path),
                timeout=_TIMEOUT_S,
                metadata=routing("subscription", path),
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise _unavailable(f"delete {path}", error) from error

    async def _create_with_retention(self, request: Any) -> bool:  # noqa: ANN401 - untyped generated class
        """Create a subscription, on the emulator with the seven days that are its longest retention."""
        try:
            return await self._create(self._create_subscription, request)
        except BusUnavailableError as error:
            if "message_retention_duration out of bounds" not in str(error):
                raise
            request.message_retention_duration.CopyFrom(_seconds(_EMULATOR_MAX_RETENTION_S))
            return await self._create(self._create_subscription, request)

    async def _create(self, stub: Any, request: Any) -> bool:  # noqa: ANN401 - untyped generated classes
        try:
            await stub(
                request,
                timeout=_TIMEOUT_S,
                metadata=routing("name", request.name),
                wait_for_ready=True,  # an emulator that has just been started may need a moment
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                return False
            raise _unavailable(f"create {request.name}", error) from error
        return True

    def _request(self, subscription: Subscription) -> Any:  # noqa: ANN401 - untyped generated class
        request = _Subscription(
            name=self._subscription(subscription.name),
            topic=self._topic(subscription.topic),
            ack_deadline_seconds=subscription.ack_deadline_s,
            message_retention_duration=_seconds(subscription.retention_s),
            enable_message_ordering=subscription.ordered,
            filter=subscription.filter,
            expiration_policy=_ExpirationPolicy(),  # present without a ttl: never
            retry_policy=_RetryPolicy(
                minimum_backoff=_seconds(subscription.min_backoff_s),
                maximum_backoff=_seconds(subscription.max_backoff_s),
            ),
        )
        if subscription.dead_letter_topic is not None:
            request.dead_letter_policy.CopyFrom(
                _DeadLetterPolicy(
                    dead_letter_topic=self._topic(subscription.dead_letter_topic),
                    max_delivery_attempts=subscription.max_delivery_attempts,
                )
            )
        return request

    def _topic(self, name: str) -> str:
        return f"projects/{self._project}/topics/{name}"

    def _subscription(self, name: str) -> str:
        return f"projects/{self._project}/subscriptions/{name}"


def _seconds(seconds: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=seconds)


def _unavailable(action: str, error: grpc.aio.AioRpcError) -> BusUnavailableError:
    return BusUnavailableError(f"cannot {action}: {error.code().name} {error.details()}")
