"""The storm's traffic: requests, their duplicates, and what came back for them."""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass

from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY

DUPLICATE_SHARE = 0.3
TURNS_PER_CONVERSATION = 10
POISON_DATA = b'{"message": 5, "user_id": "u", "source": "storm"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of what. `poison_share`: part of the events whose data violate their schema.

    `exact`: events pass between publish and mark one by one, so that copies on the wire can be counted against deaths.
    Otherwise they go as they come, and kills also strike during publishes.
    """

    events: int
    kills: int
    seed: int
    poison_share: float = 0.0
    exact: bool = True
    timeout_s: float = 300.0


class Traffic:
    """Every tenth request opens another user's conversation; every second conversation has an ordering key."""

    def __init__(self, plan: Plan) -> None:
        self._random = random.Random(plan.seed)
        self.events = [self._event(number, plan) for number in range(plan.events)]
        self.poison = {event.id for event in self.events if event.data == POISON_DATA}
        duplicates = self._random.sample(self.events, int(plan.events * DUPLICATE_SHARE))
        self.duplicates = len(duplicates)
        self.queue = self.events + duplicates
        self._random.shuffle(self.queue)
        self.bodies: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self.letters: Counter[str] = Counter()

    @property
    def users(self) -> set[str]:
        """The users who asked something that can be answered."""
        return {json.loads(event.data)["user_id"] for event in self.events if event.id not in self.poison}

    @property
    def unanswered(self) -> int:
        """Requests without any reply so far."""
        return sum(event.id not in self.bodies for event in self.events)

    def unanswered_of(self, published: int) -> int:
        """Of the first `published` messages, count the requests without any reply so far."""
        return len({event.id for event in self.queue[:published]} - self.bodies.keys())

    async def take_reply(self, delivery: Delivery) -> Outcome:
        """Keep a reply's bytes by its request and its id."""
        reply = pubsub.decode(delivery.attributes, delivery.data)
        self.bodies[reply.correlation_id][reply.id].append(delivery.data + reply.type.encode())
        return Ack()

    async def take_letter(self, delivery: Delivery) -> Outcome:
        """Count a dead letter by its event and its reason, the broker's own included."""
        attributes = delivery.attributes
        self.letters[f"{attributes.get('ce-id')} {attributes.get('dl-reason', 'the broker gave up')}"] += 1
        return Ack()

    def _event(self, number: int, plan: Plan) -> CloudEvent:
        group = number // TURNS_PER_CONVERSATION
        conversation = f"conversation-{plan.seed}-{group}"
        data = {
            "message": "¿Cuánto consumí en abril de 2023?",
            "user_id": f"storm-{plan.seed}-{group}",
            "source": "storm",
            "conversation_id": conversation,
        }
        is_poison = self._random.random() < plan.poison_share
        return CloudEvent(
            id=f"{plan.seed}-{number}-{uuid.UUID(int=self._random.getrandbits(128))}",
            source="urn:storm",
            type=FAMILY.requested.name,
            data=POISON_DATA if is_poison else json.dumps(data).encode(),
            extensions={"partitionkey": conversation} if group % 2 else {},
        )
