"""Kill storms and calm traffic, judged from outside: 0 lost, 0 effects twice, 0 differing bodies, 0 stuck."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from expert_bot.config import Settings
from tests.chaos.kill_storm import Figures, Plan, emulator_settings, run_storm, store

pytestmark = pytest.mark.slow


def expect_nothing_lost_or_repeated(figures: Figures) -> None:
    """Every request answered by one reply with one body, every turn kept once, only poison dead-lettered, none stuck."""
    wrong = {
        "lost": figures.lost,
        "two_reply_ids": figures.two_reply_ids,
        "differing_bodies": figures.differing_bodies,
        "turns_missing": figures.turns_missing,
        "turns_twice": figures.turns_twice,
        "stuck": figures.stuck,
        "wrong_dead_letters": figures.wrong_dead_letters,
    }
    assert wrong == dict.fromkeys(wrong, 0)


def expect_copies_only_where_a_worker_died(figures: Figures) -> None:
    """Check that copies on the wire have their deaths: one per kill at "published, not marked" at least, no unexplained ones."""
    assert figures.kills.get("P4", 0) <= figures.wire_duplicates <= figures.exposed


def test_a_kill_storm_over_the_embedded_files_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 100 kills at every step and at random."""
    plan = Plan(events=2000, kills=100, seed=secrets.randbelow(1_000_000), timeout_s=150)
    print(f"seed {plan.seed}")  # noqa: T201  # to repeat a failure
    figures = asyncio.run(run_storm(Settings(data_dir=tmp_path / "data"), plan, tmp_path, print))
    store(figures, "embedded")
    assert sum(figures.kills.values()) == plan.kills
    expect_nothing_lost_or_repeated(figures)
    expect_copies_only_where_a_worker_died(figures)


@pytest.mark.emulator
def test_without_faults_nothing_is_published_twice_and_only_poison_is_dead_lettered(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 1 % poison: each poisoned one dead-lettered once, 0 copies."""
    plan = Plan(events=2000, kills=0, seed=secrets.randbelow(1_000_000), poison_share=0.01, timeout_s=120)
    print(f"seed {plan.seed}")  # noqa: T201  # to repeat a failure
    with emulator_settings(tmp_path, pubsub_emulator, firestore_emulator) as settings:
        figures = asyncio.run(run_storm(settings, plan, tmp_path, print))
    store(figures, "calm")
    assert figures.poison > 0
    expect_nothing_lost_or_repeated(figures)
    assert figures.wire_duplicates == 0
