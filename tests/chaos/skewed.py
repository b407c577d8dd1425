"""Workers whose clocks are two minutes ahead and two minutes behind, one of them killed again and again."""

from __future__ import annotations

from functools import partial

from tests.chaos.behaviour import Behaviour
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say, Stage, open_stage
from tests.chaos.traffic import Plan
from tests.waiting import until

OFF_S = 120.0
_PAUSES_S = (0.02, 0.1)
_EVENTS_A_KILL = 90
_CHUNKS_A_KILL = 3
_LONGEST_WAIT_S = 2 * OFF_S + 60.0 + 60.0
"""What the one ahead leased when it died ends, for the one behind, twice the skew and a bus lease (60 s) later."""


async def skewed(ground: Ground, seed: int, say: Say, *, kills: int, kill_both: bool = False) -> Report:
    """Kill the one that is behind (`kill_both`: either, which costs the wait for leases that end in two minutes)."""
    plan = Plan(events=kills * _EVENTS_A_KILL, kills=kills, seed=seed, timeout_s=600 if kill_both else 120)
    behaviours = [Behaviour(clock_off_s=off_s, pauses_s=_PAUSES_S) for off_s in (-OFF_S, OFF_S)]
    environment = {"EXPERT_BOT_LOG_LEVEL": "info", "EXPERT_BOT_LEASE_S": "1"}
    async with open_stage(ground.settings, plan, ground.folder, say, environment=environment) as stage:
        pids = [await stage.workers.start(behaviour) for behaviour in behaviours]
        for chunk in range(1, kills * _CHUNKS_A_KILL + 1):
            await stage.publish_until(len(stage.traffic.queue) * chunk // (kills * _CHUNKS_A_KILL))
            if stage.workers.kills.total() == kills:
                continue
            slot = stage.rng.randrange(2) if kill_both else 0
            await until(partial(_works_or_idles, stage, pids[slot]), within_s=_LONGEST_WAIT_S)
            if not stage.workers.handlers_running(pids[slot]):
                continue  # the other worker did it all: nothing would be taken over
            assert await stage.workers.kill(pids[slot]), "a worker ended by itself; see workers.log"
            stage.workers.kills["behind" if slot == 0 else "ahead"] += 1
            pids[slot] = await stage.workers.start(behaviours[slot])
        report = (await stage.finish()).report(ground.name("clocks"))
    report.at_least(kills, killed=stage.workers.kills.total())
    report.at_least(kills, take_overs=stage.workers.logged("event_taken_over"))
    report.note(clock_off_s=OFF_S)
    return report


def _works_or_idles(stage: Stage, pid: int) -> bool:
    return stage.workers.handlers_running(pid) > 0 or not stage.traffic.unanswered_of(stage.published)
