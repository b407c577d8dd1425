"""The harness itself: a death that comes just before a kill from outside is counted where it happened."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.behaviour import Behaviour
from tests.chaos.ground import Ground
from tests.chaos.stage import open_stage
from tests.chaos.traffic import Plan
from tests.waiting import until


async def test_a_worker_that_died_at_its_step_is_not_killed_from_outside(tmp_path: Path) -> None:
    """It is reported, at once, as dead by itself; one that lives is killed."""
    ground = Ground(folder=tmp_path)
    plan = Plan(events=20, kills=2, seed=1)
    async with open_stage(ground.settings, plan, tmp_path, print) as stage:
        doomed = await stage.workers.start(Behaviour(kill_at="P0", nth=1, exact=True))
        await stage.publish_more(1)
        await until(lambda: stage.workers.has_ended(doomed))
        assert not await stage.workers.kill(doomed)
        assert await stage.workers.kill(await stage.workers.start(Behaviour(exact=True)))
