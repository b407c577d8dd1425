"""The kill storm: two workers killed again and again, at every protocol step, under duplicated traffic."""

from __future__ import annotations

import asyncio
import random

from tests.chaos.deaths import SLOTS, STEPS, Deaths, live_and_die
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say, Stage, open_stage
from tests.chaos.traffic import Plan

_FIRST_EVENTS = 100
_CALM_LEASE_S = "30"


async def kill_storm(
    ground: Ground,
    seed: int,
    say: Say,
    *,
    events: int,
    kills: int,
    exact: bool = True,
    timeout_s: float = 240.0,
) -> Report:
    """Kill at every step and at random; expect copies on the wire where a death left something published and not marked.

    `exact`: events pass between publish and mark one by one, so that such deaths can be counted one by one.
    """
    plan = Plan(events=events, kills=kills, seed=seed, timeout_s=timeout_s)
    name = ground.name("kill-storm" if exact else "kill-storm-unserialised")
    async with open_stage(ground.settings, plan, ground.folder, say) as stage:
        async with asyncio.timeout(timeout_s):
            await _rage(stage, exact=exact)
            await stage.publish_rest()
            for _ in range(SLOTS):
                await stage.workers.start()
        report = (await stage.finish()).report(name)
    report.at_least(kills, all_kills=stage.workers.kills.total())
    # a worker that found nothing to do died from outside instead: a quarter less is allowed
    report.at_least(
        kills * 0.6 / len(STEPS), fewest_at_a_step=min(stage.workers.kills[step] for step in STEPS)
    )
    copies, exposed = report.count("wire_duplicates"), report.count("exposed")
    if not stage.workers.kills["P4"] <= copies <= exposed:
        report.shortfalls.append(
            f"{copies} copies, {stage.workers.kills['P4']} deaths at P4, {exposed} exposed"
        )
    return report


async def calm(
    ground: Ground, seed: int, say: Say, *, events: int, poison_share: float = 0.0, timeout_s: float = 240.0
) -> Report:
    """Kill nobody; expect no copy on the wire, and of poisoned events one dead letter each, for the right reason."""
    plan = Plan(events=events, kills=0, seed=seed, poison_share=poison_share, timeout_s=timeout_s)
    async with open_stage(
        ground.settings, plan, ground.folder, say, environment={"EXPERT_BOT_LEASE_S": _CALM_LEASE_S}
    ) as stage:
        await stage.publish_rest()
        for _ in range(SLOTS):
            await stage.workers.start()
        report = (await stage.finish()).report(ground.name("poison" if poison_share else "calm"))
    report.zero(wire_duplicates=report.count("wire_duplicates"))
    if poison_share:
        report.at_least(events * poison_share / 3, poison=report.count("poison"))
    return report


async def _rage(stage: Stage, *, exact: bool) -> None:
    """Kill by plan while publishing at the pace of the deaths, so that every worker finds work."""
    plan, workers = stage.plan, stage.workers
    deaths = Deaths(plan.kills, stage.rng)
    async with asyncio.TaskGroup() as slots:
        living = [
            slots.create_task(live_and_die(workers, deaths, random.Random(plan.seed + slot), exact=exact))
            for slot in range(SLOTS)
        ]
        while not all(slot.done() for slot in living):
            share = min(1.0, workers.kills.total() / plan.kills)
            await stage.publish_until(_FIRST_EVENTS + int((len(stage.traffic.queue) - _FIRST_EVENTS) * share))
            stage.tell()
            await asyncio.sleep(0.05)
    stage.say(f"the storm is over: {dict(workers.kills)}, {stage.traffic.unanswered} unanswered")
