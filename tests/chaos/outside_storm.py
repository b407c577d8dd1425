"""The storm as a stranger would raise it: the emulators as they are, `expert-bot work` as it is, plain clients.

3,000 questions and 900 copies of them; kill -9 of a random worker 60 times; Firestore stopped once for 20 s. Nothing of
the service is imported: names come from `docs/asyncapi.yaml`, documents from Firestore's REST interface.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.ground import Ground
from tests.chaos.outside_judge import Correspondence, Store, judge
from tests.chaos.outside_world import OutsideWorld
from tests.chaos.report import Report
from tests.chaos.stage import Say
from tests.emulator.black_box import Question
from tests.emulators import FIRESTORE, Emulator, running

WORKERS = 2
TURNS_PER_CONVERSATION = 10
_SAY_EVERY_S = 5.0
_LATE_COPIES_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsidePlan:
    """How much of what."""

    events: int
    kills: int
    frozen_s: float
    seed: int
    timeout_s: float = 600.0
    duplicate_share: float = 0.3
    pause_s: tuple[float, float] = (0.5, 2.5)


class Fleet:
    """Two workers, started as anyone would start them; one that is killed is started again at once."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log.open("ab")
        self._workers = [self._start() for _ in range(WORKERS)]
        self.kills = 0

    def kill_one(self, rng: random.Random) -> None:
        """Kill a random worker with SIGKILL."""
        slot = rng.randrange(WORKERS)
        worker = self._workers[slot]
        assert worker.poll() is None, f"a worker ended by itself with {worker.returncode}"
        worker.kill()
        worker.wait()
        self.kills += 1
        self._workers[slot] = self._start()

    def stop(self) -> list[int]:
        """Tell all to stop, and return their exit codes."""
        for worker in self._workers:
            worker.terminate()
        try:
            return [worker.wait(15) for worker in self._workers]
        finally:
            for worker in self._workers:
                worker.kill()
            self._log.close()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "expert_bot", "work"]
        return subprocess.Popen(command, env=self._environment, stderr=self._log)


class OutsideStorm:
    """One run over a world of its own."""

    def __init__(
        self, world: OutsideWorld, firestore: Emulator, plan: OutsidePlan, folder: Path, say: Say
    ) -> None:
        self._world = world
        self._firestore = firestore
        self._plan = plan
        self._folder = folder
        self._say = say
        self._rng = random.Random(plan.seed)
        self._questions = [self._question(number) for number in range(plan.events)]
        copies = self._rng.sample(self._questions, int(plan.events * plan.duplicate_share))
        self._queue = self._questions + copies
        self._rng.shuffle(self._queue)
        self._published = 0
        self._post = Correspondence([question.id for question in self._questions])
        self._store = Store(firestore.host, world.project)
        self._started_at = self._said_at = time.monotonic()

    def run(self) -> Report:
        """Publish, kill, freeze, wait, judge."""
        plan = self._plan
        report = Report(name="outside", seed=plan.seed)
        self._world.run("topics", "apply")
        fleet = Fleet(self._world.environment, self._folder / "workers.log")
        with self._world.collecting(self._post.take_reply, self._post.take_letter):
            try:
                self._rage(fleet)
                raged_s = time.monotonic() - self._started_at
                self._wait_for_the_rest()
                report.note(
                    raged_s=round(raged_s, 1),
                    answered_after_s=round(self._post.last_first_at - self._started_at, 1),
                )
                time.sleep(_LATE_COPIES_S)
            finally:
                exit_codes = fleet.stop()
        judge(report, self._questions, self._post, self._store)
        report.at_least(plan.kills, kills=fleet.kills)
        report.zero(bad_exits=sum(code != 0 for code in exit_codes))
        report.note(events=plan.events, copies=len(self._queue) - plan.events, frozen_s=plan.frozen_s)
        report.seconds = round(time.monotonic() - self._started_at, 1)
        return report

    def _rage(self, fleet: Fleet) -> None:
        freeze_at = self._rng.randrange(self._plan.kills // 3, 2 * self._plan.kills // 3 + 1)
        thaw: threading.Timer | None = None
        self._publish_until(len(self._queue) // 20)
        for number in range(self._plan.kills):
            self._pause(self._rng.uniform(*self._plan.pause_s))
            self._publish_until(len(self._queue) * (number + 1) // self._plan.kills)
            fleet.kill_one(self._rng)
            if number == freeze_at:
                self._say(f"{self._time()}: Firestore stops for {self._plan.frozen_s} s")
                self._firestore.freeze()
                thaw = threading.Timer(self._plan.frozen_s, self._firestore.thaw)
                thaw.start()
        self._publish_until(len(self._queue))
        if thaw is not None:
            thaw.join()
        self._say(f"{self._time()}: the storm is over, {self._post.unanswered} unanswered")

    def _wait_for_the_rest(self) -> None:
        while self._post.unanswered and time.monotonic() - self._started_at < self._plan.timeout_s:
            self._pause(0.5)
        if self._post.unanswered:
            self._say(self._store.describe(self._post.unanswered_ids()[:5]))

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)
        now = time.monotonic()
        if now - self._said_at >= _SAY_EVERY_S:
            self._said_at = now
            self._say(
                f"{self._time()}: {self._published} published, {self._post.unanswered} of {self._plan.events} unanswered"
            )

    def _time(self) -> str:
        return f"{time.monotonic() - self._started_at:.0f} s"

    def _publish_until(self, count: int) -> None:
        chunk = self._queue[self._published : count]
        self._published += len(chunk)
        for question in chunk:
            ordered = int(question.conversation_id.rpartition("-")[2]) % 2
            self._world.post(question, key=question.conversation_id if ordered else "")

    def _question(self, number: int) -> Question:
        group = number // TURNS_PER_CONVERSATION
        return self._world.question(
            f"conversation-{self._plan.seed}-{group}",
            user_id=f"storm-{self._plan.seed}-{group}",
            event_id=f"{self._plan.seed}-{number}",
        )


async def outside(
    ground: Ground, seed: int, say: Say, *, events: int, kills: int, frozen_s: float, timeout_s: float = 600.0
) -> Report:
    """Raise the storm over a Firestore emulator of its own, which is stopped on the way."""
    plan = OutsidePlan(events=events, kills=kills, frozen_s=frozen_s, seed=seed, timeout_s=timeout_s)
    return await asyncio.to_thread(_run, ground, plan, say)


def _run(ground: Ground, plan: OutsidePlan, say: Say) -> Report:
    say(f"seed {plan.seed}")
    with running(FIRESTORE) as firestore:
        world = OutsideWorld(ground.folder, ground.pubsub_host, firestore.host)
        try:
            return OutsideStorm(world, firestore, plan, ground.folder, say).run()
        finally:
            world.close()
