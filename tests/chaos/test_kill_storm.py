"""Kill storms and calm traffic, judged from outside: 0 lost, 0 effects twice, 0 differing bodies, 0 stuck."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from pathlib import Path

import pytest

from tests.chaos.deaths import STEPS
from tests.chaos.ground import Ground
from tests.chaos.kill_storm import calm, kill_storm
from tests.chaos.report import Report

pytestmark = pytest.mark.slow

EVENTS = 2000
KILLS = 100
AT_EVERY_STEP = 12


def held(storm: Awaitable[Report]) -> Report:
    """Run a storm, store its figures, and expect it to fall short of nothing."""

    async def run() -> Report:
        return await storm

    report = asyncio.run(run())
    report.store()
    assert report.shortfalls == []
    return report


def a_seed() -> int:
    """Return a fresh seed; the storm prints it."""
    return secrets.randbelow(1_000_000)


def expect_every_step_killed(report: Report) -> None:
    """Check that the storm raged at each protocol step."""
    kills = report.figures["kills"]
    assert isinstance(kills, dict)
    assert min(kills[step] for step in STEPS) >= AT_EVERY_STEP


def test_a_kill_storm_over_the_embedded_files_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 100 kills at every step and at random."""
    storm = kill_storm(Ground(folder=tmp_path), a_seed(), print, events=EVENTS, kills=KILLS)
    expect_every_step_killed(held(storm))


def test_kills_in_the_middle_of_many_publishes_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """The same storm with events going as they come: a death strikes any number between publish and mark."""
    storm = kill_storm(Ground(folder=tmp_path), a_seed(), print, events=EVENTS, kills=KILLS, exact=False)
    expect_every_step_killed(held(storm))


@pytest.mark.emulator
def test_a_kill_storm_over_the_emulators_loses_and_repeats_nothing(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """The same over Pub/Sub and Firestore, on the emulators as they are."""
    ground = Ground(folder=tmp_path, pubsub_host=pubsub_emulator, firestore_host=firestore_emulator)
    expect_every_step_killed(held(kill_storm(ground, a_seed(), print, events=EVENTS, kills=KILLS)))


@pytest.mark.emulator
def test_without_faults_nothing_is_published_twice_and_only_poison_is_dead_lettered(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 1 % poison: each poisoned one dead-lettered once, 0 copies."""
    ground = Ground(folder=tmp_path, pubsub_host=pubsub_emulator, firestore_host=firestore_emulator)
    held(calm(ground, a_seed(), print, events=EVENTS, poison_share=0.01))
