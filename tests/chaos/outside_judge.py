"""What a stranger can see of a storm: the replies on the wire, the dead letters, and the documents by REST."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.report import Report
from tests.emulator.black_box import Question

_PAGE = 300


class Correspondence:
    """What came back, by the id of the question: filled by the collectors' threads."""

    def __init__(self, asked: Sequence[str]) -> None:
        self._asked = frozenset(asked)
        self._lock = threading.Lock()
        self.bodies: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self.letters: list[str] = []
        self.last_first_at = time.monotonic()

    @property
    def unanswered(self) -> int:
        """How many questions have no reply yet."""
        return len(self._asked) - len(self.bodies)

    def unanswered_ids(self) -> list[str]:
        """Return the ids of the questions without a reply."""
        with self._lock:
            return sorted(self._asked - self.bodies.keys())

    def take_reply(self, message: Any) -> None:
        """Keep a reply with everything that is on the wire."""
        attributes = dict(message.attributes)
        question = attributes["ce-causationid"]
        body = json.dumps([attributes, message.data.decode(), message.ordering_key], sort_keys=True).encode()
        with self._lock:
            if question not in self.bodies:
                self.last_first_at = time.monotonic()
            self.bodies[question][attributes["ce-id"]].append(body)

    def take_letter(self, message: Any) -> None:
        """Keep a dead letter's reason."""
        self.letters.append(message.attributes.get("dl-reason", "the broker gave up"))


class Store:
    """Firestore's documents through its REST interface."""

    def __init__(self, host: str, project: str) -> None:
        self._root = f"http://{host}/v1/projects/{project}/databases/(default)/documents"

    def all(self, collection: str) -> Iterator[dict[str, Any]]:
        """Yield the fields of every document, in REST's own encoding."""
        token = ""
        while True:
            answer = self._get(f"{collection}?pageSize={_PAGE}&pageToken={token}")
            for document in answer.get("documents", ()):
                yield document["fields"]
            token = answer.get("nextPageToken", "")
            if not token:
                return

    def inbox_states(self) -> Counter[str]:
        """Count the inbox's documents by state."""
        return Counter(fields["state"]["stringValue"] for fields in self.all("inbox"))

    def describe(self, unanswered: Sequence[str]) -> str:
        """Say what is stuck, for whoever has to find out why."""
        open_entries = [
            {name: next(iter(value.values())) for name, value in fields.items() if name != "messages"}
            for fields in self.all("inbox")
            if fields["state"]["stringValue"] != "sent"
        ]
        return (
            f"stuck, e.g. {list(unanswered)}; inbox {dict(self.inbox_states())}; not sent: {open_entries[:5]}"
        )

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  # the emulator's own address
            f"{self._root}/{path}", headers={"Authorization": "Bearer owner"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  # the same
            answer: dict[str, Any] = json.load(response)
            return answer


def judge(report: Report, questions: Sequence[Question], post: Correspondence, store: Store) -> None:
    """Count what is wrong, and what is only noteworthy."""
    replies = list(post.bodies.values())
    states = store.inbox_states()
    report.zero(
        lost=post.unanswered,
        two_reply_ids=sum(len(by_id) > 1 for by_id in replies),
        differing_bodies=sum(len(set(bodies)) > 1 for by_id in replies for bodies in by_id.values()),
        dead_lettered=len(post.letters),
        stuck=states.total() - states["sent"],
        **_turns(questions, store),
    )
    report.note(wire_duplicates=sum(len(bodies) - 1 for by_id in replies for bodies in by_id.values()))


def _turns(questions: Sequence[Question], store: Store) -> dict[str, int]:
    turns: Counter[str] = Counter()
    miscounted = 0
    for fields in store.all("conversations"):
        kept = [
            turn["mapValue"]["fields"]["event_id"]["stringValue"]
            for turn in fields["turns"]["arrayValue"]["values"]
        ]
        turns.update(kept)
        miscounted += int(fields["turn_count"]["integerValue"]) != len(kept)
    return {
        "turns_missing": sum(turns[question.id] == 0 for question in questions),
        "turns_twice": sum(count > 1 for count in turns.values()),
        "conversations_miscounted": miscounted,
    }
