"""Commits and publishes that happen, and whose answers never arrive."""

from __future__ import annotations

import asyncio

from tests.chaos.deaths import SLOTS
from tests.chaos.ground import Ground
from tests.chaos.lossy_proxy import LossyProxy, lossy_proxy
from tests.chaos.report import Report
from tests.chaos.stage import Say, open_stage
from tests.chaos.traffic import Plan

_COMMITS_AN_EVENT = 3
_AT_ONCE = 10
_EVERY_S = 0.2


async def lost_commits(ground: Ground, seed: int, say: Say, *, losses: int) -> Report:
    """Lose the answers of commits; expect no effect lost or twice, and no copy on the wire: what is done is recognised."""
    events = 10 * losses
    proxy = LossyProxy("/Commit", every=max(2, events * _COMMITS_AN_EVENT // losses // 2), losses=losses)
    async with lossy_proxy(ground.firestore_host, proxy) as host:
        return await _lose(
            ground, proxy, {"FIRESTORE_EMULATOR_HOST": host}, "lost-commits", events, seed, say
        )


async def lost_publishes(ground: Ground, seed: int, say: Say, *, losses: int) -> Report:
    """Lose the answers of publishes; expect no effect twice, and on the wire only copies of what was unconfirmed."""
    proxy = LossyProxy("/Publish", every=2, losses=losses)
    async with lossy_proxy(ground.pubsub_host, proxy) as host:
        return await _lose(
            ground, proxy, {"PUBSUB_EMULATOR_HOST": host}, "lost-publishes", 12 * losses, seed, say
        )


async def _lose(
    ground: Ground,
    proxy: LossyProxy,
    environment: dict[str, str],
    name: str,
    events: int,
    seed: int,
    say: Say,
) -> Report:
    losses = proxy.left
    plan = Plan(events=events, kills=0, seed=seed)
    async with open_stage(ground.settings, plan, ground.folder, say, environment=environment) as stage:
        for _ in range(SLOTS):
            await stage.workers.start()
        while stage.published < len(stage.traffic.queue):
            await stage.publish_more(_AT_ONCE)  # few at once: the more answers there are to lose
            await asyncio.sleep(_EVERY_S)
        report = (await stage.finish()).report(ground.name(name))
    report.at_least(losses, answers_lost=proxy.lost)
    return report
