"""Two worker slots whose workers die at every protocol step and at random."""

from __future__ import annotations

import asyncio
import random

from tests.chaos.behaviour import Behaviour
from tests.chaos.workers import Workers

STEPS = ("P0", "P1", "P2", "P3", "P4", "P5")
RANDOM = "random"
SLOTS = 2
_RANDOM_SHARE = 0.2
_NOTHING_COMES_AFTER_S = 4.0


class Deaths:
    """The deaths still to be died: the same number at every step, the rest from outside at random times."""

    def __init__(self, kills: int, rng: random.Random) -> None:
        self.per_step = int(kills * (1 - _RANDOM_SHARE)) // len(STEPS)
        self._left = [*STEPS] * self.per_step
        self._left += [RANDOM] * (kills - len(self._left))
        rng.shuffle(self._left)

    def take(self) -> str | None:
        """Return where the next worker is to die; None when there were enough deaths."""
        return self._left.pop() if self._left else None

    def put_back(self, step: str) -> None:
        """Note that a worker meant for a step had to be killed from outside: that is one of the random deaths."""
        if RANDOM in self._left:
            self._left.remove(RANDOM)
        self._left.insert(0, step)


async def live_and_die(workers: Workers, deaths: Deaths, rng: random.Random, *, exact: bool) -> None:
    """Fill one slot with workers, one after the other, until there were enough deaths."""
    while (step := deaths.take()) is not None:
        if step == RANDOM:
            pid = await workers.start(Behaviour(exact=exact))
            await asyncio.sleep(rng.uniform(0.1, 0.8))
        else:
            pid = await workers.start(Behaviour(kill_at=step, nth=rng.randint(1, 8), exact=exact))
            if await workers.until_dead(pid, _NOTHING_COMES_AFTER_S) is not None:
                workers.kills[step] += 1
                continue
        if await workers.kill(pid):
            workers.kills[RANDOM] += 1
            if step != RANDOM:
                deaths.put_back(step)
        else:
            assert step != RANDOM, (
                "a worker that was to be killed from outside killed itself; see workers.log"
            )
            workers.kills[step] += 1
