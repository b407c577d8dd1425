"""The service as its neighbours see it: real processes, and a plain Pub/Sub client that has read only the contract.

Nothing here imports the service. What a topic, a type or an attribute is called is read from `docs/asyncapi.yaml`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from jsonschema import Draft202012Validator

from tests.emulator.processes import PATIENCE_S, Service, run, service

ROOT = Path(__file__).resolve().parents[2]
DEAD_LETTER_TOPIC = "expert-bot-dead-letters"  # named in the contract's description


class Contract:
    """What `docs/asyncapi.yaml` says."""

    def __init__(self) -> None:
        self._document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text("utf-8"))

    def channel(self, action: str, family: str = "chat") -> str:
        """Return the topic on which the service does this for a family: `receive` or `send`."""
        what = {"receive": "request", "send": "reply"}[action]
        operation = self._document["operations"][f"{action}-{family}-{what}"]
        channel = operation["channel"]["$ref"].rpartition("/")[2]
        address: str = self._document["channels"][channel]["address"]
        return address

    def type_name(self, message: str) -> str:
        """Return the full CloudEvents type of a message of the contract."""
        name: str = self._document["components"]["messages"][message]["name"]
        return name

    def violations(self, message: str, attributes: Mapping[str, str], data: bytes) -> list[str]:
        """Return what about a message's attributes and data is not as the contract says."""
        part = f"#/components/messages/{message}"
        checks = (("headers", dict(attributes)), ("payload", json.loads(data)))
        return [
            f"{where}: {error.json_path} {error.message}"
            for where, value in checks
            for error in Draft202012Validator(
                {"$ref": f"{part}/{where}", "components": self._document["components"]}
            ).iter_errors(value)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A `chat.requested` event, in the words of the contract."""

    type: str
    user_id: str
    conversation_id: str
    id: str
    message: str = "¿Cuánto consumí en abril de 2023?"

    @property
    def context(self) -> dict[str, str]:
        """The context attributes, by their CloudEvents names."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": "//energy-ia",
            "type": self.type,
            "time": "2023-05-02T09:30:00Z",
            "partitionkey": self.conversation_id,
        }

    @property
    def data(self) -> bytes:
        """The payload's bytes."""
        data = {
            "message": self.message,
            "user_id": self.user_id,
            "source": "energy_ia_api",
            "conversation_id": self.conversation_id,
        }
        return json.dumps(data, ensure_ascii=False).encode()

    def attributes(self, **changes: str | None) -> dict[str, str]:
        """Return the message attributes of binary mode; a change to None leaves one out."""
        named = {f"ce-{name}": value for name, value in self.context.items()}
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        merged = {**named, "content-type": "application/json", **changed}
        return {name: value for name, value in merged.items() if value is not None}

    def structured(self) -> bytes:
        """Return the whole event as one JSON document."""
        return json.dumps({**self.context, "data": json.loads(self.data)}, ensure_ascii=False).encode()


class Mailbox:
    """A subscription of the client's own; everything that came, in order, acknowledged."""

    def __init__(self, subscriber: pubsub_v1.SubscriberClient, project: str, topic: str) -> None:
        self._subscriber = subscriber
        self._path = subscriber.subscription_path(project, f"client-{uuid.uuid4().hex[:8]}")
        subscriber.create_subscription(name=self._path, topic=f"projects/{project}/topics/{topic}")
        self.messages: list[Any] = []

    def until(self, matches: Callable[[Any], bool], *, count: int = 1) -> list[Any]:
        """Pull until this many messages match, and return them."""
        give_up_at = time.monotonic() + PATIENCE_S
        while len(found := [each for each in self.messages if matches(each)]) < count:
            assert time.monotonic() < give_up_at, f"{len(found)} of {count} messages came"
            self._pull()
        return found

    def _pull(self) -> None:
        with contextlib.suppress(DeadlineExceeded):
            response = self._subscriber.pull(subscription=self._path, max_messages=500, timeout=5)
            self.messages += [received.message for received in response.received_messages]
            if ack_ids := [received.ack_id for received in response.received_messages]:
                self._subscriber.acknowledge(subscription=self._path, ack_ids=ack_ids)


class World:
    """A project of its own on the emulators: the command line in it, and a plain client beside it."""

    def __init__(self, folder: Path, pubsub_host: str, firestore_host: str) -> None:
        self.project = f"black-box-{uuid.uuid4().hex[:8]}"
        self.contract = Contract()
        self._folder = folder
        self._hosts = {"PUBSUB_EMULATOR_HOST": pubsub_host, "FIRESTORE_EMULATOR_HOST": firestore_host}
        self._environment = {
            "EXPERT_BOT_MODE": "emulators",
            "EXPERT_BOT_PUSH_AUTH": "off",
            "EXPERT_BOT_ACK_DEADLINE_S": "10",
            "GOOGLE_CLOUD_PROJECT": self.project,
            **self._hosts,
        }

    def run(self, *arguments: str) -> str:
        """Run a command to its end, which must be good, and return what it printed."""
        return run(self._folder, self._environment, *arguments)

    @contextlib.contextmanager
    def service(self, *arguments: str, **changes: str) -> Iterator[Service]:
        """Run a service for as long as the block runs."""
        with service(self._folder, {**self._environment, **changes}, *arguments) as process:
            yield process

    @cached_property
    def publisher(self) -> pubsub_v1.PublisherClient:
        """A plain publisher."""
        return pubsub_v1.PublisherClient(
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True),
            transport=PublisherGrpcTransport(channel=self._channel()),
        )

    @cached_property
    def subscriber(self) -> pubsub_v1.SubscriberClient:
        """A plain subscriber."""
        return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel()))

    def mailbox(self, topic: str) -> Mailbox:
        """Subscribe to a topic from now on."""
        return Mailbox(self.subscriber, self.project, topic)

    def publish(
        self, data: bytes, attributes: Mapping[str, str], key: str = "", *, family: str = "chat"
    ) -> None:
        """Publish a request and await its confirmation."""
        self._send(data, attributes, key, family).result(PATIENCE_S)

    def ask(self, *questions: Question, key: str = "") -> None:
        """Publish questions in binary mode, at once."""
        for sent in [self._send(each.data, each.attributes(), key) for each in questions]:
            sent.result(PATIENCE_S)

    def question(self, conversation: str, *, user_id: str = "home4", event_id: str = "") -> Question:
        """Return a question about April 2023, the first of its conversation."""
        return Question(
            type=self.contract.type_name("chat.requested.v1"),
            user_id=user_id,
            conversation_id=conversation,
            id=event_id or uuid.uuid4().hex,
        )

    def close(self) -> None:
        """Close the client's connections."""
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()

    def _send(self, data: bytes, attributes: Mapping[str, str], key: str, family: str = "chat") -> Any:
        topic = f"projects/{self.project}/topics/{self.contract.channel('receive', family)}"
        return self.publisher.publish(topic, data, ordering_key=key, **attributes)

    def _channel(self) -> grpc.Channel:
        """Connect as the clients do without an emulator: for messages of any size."""
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        return grpc.insecure_channel(self._hosts["PUBSUB_EMULATOR_HOST"], options)


def wrapped(question: Question) -> bytes:
    """Return the body Pub/Sub pushes a message in, unless it is told not to wrap it."""
    message = {
        "attributes": question.attributes(),
        "data": base64.b64encode(question.data).decode("ascii"),
        "messageId": "1",
        "orderingKey": question.conversation_id,
        "publishTime": "2023-05-02T09:30:01Z",
    }
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()
