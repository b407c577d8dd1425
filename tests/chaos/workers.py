"""Worker processes by pid: started by a fork server, watched through their traces, killed, stopped and continued."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from tests.chaos.behaviour import Behaviour

STOPS_WITHIN_S = 9.0
_STANDS_WITHIN_S = 5.0
_LOOKS = 200
_ENDED = ("", "X", "Z")  # as /proc tells it; "": gone altogether


class ForkServer:
    """The process that forks workers; it tells when each has ended, and with which code."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._asking = asyncio.Lock()

    async def fork(self, command: Mapping[str, object]) -> int:
        """Start a worker and return its pid."""
        assert self._process.stdin is not None
        async with self._asking:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            return await asyncio.wait_for(self._started.get(), 30)

    def ended(self, pid: int) -> asyncio.Future[int]:
        """Return what will be the worker's exit code: negative for a signal."""
        return self._ended[pid]

    async def listen(self) -> None:
        """Take notice of starts and ends, for ever."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "pid" in said:
                self._ended[said["pid"]] = asyncio.get_running_loop().create_future()
                self._started.put_nowait(said["pid"])
            else:
                self._ended[said["ended"]].set_result(said["code"])


class Workers:
    """Workers that share `environment`; logs and traces go to `folder`."""

    def __init__(self, server: ForkServer, environment: Mapping[str, str], folder: Path) -> None:
        self._server = server
        self.environment = dict(environment)
        self._folder = folder
        self._numbers = itertools.count()
        self._traces: dict[int, Path] = {}
        self._exact: set[int] = set()
        self.alive: set[int] = set()
        self.kills: Counter[str] = Counter()

    async def start(self, behaviour: Behaviour | None = None) -> int:
        """Start a worker and return its pid."""
        behaviour = behaviour or Behaviour()
        trace = self._folder / f"trace-{next(self._numbers)}"
        command = {
            "env": self.environment,
            "log": str(self._folder / "workers.log"),
            "trace": str(trace),
            "behaviour": asdict(behaviour),
        }
        pid = await self._server.fork(command)
        self._traces[pid] = trace
        self.alive.add(pid)
        if behaviour.exact:
            self._exact.add(pid)
        return pid

    async def until_dead(self, pid: int, timeout_s: float) -> int | None:
        """Wait for a worker's end and return its exit code; None if it is still alive after the time."""
        with suppress(TimeoutError):
            code = await asyncio.wait_for(asyncio.shield(self._server.ended(pid)), timeout_s)
            self.alive.discard(pid)
            return code
        return None

    def has_ended(self, pid: int) -> bool:
        """Tell whether a worker has ended, for whatever reason."""
        return self._server.ended(pid).done()

    async def kill(self, pid: int) -> bool:
        """Kill a worker from outside at this moment; an exact one when next nothing is between publish and mark.

        Deaths in there are P4's: what a kill from outside leaves in there could not be told. False: it has died at the
        step it was meant for instead, just before.
        """
        stands = await self._stands(pid)
        for _ in range(_LOOKS if pid in self._exact else 0):
            if not stands or _exposed(self._traces[pid]) == 0:
                break
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.002)
            stands = await self._stands(pid)
        if stands:
            os.kill(pid, signal.SIGKILL)
        assert await self.until_dead(pid, 5) == -signal.SIGKILL, "a worker ended by itself; see workers.log"
        return stands

    def expect_alive(self) -> None:
        """Fail, with the end of their log, if a worker has ended that nobody killed or stopped."""
        codes = [self._server.ended(pid).result() for pid in self.alive if self._server.ended(pid).done()]
        if any(code >= 0 for code in codes):
            log = (self._folder / "workers.log").read_text("utf-8")
            raise AssertionError(f"a worker ended by itself with {codes}: {log[-2000:]}")

    async def suspend(self, pid: int) -> None:
        """Stop a worker from running, as a stalled machine would, and return once it stands."""
        assert await self._stands(pid), "a worker ended by itself; see workers.log"

    async def _stands(self, pid: int) -> bool:
        """Stop a worker from running; True once it stands, False if it has ended."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + _STANDS_WITHIN_S
        while (state := _state(pid)) != "T":
            if state in _ENDED:
                return False
            assert time.monotonic() < deadline, f"a worker would not stand: state {state!r}"
            await asyncio.sleep(0)
        return True

    def resume(self, pid: int) -> None:
        """Let a suspended worker run on."""
        os.kill(pid, signal.SIGCONT)

    async def terminate(self, pid: int, times: int = 1) -> tuple[int | None, float]:
        """Tell a worker to stop, as an operator would; return its exit code and how many seconds it took."""
        started = time.monotonic()
        for _ in range(times):
            os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.05 if times > 1 else 0)
        code = await self.until_dead(pid, 2 * STOPS_WITHIN_S)
        return code, time.monotonic() - started

    async def stop(self) -> list[str]:
        """Tell the living to stop; return what is wrong with how they did."""
        ends = await asyncio.gather(*(self.terminate(pid) for pid in [*self.alive]))
        return [
            f"a worker took {took_s:.1f} s to stop, with code {code}"
            for code, took_s in ends
            if code != 0 or took_s > STOPS_WITHIN_S
        ]

    def exposed(self) -> int:
        """Count the events that stood between publish and mark when their worker died, or left there otherwise."""
        return sum(_exposed(trace) for trace in self._traces.values())

    def handlers_running(self, pid: int) -> int:
        """Count the handlers a slowed worker has begun and not ended."""
        self.expect_alive()
        steps = _read(self._traces[pid])
        return steps.count(b"h") - steps.count(b"e")

    def logged(self, event: str) -> int:
        """Count the lines about an event in the workers' log."""
        log = self._folder / "workers.log"
        return log.read_bytes().count(f'"{event}"'.encode()) if log.exists() else 0


def _exposed(trace: Path) -> int:
    steps = _read(trace)
    return steps.count(b"3") - steps.count(b"5")


def _read(trace: Path) -> bytes:
    return trace.read_bytes() if trace.exists() else b""


def _state(pid: int) -> str:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    return ""


@asynccontextmanager
async def fork_server() -> AsyncIterator[ForkServer]:
    """Run a fork server; its workers die with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.forkserver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
    )
    server = ForkServer(process)
    listening = asyncio.create_task(server.listen())
    try:
        yield server
    finally:
        process.kill()
        await process.wait()
        listening.cancel()
