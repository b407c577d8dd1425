"""A project on the emulators for the stranger's storm: default settings, and mailboxes emptied by threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable

from tests.emulator.black_box import DEAD_LETTER_TOPIC, Question, World
from tests.emulator.processes import environment_of

Take = Callable[[Any], None]


class OutsideWorld(World):
    """The black box's world, with workers whose settings are the defaults."""

    def __init__(self, folder: Path, pubsub_host: str, firestore_host: str) -> None:
        super().__init__(folder, pubsub_host, firestore_host)
        self.environment = environment_of(
            folder, {"EXPERT_BOT_MODE": "emulators", "GOOGLE_CLOUD_PROJECT": self.project, **self._hosts}
        )

    def post(self, question: Question, key: str) -> None:
        """Hand a question to the plain client, which sends it in the background."""
        self._send(question.data, question.attributes(), key)

    @contextlib.contextmanager
    def collecting(self, take_reply: Take, take_letter: Take) -> Iterator[None]:
        """Take every reply and every dead letter from now on, as long as the block runs."""
        over = threading.Event()
        takers = {self.contract.channel("send"): take_reply, DEAD_LETTER_TOPIC: take_letter}
        threads = [
            threading.Thread(target=self._empty, args=(self._subscribe(topic), take, over), daemon=True)
            for topic, take in takers.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(20)

    def _subscribe(self, topic: str) -> str:
        path: str = self.subscriber.subscription_path(self.project, f"outside-{topic}")
        self.subscriber.create_subscription(name=path, topic=f"projects/{self.project}/topics/{topic}")
        return path

    def _empty(self, path: str, take: Take, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(DeadlineExceeded, ServiceUnavailable):
                response = self.subscriber.pull(subscription=path, max_messages=500, timeout=5)
                for received in response.received_messages:
                    take(received.message)
                if ack_ids := [received.ack_id for received in response.received_messages]:
                    self.subscriber.acknowledge(subscription=path, ack_ids=ack_ids)
