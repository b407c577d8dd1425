"""Worker processes that stop running past their lease and then go on as if nothing had been."""

from __future__ import annotations

import asyncio

from tests.chaos.behaviour import Behaviour
from tests.chaos.deaths import SLOTS
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say, Stage, open_stage
from tests.chaos.traffic import Plan
from tests.waiting import until

_LEASE_S = 0.6
_EMBEDDED_DEADLINE_S = 1
_PAUSES_S = (0.05, 0.2, 0.5)
_EVENTS_A_TIME = 60


async def suspended(ground: Ground, seed: int, say: Say, *, times: int) -> Report:
    """Suspend a worker under load past its lease and its deliveries' deadline, and expect no effect lost or twice."""
    plan = Plan(events=times * _EVENTS_A_TIME, kills=0, seed=seed)
    environment = {"EXPERT_BOT_LEASE_S": str(_LEASE_S), "EXPERT_BOT_LOG_LEVEL": "info"}
    async with open_stage(
        ground.settings,
        plan,
        ground.folder,
        say,
        environment=environment,
        embedded_deadline_s=_EMBEDDED_DEADLINE_S,
    ) as stage:
        workers = [await stage.workers.start(Behaviour(pauses_s=_PAUSES_S)) for _ in range(SLOTS)]
        for number in range(times):
            await _suspend_one(stage, workers)
            stage.say(f"{stage.seconds:.0f} s: suspended {number + 1} times")
        await stage.publish_rest()
        report = (await stage.finish()).report(ground.name("suspended"))
    report.at_least(times, take_overs=stage.workers.logged("event_taken_over"))
    report.note(suspended=times, lease_lost=stage.workers.logged("lease_lost"))
    return report


async def _suspend_one(stage: Stage, pids: list[int]) -> None:
    """Suspend whoever has most to do; its share of the traffic comes to the other meanwhile."""
    queue = len(stage.traffic.queue) // (stage.plan.events // _EVENTS_A_TIME)
    await stage.publish_more(queue)
    await until(lambda: any(map(stage.workers.handlers_running, pids)))
    pid = max(pids, key=stage.workers.handlers_running)
    await stage.workers.suspend(pid)
    await asyncio.sleep(_suspended_s(stage))
    stage.workers.resume(pid)


def _suspended_s(stage: Stage) -> float:
    """Return long enough for the lease, and for the broker to deliver what the worker holds to the other one."""
    ack_deadline_s = 10 if stage.settings.pubsub_emulator_host else _EMBEDDED_DEADLINE_S
    return ack_deadline_s + stage.rng.uniform(1.0, 2.0) * _LEASE_S
