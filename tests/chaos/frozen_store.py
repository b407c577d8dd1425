"""Firestore that stops answering under load, and wakes up again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.chaos.deaths import SLOTS
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say, Stage, open_stage
from tests.chaos.traffic import Plan
from tests.emulators import FIRESTORE, Emulator, running

PER_S = 40
_WARM_UP_S = 2.0
_ANSWERED_WITHIN_S = 15.0


async def frozen_store(ground: Ground, seed: int, say: Say, *, frozen_s: float) -> Report:
    """Freeze a Firestore emulator of its own under an even load; the workers have the default settings."""
    with running(FIRESTORE) as firestore:
        own = replace(ground, firestore_host=firestore.host)
        return await _freeze(own, firestore, seed, say, frozen_s)


async def _freeze(ground: Ground, firestore: Emulator, seed: int, say: Say, frozen_s: float) -> Report:
    plan = Plan(events=int(PER_S * (frozen_s + _WARM_UP_S)), kills=0, seed=seed)
    environment = {
        "EXPERT_BOT_LEASE_S": "30",
        "EXPERT_BOT_RELAY_EVERY_S": "5",
        "EXPERT_BOT_ACK_DEADLINE_S": "60",
        "EXPERT_BOT_MAX_IN_FLIGHT": "500",
    }
    async with open_stage(ground.settings, plan, ground.folder, say, environment=environment) as stage:
        for _ in range(SLOTS):
            await stage.workers.start()
        load = asyncio.create_task(_load(stage))
        await asyncio.sleep(_WARM_UP_S)
        firestore.freeze()
        await asyncio.sleep(frozen_s)
        firestore.thaw()
        await load
        answered_s = await stage.answered(60.0)
        stage.say(f"answered {answered_s} s after it woke")
        report = (await stage.finish()).report(ground.name("frozen-store"))
    report.at_most(_ANSWERED_WITHIN_S, answered_after_s=float("inf") if answered_s is None else answered_s)
    report.zero(dead_lettered=stage.traffic.letters.total())
    report.note(frozen_s=frozen_s, per_s=PER_S)
    return report


async def _load(stage: Stage) -> None:
    """Publish evenly until the traffic is out."""
    per_tick = len(stage.traffic.queue) * PER_S // stage.plan.events // 10
    while stage.published < len(stage.traffic.queue):
        await stage.publish_more(per_tick)
        await asyncio.sleep(0.1)
