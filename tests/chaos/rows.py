"""The rows of the figures table: what rages, on what, how much of it in CI, and how much in full."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from tests.chaos.frozen_store import frozen_store
from tests.chaos.ground import Ground
from tests.chaos.kill_storm import calm, kill_storm
from tests.chaos.lost_answers import lost_commits, lost_publishes
from tests.chaos.outside_storm import outside
from tests.chaos.report import Report
from tests.chaos.skewed import skewed
from tests.chaos.stage import Say
from tests.chaos.stopping import stopping
from tests.chaos.suspended import suspended
from tests.chaos.zombies import zombies

_HOUR_S: Final = 3600.0
_CHECKS_TAKE_S: Final = 300.0


class Needs(Enum):
    """What a row rages on."""

    FILES = "files"
    EMULATORS = "emulators"


Storm = Callable[..., Awaitable[Report]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`quick`, `full`: how much of it, as the storm's own arguments. Each storm is bounded in time."""

    name: str
    claim: str
    storm: Storm
    needs: Needs
    quick: Mapping[str, Any]
    full: Mapping[str, Any]

    def run(self, ground: Ground, seed: int, say: Say, *, in_full: bool) -> Report:
        """Let it rage, and return what it did under this row's name."""
        started = time.monotonic()
        report = asyncio.run(
            _awaited(self.storm(ground, seed, say, **(self.full if in_full else self.quick)))
        )
        report.name = self.name
        report.seconds = round(time.monotonic() - started, 1)
        return report


async def _awaited(report: Awaitable[Report]) -> Report:
    return await report


async def checks(ground: Ground, seed: int, say: Say, *, path: str) -> Report:
    """Run a test file; its own seeds are fixed."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "--no-header", path, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), _CHECKS_TAKE_S)
    last = printed.decode().strip().rpartition("\n")[2]
    report = Report(name=path, seed=0, seconds=round(time.monotonic() - started, 1))
    report.note(printed=last)
    report.zero(exit_code=process.returncode or 0)
    return report


def _on_both(
    name: str,
    claim: str,
    storm: Storm,
    quick: Mapping[str, Any],
    quick_emulators: Mapping[str, Any],
    full: Mapping[str, Any],
) -> tuple[Row, Row]:
    files, emulators = f"{name}-embedded", f"{name}-emulators"
    return (
        Row(name=files, claim=claim, storm=storm, needs=Needs.FILES, quick=quick, full=full),
        Row(
            name=emulators, claim=claim, storm=storm, needs=Needs.EMULATORS, quick=quick_emulators, full=full
        ),
    )


def _over_emulators(
    name: str, claim: str, storm: Storm, quick: Mapping[str, Any], full: Mapping[str, Any]
) -> Row:
    return Row(name=name, claim=claim, storm=storm, needs=Needs.EMULATORS, quick=quick, full=full)


def _checked(name: str, claim: str, path: str) -> Row:
    size = {"path": path}
    return Row(name=name, claim=claim, storm=checks, needs=Needs.FILES, quick=size, full=size)


ROWS: Final = (
    _checked("mutants", "each seeded protocol bug turns a check red", "tests/chaos/test_mutants.py"),
    _checked("model", ">= 10,000 steps of any schedule: 0 lost, 0 twice", "tests/unit/test_inbox_model.py"),
    *_on_both(
        "zombies",
        ">= 40 take-overs: 0 effects twice, zombies cancelled <= 1 s",
        zombies,
        quick={"events": 44},
        quick_emulators={"events": 44},
        full={"events": 120},
    ),
    *_on_both(
        "zombies-hanging",
        "the same when heartbeats do not come late, but never",
        zombies,
        quick={"events": 44, "heartbeats_hang": True},
        quick_emulators={"events": 44, "heartbeats_hang": True},
        full={"events": 120, "heartbeats_hang": True},
    ),
    *_on_both(
        "suspended",
        "SIGSTOP past the lease: 0 lost, 0 twice",
        suspended,
        quick={"times": 5},
        quick_emulators={"times": 1},
        full={"times": 20},
    ),
    *_on_both(
        "clocks",
        "clocks +-120 s, and kills: 0 lost, 0 twice",
        skewed,
        quick={"kills": 3},
        quick_emulators={"kills": 2},
        full={"kills": 20, "kill_both": True},
    ),
    _over_emulators(
        "lost-commits",
        "answers lost after the commit: 0 lost, 0 twice",
        lost_commits,
        quick={"losses": 20},
        full={"losses": 100},
    ),
    _over_emulators(
        "lost-publishes",
        "answers lost after the publish: 0 lost, 0 effects twice",
        lost_publishes,
        quick={"losses": 20},
        full={"losses": 100},
    ),
    _over_emulators(
        "frozen-store",
        "Firestore frozen under load: 0 dead-lettered, answered <= 15 s after it wakes",
        frozen_store,
        quick={"frozen_s": 5.0},
        full={"frozen_s": 20.0},
    ),
    *_on_both(
        "stopping",
        "SIGTERM with 50 in flight: exit 0 <= 9 s, 0 lost, answered <= 5 s later",
        stopping,
        quick={"times": 4, "starts": 2, "drain_s": 0.6},
        quick_emulators={"times": 4, "starts": 0, "drain_s": 0.6},
        full={"times": 20, "starts": 20},
    ),
    _over_emulators(
        "poison",
        "1 % poison: exactly those dead-lettered, each once, with its reason",
        calm,
        quick={"events": 500, "poison_share": 0.02},
        full={"events": 2000, "poison_share": 0.01},
    ),
    _over_emulators(
        "calm", "no faults: 0 copies on the wire", calm, quick={"events": 500}, full={"events": 5000}
    ),
    *_on_both(
        "kill-storm",
        "kills at every step: 0 lost, 0 twice, a copy per death between publish and mark",
        kill_storm,
        quick={"events": 400, "kills": 24},
        quick_emulators={"events": 400, "kills": 24},
        full={"events": 10_000, "kills": 200, "timeout_s": _HOUR_S},
    ),
    Row(
        name="kill-storm-unserialised",
        claim="the same in the middle of many publishes",
        storm=kill_storm,
        needs=Needs.FILES,
        quick={"events": 400, "kills": 24, "exact": False},
        full={"events": 10_000, "kills": 200, "exact": False, "timeout_s": _HOUR_S},
    ),
    _over_emulators(
        "outside",
        "the real command, kill -9 and a frozen Firestore: every request answered, every turn once",
        outside,
        quick={"events": 300, "kills": 6, "frozen_s": 5.0},
        full={"events": 3000, "kills": 60, "frozen_s": 20.0},
    ),
)


def named(name: str) -> Row:
    """Return the row of this name. Raises KeyError."""
    return {row.name: row for row in ROWS}[name]
