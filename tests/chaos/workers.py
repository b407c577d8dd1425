"""Two worker slots whose workers die at every protocol step and at random, and their fork server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

STEPS = ("P0", "P1", "P2", "P3", "P4", "P5")
RANDOM = "random"
SLOTS = 2
_RANDOM_SHARE = 0.2
_NOTHING_COMES_AFTER_S = 4.0
_LOOKS = 200


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


class Workers:
    """Worker processes by pid. The server forks them with `environment`; logs and traces go to `folder`."""

    def __init__(
        self, server: asyncio.subprocess.Process, environment: Mapping[str, str], folder: Path, *, exact: bool
    ) -> None:
        self._server = server
        self._environment = dict(environment)
        self._folder = folder
        self._exact = exact
        self._started = 0
        self._traces: dict[int, Path] = {}
        self._asking = asyncio.Lock()
        self.alive: set[int] = set()
        self.kills: Counter[str] = Counter()

    async def start(self, kill_at: str | None = None, nth: int = 1) -> int:
        """Start a worker that kills itself the n-th time it reaches a step, and return its pid."""
        self._started += 1
        command = {
            "env": self._environment,
            "log": str(self._folder / "workers.log"),
            "trace": str(self._folder / f"trace-{self._started}"),
            "kill_at": kill_at,
            "nth": nth,
            "exact": self._exact,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        async with self._asking:
            self._server.stdin.write(json.dumps(command).encode() + b"\n")
            answer = await asyncio.wait_for(self._server.stdout.readline(), 30)
        pid = int(json.loads(answer)["pid"])
        self.alive.add(pid)
        self._traces[pid] = Path(command["trace"])
        return pid

    async def until_dead(self, pid: int, timeout_s: float) -> bool:
        """Wait for a worker's death; False if it is still alive after the time."""
        deadline = time.monotonic() + timeout_s
        while _is_alive(pid):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.005)
        self.alive.discard(pid)
        return True

    async def kill(self, pid: int) -> None:
        """Kill a worker from outside at this moment; in an exact storm at the next when nothing is between publish and mark.

        Deaths in there are P4's: what a kill from outside leaves in there could not be told.
        """
        for _ in range(_LOOKS if self._exact else 0):
            os.kill(pid, signal.SIGSTOP)
            await self._until_stopped(pid)
            if _exposed(self._traces[pid]) == 0:
                break
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        assert await self.until_dead(pid, 5)

    async def stop(self) -> None:
        """Tell the living to stop, as an operator would; they must within 9 s."""
        for pid in self.alive:
            os.kill(pid, signal.SIGTERM)
        for pid in [*self.alive]:
            assert await self.until_dead(pid, 9), "a worker did not stop within 9 s"

    async def run_slot(self, deaths: Deaths, rng: random.Random) -> None:
        """Live and die until there were enough deaths."""
        while (step := deaths.take()) is not None:
            if step == RANDOM:
                pid = await self.start()
                await asyncio.sleep(rng.uniform(0.1, 0.8))
            else:
                pid = await self.start(step, rng.randint(1, 8))
                if await self.until_dead(pid, _NOTHING_COMES_AFTER_S):
                    self.kills[step] += 1
                    continue
                deaths.put_back(step)
            await self.kill(pid)
            self.kills[RANDOM] += 1

    def exposed(self) -> int:
        """Count the events that stood between publish and mark when their worker died, or left there otherwise."""
        return sum(_exposed(trace) for trace in self._traces.values())

    async def _until_stopped(self, pid: int) -> None:
        deadline = time.monotonic() + 5
        while _state(pid) != "T":
            assert time.monotonic() < deadline, "a worker ended by itself; see workers.log"
            await asyncio.sleep(0)


def _exposed(trace: Path) -> int:
    steps = trace.read_bytes() if trace.exists() else b""
    return steps.count(b"3") - steps.count(b"5")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@asynccontextmanager
async def fork_server() -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a fork server; its workers die with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.forkserver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
