"""Half an hour of steady work: does a worker's memory grow? `python -m tests.bench.soak` starts its own emulators.

One `expert-bot work` answers chat questions at a fixed rate. Documents are removed some time after their reply, as the
store's TTL would do, so that only the worker can grow. The slope is a least-squares line through the resident set size
after the first fifth of the time.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import linear_regression, quantiles
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.config import Mode, Settings
from expert_bot.delivery import Ack, Delivery, Outcome
from expert_bot.errors import BusUnavailableError
from expert_bot.inbox.entry import entry_key
from expert_bot.ports import Delete, DocKey
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatRequested
from expert_bot.schemas.topology import topology
from tests.emulator.processes import Service, service
from tests.emulators import FIRESTORE, PUBSUB, running

RESULTS: Final = Path(".cache/bench/soak.json")
ALLOWED_MB_PER_10_MIN: Final = 1.0
_PROJECT: Final = "soak"
_SOURCE: Final = "urn:soak"
_TICK_S: Final = 0.05
_SAMPLE_EVERY_S: Final = 10.0
_WARM_UP_SHARE: Final = 0.2
_KEEP_S: Final = 15.0
_MAX_DELETES: Final = 400
_LAST_REPLIES_WITHIN_S: Final = 30.0
_MB: Final = 1024.0 * 1024.0
_TEN_MINUTES_S: Final = 600.0
_BUS_HEAP_MB: Final = 4096
_STORE_HEAP_MB: Final = 12288
"""The emulator keeps every version of every document. In a small heap, or with a collector that stops everything for
seconds, it stands still, and what grows then is the backlog in the worker."""


class Soak:
    """The traffic, and what is seen of the worker."""

    def __init__(self, adapters: Adapters, worker: Service) -> None:
        self._adapters = adapters
        self._worker = worker
        self._sent_at: dict[str, float] = {}
        self._done: deque[tuple[float, DocKey, DocKey]] = deque()
        self.sent = 0
        self.latencies_ms: deque[float] = deque(maxlen=50_000)
        self.rss: list[tuple[float, float]] = []

    @property
    def unanswered(self) -> int:
        return len(self._sent_at)

    async def publish(self, rate: int, seconds: float, progress: Progress, task: TaskID) -> None:
        """Publish `rate` questions a second, each in a conversation of its own."""
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(elapsed * rate) - self.sent
            await asyncio.gather(*(self._ask() for _ in range(due)))
            progress.update(task, completed=elapsed, description=self._status())
            await asyncio.sleep(_TICK_S)

    async def take(self, delivery: Delivery) -> Outcome:
        """Note a reply; its documents may go."""
        event = pubsub.decode(delivery.attributes, delivery.data)
        event_id = event.extensions["causationid"]
        sent_at = self._sent_at.pop(event_id, None)
        if sent_at is not None:
            now = time.monotonic()
            self.latencies_ms.append((now - sent_at) * 1000)
            inbox_key = entry_key(FAMILY.subscription, _SOURCE, event_id)
            self._done.append((now + _KEEP_S, inbox_key, DocKey("conversations", f"conv-{event_id}")))
        return Ack()

    async def all_answered(self) -> None:
        """Return once nothing is open."""
        while self._sent_at:  # noqa: ASYNC110  # looked at ten times a second, once
            await asyncio.sleep(0.1)

    async def clean_up(self) -> None:
        """Remove, for ever, the documents of what was answered a while ago."""
        while True:
            keys: list[DocKey] = []
            while self._done and self._done[0][0] < time.monotonic() and len(keys) < _MAX_DELETES:
                keys += self._done.popleft()[1:]
            if keys:
                await self._adapters.documents.commit([Delete(key) for key in keys])
            if len(keys) < _MAX_DELETES:
                await asyncio.sleep(0.5)

    async def sample(self) -> None:
        """Note, for ever, the worker's resident set size."""
        started = time.monotonic()
        while True:
            self.rss.append((time.monotonic() - started, resident_mb(self._worker.process.pid)))
            await asyncio.sleep(_SAMPLE_EVERY_S)

    async def _ask(self) -> None:
        self.sent += 1
        event_id = str(self.sent)
        data = ChatRequested(
            message="¿Cuánto consumí en abril de 2023?",
            user_id=f"user-{self.sent % 500}",
            source="soak",
            conversation_id=f"conv-{event_id}",
        )
        event = CloudEvent(
            id=event_id, source=_SOURCE, type=FAMILY.requested.name, data=data.model_dump_json().encode()
        )
        self._sent_at[event_id] = time.monotonic()
        try:
            await self._adapters.publisher.publish(pubsub.encode_binary(event, FAMILY.request_topic))
        except BusUnavailableError:
            del self._sent_at[event_id]

    def _status(self) -> str:
        rss = f"{self.rss[-1][1]:.1f} MB" if self.rss else "starting"
        return f"{self.sent} asked, {self.unanswered} open, {rss}"


def resident_mb(pid: int) -> float:
    """Return a process's resident set size in MB (Linux: /proc)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4096 / _MB


def slope_mb_per_10_min(samples: list[tuple[float, float]]) -> float:
    """Return the slope of the line through (seconds, MB) after the warm-up."""
    warm = samples[int(len(samples) * _WARM_UP_SHARE) :]
    return linear_regression(*zip(*warm, strict=True)).slope * _TEN_MINUTES_S


async def soak(minutes: float, rate: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run it all and return the figures."""
    task = progress.add_task("starting", total=minutes * 60)
    with (
        running(PUBSUB, heap_mb=_BUS_HEAP_MB, collector="G1") as bus,
        running(FIRESTORE, heap_mb=_STORE_HEAP_MB, collector="G1") as store,
    ):
        environment = {
            "EXPERT_BOT_MODE": "emulators",
            "EXPERT_BOT_LOG_LEVEL": "info",
            "GOOGLE_CLOUD_PROJECT": _PROJECT,
            "PUBSUB_EMULATOR_HOST": bus.host,
            "FIRESTORE_EMULATOR_HOST": store.host,
        }
        settings = Settings(
            mode=Mode.EMULATORS,
            data_dir=folder / "driver",
            GOOGLE_CLOUD_PROJECT=_PROJECT,
            PUBSUB_EMULATOR_HOST=bus.host,
            FIRESTORE_EMULATOR_HOST=store.host,
        )
        async with open_adapters(settings) as adapters:
            await adapters.require_admin().apply(topology())
            await adapters.require_admin().create_temporary_subscription("soak", FAMILY.reply_topic)
            with service(folder, environment, "work") as worker:
                run = Soak(adapters, worker)
                async with _background(adapters, run):
                    await run.publish(rate, minutes * 60, progress, task)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(run.all_answered(), _LAST_REPLIES_WITHIN_S)
    cuts = quantiles(run.latencies_ms, n=100)
    return {
        "minutes": minutes,
        "rate_per_s": rate,
        "asked": run.sent,
        "unanswered": run.unanswered,
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "rss_mb": {
            "first": round(run.rss[0][1], 1),
            "after warm-up": round(run.rss[int(len(run.rss) * _WARM_UP_SHARE)][1], 1),
            "last": round(run.rss[-1][1], 1),
            "highest": round(max(megabytes for _, megabytes in run.rss), 1),
        },
        "slope_mb_per_10_min": round(slope_mb_per_10_min(run.rss), 3),
        "samples": [[round(at), round(megabytes, 2)] for at, megabytes in run.rss],
    }


@asynccontextmanager
async def _background(adapters: Adapters, run: Soak) -> AsyncIterator[None]:
    consumer = adapters.make_consumer("soak", run.take, ordered=False)
    tasks = [asyncio.create_task(each) for each in (consumer.run(), run.clean_up(), run.sample())]
    try:
        yield
    finally:
        await consumer.drain(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main(
    minutes: float = 30.0, rate: int = 200, *, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Soak, print and store the figures; exit 1 if memory grows or a question stayed unanswered."""
    with tempfile.TemporaryDirectory() as folder, Progress(disable=as_json, transient=True) as progress:
        result = asyncio.run(soak(minutes, rate, Path(folder), progress))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result) + "\n", "utf-8")
    shown = {name: value for name, value in result.items() if name != "samples"}
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    else:
        Console().print(shown, f"\nstored in {RESULTS}")
    if result["unanswered"] or result["slope_mb_per_10_min"] >= ALLOWED_MB_PER_10_MIN:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
