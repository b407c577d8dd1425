"""Workers told to stop in the middle of their work, twice, and while they start."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

from tests.chaos.behaviour import Behaviour
from tests.chaos.ground import Ground
from tests.chaos.report import Report
from tests.chaos.stage import Say, Stage, open_stage
from tests.chaos.traffic import Plan
from tests.chaos.workers import STOPS_WITHIN_S
from tests.emulator.processes import environment_of
from tests.waiting import until

IN_FLIGHT = 50
_ROUND = 150  # half of them wait behind others of their conversation, and some are copies
_ANSWERED_WITHIN_S = 5.0
_LONGER_THAN_ANY_DRAIN_S = 60.0
_START_TAKES_S = 2.5


async def stopping(
    ground: Ground, seed: int, say: Say, *, times: int, starts: int, drain_s: float = 6.0
) -> Report:
    """Stop a worker that holds 50 events, some of which outlast the drain; another one answers what it hands back.

    Every third is told twice. Afterwards the real command is told to stop `starts` times at any moment of its start.
    """
    queue = times * _ROUND
    plan = Plan(events=queue, kills=0, seed=seed, timeout_s=600)
    environment = {
        "EXPERT_BOT_DRAIN_S": str(drain_s),
        "EXPERT_BOT_MAX_IN_FLIGHT": "500",
        "EXPERT_BOT_LEASE_S": "30",
    }
    codes: list[int | None] = []
    stopped_s, answered_s = [0.0], [0.0]
    async with open_stage(ground.settings, plan, ground.folder, say, environment=environment) as stage:
        for number in range(times):
            code, took_s, late_s = await _stop_one(stage, drain_s, signals=2 if number % 3 == 2 else 1)
            codes.append(code)
            stopped_s.append(took_s)
            answered_s.append(late_s)
            stage.say(
                f"{stage.seconds:.0f} s: code {code} after {took_s:.1f} s, the rest {late_s:.1f} s later"
            )
        await stage.publish_rest()
        heir = await stage.workers.start()
        start_codes = await asyncio.to_thread(_stop_starts, stage, starts)
        report = (await stage.finish()).report(ground.name("stopping"))
        assert heir in stage.workers.alive
    report.zero(
        bad_exits=sum(code != 0 for code in codes),
        bad_exits_at_start=sum(code not in (0, -signal.SIGTERM) for code in start_codes),
    )
    report.at_most(STOPS_WITHIN_S, slowest_stop_s=max(stopped_s))
    report.at_most(_ANSWERED_WITHIN_S, slowest_answer_s=max(answered_s))
    report.note(stops=times, stops_at_start=starts)
    return report


async def _stop_one(stage: Stage, drain_s: float, *, signals: int) -> tuple[int | None, float, float]:
    """Return the exit code, the seconds it took, and the seconds until everything was answered afterwards."""
    pauses_s = (drain_s / 4, drain_s / 2, _LONGER_THAN_ANY_DRAIN_S)
    leaving = await stage.workers.start(Behaviour(pauses_s=pauses_s))
    await stage.publish_more(_ROUND)
    await until(lambda: stage.workers.handlers_running(leaving) >= IN_FLIGHT)
    staying = await stage.workers.start()
    await asyncio.sleep(0.5)  # it has nothing yet by which its start could be seen
    code, took_s = await stage.workers.terminate(leaving, signals)
    late_s = await stage.answered(30.0)
    await stage.workers.terminate(staying)
    return code, took_s, float("inf") if late_s is None else late_s


def _stop_starts(stage: Stage, starts: int) -> list[int]:
    """Start the real command and tell it to stop, spread over the time a start takes."""
    environment = environment_of(stage.settings.data_dir, stage.workers.environment)
    codes = []
    for number in range(starts):
        process = subprocess.Popen(
            [sys.executable, "-m", "expert_bot", "work"], env=environment, stderr=subprocess.DEVNULL
        )
        time.sleep(_START_TAKES_S * (number + 1) / starts)
        process.terminate()
        codes.append(process.wait(STOPS_WITHIN_S))
    return codes
