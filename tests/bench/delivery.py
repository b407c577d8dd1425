"""Consume -> publish -> acknowledge: the service beside the loops that other stacks would use, in one run, as ratios.

`python -m tests.bench.delivery` starts its own emulators. Every contender runs in a process of its own over a
subscription of its own, filled beforehand; rounds take turns. Latency is measured at a fixed rate: from the publish
call of the request to the confirmation of its reply.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from expert_bot.google_channels import open_channel
from expert_bot.publishers.pubsub import PubsubPublisher
from expert_bot.publishers.pubsub_admin import PubsubAdmin
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.topology import Subscription, Topic, Topology
from tests.bench.contender import CONTENDERS
from tests.bench.service import REQUESTED, Text
from tests.emulators import FIRESTORE, PUBSUB, running

RESULTS: Final = Path(".cache/bench/delivery.json")
PROJECT: Final = "bench"
REFERENCE: Final = "raw-streams"
LATENCY_OF: Final = ("raw-pulls", "raw-streams", "expert-bot-memory", "expert-bot-firestore")
SLOW: Final = {"expert-bot-firestore": 5, "documented-callback": 2, "bridged-callback": 2}
_USERS: Final = 50
_STOP_WITHIN_S: Final = 120.0

Figures = dict[str, float]


class Bench:
    """The emulators' hosts, and what a measurement needs of them."""

    def __init__(self, host: str, firestore_host: str) -> None:
        self._host = host
        self._environment = {
            **os.environ,
            "PUBSUB_EMULATOR_HOST": host,
            "FIRESTORE_EMULATOR_HOST": firestore_host,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }
        self._channel = open_channel(emulator_host=host)
        self._publisher = PubsubPublisher(channel=self._channel, project=PROJECT)
        self._admin = PubsubAdmin(channel=self._channel, project=PROJECT)

    async def throughput(self, name: str, messages: int, streams: int) -> Figures:
        """Let a contender empty a filled subscription."""
        requests, replies = await self._make_topics()
        await self._fill(requests, messages)
        return await self._run(name, requests, replies, messages, streams)

    async def latency(self, name: str, rate: int, seconds: float, streams: int) -> Figures:
        """Let a contender answer `rate` requests a second; publishes only once it has answered a first one."""
        requests, replies = await self._make_topics()
        messages = int(rate * seconds)
        running = asyncio.create_task(self._run(name, requests, replies, messages, streams))
        await asyncio.sleep(2.0)  # imports
        started = time.perf_counter()
        publishes = []
        for number, event in enumerate(make_events(messages)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            publishes.append(asyncio.create_task(self._publish(requests, event)))
        await asyncio.gather(*publishes)
        return await running

    async def close(self) -> None:
        await self._publisher.close()
        await self._channel.close()

    async def _make_topics(self) -> tuple[str, str]:
        name = uuid.uuid4().hex[:12]
        requests, replies = f"bench-{name}-requests", f"bench-{name}-replies"
        await self._admin.apply(
            Topology(
                topics=tuple(
                    Topic(name=topic, purpose="a measurement's own") for topic in (requests, replies)
                ),
                subscriptions=(
                    Subscription(name=requests, topic=requests, ordered=False, dead_letter_topic=None),
                ),
            )
        )
        return requests, replies

    async def _fill(self, topic: str, messages: int) -> None:
        await asyncio.gather(*(self._publish(topic, event) for event in make_events(messages)))

    async def _publish(self, topic: str, event: CloudEvent) -> None:
        await self._publisher.publish(pubsub.encode_binary(event, topic))

    async def _run(self, name: str, requests: str, replies: str, messages: int, streams: int) -> Figures:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.bench.contender", name, "--host", self._host, "--project", PROJECT),
            *("--subscription", requests, "--topic", replies),
            *("--messages", str(messages), "--streams", str(streams)),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                output, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            raise RuntimeError(
                f"{name} did not answer {messages} messages in {_STOP_WITHIN_S:g} s"
            ) from error
        if process.returncode:
            raise typer.BadParameter(f"{name} ended with code {process.returncode}")
        figures: Figures = json.loads(output.splitlines()[-1])
        return figures


def make_events(count: int) -> Iterator[CloudEvent]:
    """Yield different requests of about 1 KiB, each stamped with the time it was made in its id."""
    question = "¿Cuánto consumí en abril de 2023? " * 27
    bodies = [
        Text(message=question, user_id=f"user-{number}").model_dump_json().encode()
        for number in range(_USERS)
    ]
    for number in range(count):
        yield CloudEvent(
            id=f"{number}-{time.time_ns()}",
            source="urn:bench",
            type=REQUESTED.name,
            data=bodies[number % _USERS],
        )


async def measure(
    *, messages: int, rounds: int, rate: int, seconds: float, streams: int, progress: Progress
) -> dict[str, Figures]:
    """Return every contender's figures, medians over the rounds."""
    with running(PUBSUB, heap_mb=1024) as bus, running(FIRESTORE, heap_mb=1024) as store:
        bench = Bench(bus.host, store.host)
        task = progress.add_task("throughput", total=rounds * len(CONTENDERS) + len(LATENCY_OF))
        runs: dict[str, list[Figures]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds):
            for name, figures in runs.items():
                progress.update(task, description=name)
                figures.append(await bench.throughput(name, messages // SLOW.get(name, 1), streams))
                progress.advance(task)
        medians = {
            name: {key: median(run[key] for run in figures) for key in ("messages_per_s", "cpu_ms_per_1000")}
            for name, figures in runs.items()
        }
        await _measure_latency(bench, medians, rate, seconds, streams, progress, task)
        await bench.close()
    return medians


async def _measure_latency(
    bench: Bench,
    medians: dict[str, Figures],
    rate: int,
    seconds: float,
    streams: int,
    progress: Progress,
    task: TaskID,
) -> None:
    for name in LATENCY_OF:
        progress.update(task, description=f"{name} at {rate}/s")
        figures = await bench.latency(name, rate, seconds, streams)
        medians[name] |= {"p50_ms": figures["p50_ms"], "p99_ms": figures["p99_ms"]}
        progress.advance(task)


def ratios(figures: dict[str, Figures]) -> Figures:
    """Return what is judged: CPU over the reference and the documented client, throughput over the bridge, latency added."""
    ours, firestore = figures["expert-bot-memory"], figures["expert-bot-firestore"]
    bare_ms = min(figures[name]["p50_ms"] for name in ("raw-pulls", "raw-streams"))
    return {
        "cpu over raw streams": ours["cpu_ms_per_1000"] / figures[REFERENCE]["cpu_ms_per_1000"],
        "cpu over documented callback": ours["cpu_ms_per_1000"]
        / figures["documented-callback"]["cpu_ms_per_1000"],
        "throughput over bridged callback": ours["messages_per_s"]
        / figures["bridged-callback"]["messages_per_s"],
        "p50 added, ms": ours["p50_ms"] - bare_ms,
        "p50 added with firestore, ms": firestore["p50_ms"] - bare_ms,
    }


def main(
    messages: int = 20_000,
    rounds: int = 3,
    rate: int = 200,
    seconds: float = 15.0,
    streams: int = 8,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure every contender, print a table or JSON, store the figures."""
    with Progress(disable=as_json, transient=True) as progress:
        figures = asyncio.run(
            measure(
                messages=messages,
                rounds=rounds,
                rate=rate,
                seconds=seconds,
                streams=streams,
                progress=progress,
            )
        )
    result = {"contenders": figures, "ratios": ratios(figures)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    _print(figures, result["ratios"])


def _print(figures: dict[str, Figures], ratio: Figures) -> None:
    base = figures[REFERENCE]["cpu_ms_per_1000"]
    table = Table("stack", "messages/s", "CPU ms per 1,000", f"CPU / {REFERENCE}", "p50 ms", "p99 ms")
    for name, row in figures.items():
        latency = [f"{row[key]:.1f}" if key in row else "" for key in ("p50_ms", "p99_ms")]
        table.add_row(
            name,
            f"{row['messages_per_s']:,.0f}",
            f"{row['cpu_ms_per_1000']:.1f}",
            f"{row['cpu_ms_per_1000'] / base:.2f}",
            *latency,
        )
    console = Console()
    console.print(table)
    for what, value in ratio.items():
        console.print(f"{what}: {value:.2f}")
    console.print(f"stored in {RESULTS}")


if __name__ == "__main__":
    typer.run(main)
