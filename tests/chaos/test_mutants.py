"""Six ways to get the protocol wrong, each applied to the real code: a named check turns red, and is green without it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import expert_bot.replies
from expert_bot.inbox.protocol import Inbox
from tests.chaos.ground import Ground
from tests.chaos.zombies import zombies
from tests.unit.dispatch_world import data
from tests.unit.test_dispatch import test_the_same_request_always_gives_the_same_reply_id as same_reply_id
from tests.unit.test_inbox_model import (
    AckFirstModel,
    InboxModel,
    LeaseDroppingModel,
    MarkFirstModel,
    MessageIdModel,
    ProcessDocuments,
    UnconditionalDocuments,
    UnconditionalModel,
)

Check = Callable[[], None]
MODEL = "the model of every schedule (tests/unit/test_inbox_model.py)"
REPLY_ID = "test_the_same_request_always_gives_the_same_reply_id (tests/unit/test_dispatch.py)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`red`: the check over the mutated code, failing with `symptom`; `green`: the same over the code as it is."""

    check: str
    red: Check
    green: Check
    symptom: str


def _model(mutated: type[InboxModel], symptom: str) -> Mutant:
    healthy = type(
        f"Healthy{mutated.__name__}",
        (mutated,),
        {"inbox_class": Inbox, "documents_class": ProcessDocuments, "__doc__": "The same, healthy."},
    )
    return Mutant(
        check=MODEL, red=lambda: _explore(mutated, 400), green=lambda: _explore(healthy, 15), symptom=symptom
    )


def _explore(model: type[InboxModel], runs: int) -> None:
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=runs,
            stateful_step_count=50,
            deadline=None,
            phases=(Phase.generate,),
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            derandomize=True,
        ),
    )


def _same_reply_id() -> None:
    try:
        asyncio.run(same_reply_id(data()))
    except AssertionError as error:
        raise AssertionError("one request, two reply ids") from error


def _random_reply_id() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expert_bot.replies, "reply_id", lambda *_: str(uuid.uuid4()))
        _same_reply_id()


MUTANTS = {
    "mark first": _model(MarkFirstModel, "marked as sent, never published"),
    "no precondition": _model(
        UnconditionalModel, "an effect happened twice|two different bodies|published again though nobody died"
    ),
    "ack before sent": _model(AckFirstModel, "acknowledged before it was sent"),
    "lease dropped at commit": _model(LeaseDroppingModel, "published again though nobody died"),
    "random reply id": Mutant(
        check=REPLY_ID, red=_random_reply_id, green=_same_reply_id, symptom="one request, two reply ids"
    ),
    "dedup by message id": _model(MessageIdModel, "an effect happened twice"),
}


@pytest.mark.parametrize("bug", MUTANTS)
def test_a_seeded_bug_turns_a_check_red_that_is_green_without_it(bug: str) -> None:
    """The check fails on the mutated code for the right reason, and passes on the code as it is."""
    mutant = MUTANTS[bug]
    with pytest.raises(AssertionError, match=mutant.symptom):
        mutant.red()
    mutant.green()


def test_zombies_notice_a_missing_precondition(tmp_path: Path) -> None:
    """Over real files and in real time: without versions a zombie's late commit has a second effect."""
    report = asyncio.run(zombies(Ground(folder=tmp_path), 1, print, events=8, wrap=UnconditionalDocuments))
    assert report.count("effects_twice") > 0
    assert report.shortfalls
