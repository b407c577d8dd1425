"""One contender in a process of its own: `python -m tests.bench.contender NAME --host ... ` prints one JSON line."""

from __future__ import annotations

import asyncio
import inspect
import json
import resource
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Annotated, Any, Final

import typer

from tests.bench import loops
from tests.bench.loops import Job
from tests.bench.service import expert_bot_firestore, expert_bot_memory, expert_bot_memory_logged

CONTENDERS: Final[dict[str, Callable[[Job], Awaitable[None] | None]]] = {
    "documented-callback": loops.documented_callback,
    "bridged-callback": loops.bridged_callback,
    "generated-client": loops.generated_client,
    "raw-streams": loops.raw_streams,
    "raw-pulls": loops.raw_pulls,
    "expert-bot-memory": expert_bot_memory,
    "expert-bot-memory-logged": expert_bot_memory_logged,
    "expert-bot-firestore": expert_bot_firestore,
}


def cpu_s() -> float:
    """Return the CPU seconds this process has used, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(
    name: str,
    host: Annotated[str, typer.Option()],
    project: Annotated[str, typer.Option()],
    subscription: Annotated[str, typer.Option()],
    topic: Annotated[str, typer.Option()],
    messages: Annotated[int, typer.Option()],
    streams: int = 8,
) -> None:
    """Run one contender over everything in a subscription and print what it took."""
    latencies_ms: list[float] = []
    ended: list[tuple[float, float]] = []

    def on_reply(event_id: str) -> None:
        sent_ns = int(event_id.rpartition("-")[2])
        latencies_ms.append((time.time_ns() - sent_ns) / 1e6)
        if len(latencies_ms) == messages:
            ended.append((time.perf_counter(), cpu_s()))

    job = Job(
        host=host,
        subscription=f"projects/{project}/subscriptions/{subscription}",
        topic=f"projects/{project}/topics/{topic}",
        messages=messages,
        streams=streams,
        on_reply=on_reply,
    )
    started_cpu, started = cpu_s(), time.perf_counter()
    ran: Any = CONTENDERS[name](job)
    if inspect.iscoroutine(ran):
        asyncio.run(ran)
    took_s, used_s = ended[0][0] - started, ended[0][1] - started_cpu
    cuts = quantiles(latencies_ms, n=100)
    print(  # noqa: T201 - the program's result
        json.dumps(
            {
                "messages_per_s": messages / took_s,
                "cpu_ms_per_1000": used_s * 1e6 / messages,
                "p50_ms": cuts[49],
                "p99_ms": cuts[98],
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
