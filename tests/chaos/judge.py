"""What a storm did, seen from outside: the wire, the dead letters, the documents."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from expert_bot.inbox.entry import State
from expert_bot.ports import Documents, Where
from tests.chaos.report import Report
from tests.chaos.traffic import Plan, Traffic

MUST_BE_0: Final = (
    "lost",
    "two_reply_ids",
    "differing_bodies",
    "turns_missing",
    "turns_twice",
    "profiles_missing_or_extra",
    "stuck",
    "wrong_dead_letters",
)
_ALL = 100_000


@dataclass(kw_only=True)
class Figures:
    """What was seen. What MUST_BE_0 names is wrong otherwise.

    `wire_duplicates`: extra copies of replies. `exposed`: events that stood between publish and mark when a worker died.
    """

    seed: int
    events: int
    duplicates_published: int
    kills: dict[str, int] = field(default_factory=dict)
    poison: int = 0
    lost: int = 0
    two_reply_ids: int = 0
    differing_bodies: int = 0
    turns_missing: int = 0
    turns_twice: int = 0
    profiles_missing_or_extra: int = 0
    stuck: int = 0
    wrong_dead_letters: int = 0
    wire_duplicates: int = 0
    exposed: int = 0
    seconds: float = 0.0

    def report(self, name: str) -> Report:
        """Return the figures as a row's report; whatever must be 0 and is not falls short."""
        figures = asdict(self)
        report = Report(name=name, seed=figures.pop("seed"), seconds=figures.pop("seconds"))
        report.note(**figures)
        report.zero(**{field: figures[field] for field in MUST_BE_0})
        return report


async def judge(documents: Documents, plan: Plan, traffic: Traffic) -> Figures:
    """Count what is wrong; nothing of the service but its documents is asked."""
    figures = Figures(
        seed=plan.seed,
        events=plan.events,
        duplicates_published=traffic.duplicates,
        poison=len(traffic.poison),
        lost=traffic.unanswered,
        stuck=await unsent(documents),
    )
    _judge_replies(figures, traffic)
    await _judge_conversations(figures, traffic, documents)
    await _judge_profiles(figures, traffic, documents)
    expected = Counter(f"{event_id} schema-violation" for event_id in traffic.poison)
    figures.wrong_dead_letters = sum(((traffic.letters - expected) + (expected - traffic.letters)).values())
    return figures


async def unsent(documents: Documents) -> int:
    """Count the events that are claimed or committed, but not sent."""
    counts = [
        len(await documents.find("inbox", [Where("state", "==", state.value)], limit=_ALL))
        for state in (State.CLAIMED, State.COMMITTED)
    ]
    return sum(counts)


def _judge_replies(figures: Figures, traffic: Traffic) -> None:
    for replies in traffic.bodies.values():
        figures.two_reply_ids += len(replies) > 1
        for bodies in replies.values():
            figures.differing_bodies += len(set(bodies)) > 1
            figures.wire_duplicates += len(bodies) - 1


async def _judge_conversations(figures: Figures, traffic: Traffic, documents: Documents) -> None:
    turns: Counter[str] = Counter()
    for conversation in await documents.find("conversations", [], limit=_ALL):
        kept: Any = conversation.fields["turns"]
        turns.update(turn["event_id"] for turn in kept)
        figures.turns_twice += conversation.fields["turn_count"] != len({turn["event_id"] for turn in kept})
    for event in traffic.events:
        count = turns[event.id]
        if event.id in traffic.poison:
            figures.turns_twice += count
        else:
            figures.turns_missing += count == 0
            figures.turns_twice += count > 1


async def _judge_profiles(figures: Figures, traffic: Traffic, documents: Documents) -> None:
    profiles = await documents.find("user_profiles_enriched", [], limit=_ALL)
    users = [str(profile.fields["user_id"]) for profile in profiles]
    figures.profiles_missing_or_extra = len(set(users) ^ traffic.users) + len(users) - len(set(users))
