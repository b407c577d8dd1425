"""Every row of the figures table, as much of it as a test run has time for: `make chaos` runs them in full."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.chaos.ground import Ground
from tests.chaos.rows import Needs, named

pytestmark = pytest.mark.slow

ON_FILES = (
    "zombies-embedded",
    "zombies-hanging-embedded",
    "suspended-embedded",
    "clocks-embedded",
    "stopping-embedded",
)
ON_EMULATORS = (
    "zombies-emulators",
    "lost-commits",
    "lost-publishes",
    "frozen-store",
    "stopping-emulators",
)


@pytest.mark.parametrize("name", ON_FILES)
def test_a_figure_is_held_over_embedded_files(name: str, tmp_path: Path) -> None:
    """The row's claim, in short; seed and progress are printed, the figures stored."""
    expect_it_held(name, Ground(folder=tmp_path))


@pytest.mark.emulator
@pytest.mark.parametrize("name", ON_EMULATORS)
def test_a_figure_is_held_over_the_emulators(
    name: str, pubsub_emulator: str, firestore_emulator: str, tmp_path: Path
) -> None:
    """The same over Pub/Sub and Firestore."""
    expect_it_held(
        name, Ground(folder=tmp_path, pubsub_host=pubsub_emulator, firestore_host=firestore_emulator)
    )


def expect_it_held(name: str, ground: Ground) -> None:
    """Run a row and expect it to fall short of nothing."""
    row = named(name)
    assert row.needs is (Needs.EMULATORS if ground.pubsub_host else Needs.FILES)
    report = row.run(ground, secrets.randbelow(1_000_000), print, in_full=False)
    report.store()
    assert report.shortfalls == []
