"""Kill storms and calm traffic, judged from outside: 0 lost, 0 effects twice, 0 differing bodies, 0 stuck."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from expert_bot.config import Settings
from tests.chaos.judge import Figures
from tests.chaos.kill_storm import FIGURES, emulator_settings, run_storm
from tests.chaos.traffic import Plan
from tests.chaos.workers import STEPS

pytestmark = pytest.mark.slow

EVENTS = 2000
KILLS = 100
AT_EVERY_STEP = 12


def storm(settings: Settings, plan: Plan, folder: Path, name: str) -> Figures:
    """Run a storm; its seed and progress are printed, its figures stored in CHAOS_FIGURES (default .cache/chaos)."""
    figures = asyncio.run(run_storm(settings, plan, folder, print))
    figures.store(Path(os.environ.get("CHAOS_FIGURES", FIGURES)), name)
    return figures


def expect_the_promises_kept(figures: Figures) -> None:
    """Check that nothing is wrong, and that copies on the wire are the deaths between publish and mark.

    In an exact storm `exposed` equals the kills at P4, and then so do the copies, unless a stalled machine let a lease run
    out.
    """
    assert figures.wrong() == {}
    assert min(figures.kills[step] for step in STEPS) >= AT_EVERY_STEP
    assert sum(figures.kills.values()) >= KILLS
    assert figures.kills["P4"] <= figures.wire_duplicates <= figures.exposed


def a_plan(*, kills: int, poison_share: float = 0.0, exact: bool = True) -> Plan:
    """Return a plan with a fresh seed."""
    seed = secrets.randbelow(1_000_000)
    return Plan(events=EVENTS, kills=kills, seed=seed, poison_share=poison_share, exact=exact, timeout_s=240)


def test_a_kill_storm_over_the_embedded_files_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 100 kills at every step and at random."""
    figures = storm(Settings(data_dir=tmp_path / "data"), a_plan(kills=KILLS), tmp_path, "embedded")
    expect_the_promises_kept(figures)


def test_kills_in_the_middle_of_many_publishes_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """The same storm with events going as they come: a death strikes any number between publish and mark."""
    plan = a_plan(kills=KILLS, exact=False)
    figures = storm(Settings(data_dir=tmp_path / "data"), plan, tmp_path, "embedded-unserialised")
    expect_the_promises_kept(figures)


@pytest.mark.emulator
def test_a_kill_storm_over_the_emulators_loses_and_repeats_nothing(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """The same over Pub/Sub and Firestore, through a front that makes the emulator notice a client's death."""
    settings = emulator_settings(tmp_path, pubsub_emulator, firestore_emulator)
    expect_the_promises_kept(storm(settings, a_plan(kills=KILLS), tmp_path, "emulators"))


@pytest.mark.emulator
def test_without_faults_nothing_is_published_twice_and_only_poison_is_dead_lettered(
    pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """2,000 events, 30 % duplicates, half of them ordered, 1 % poison: each poisoned one dead-lettered once, 0 copies."""
    settings = emulator_settings(tmp_path, pubsub_emulator, firestore_emulator)
    figures = storm(settings, a_plan(kills=0, poison_share=0.01), tmp_path, "calm")
    assert figures.poison > 0
    assert figures.wrong() == {}
    assert figures.wire_duplicates == 0
