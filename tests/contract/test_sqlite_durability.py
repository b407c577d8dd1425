"""What the embedded files promise beyond their ports: several processes at once, and death at any moment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from expert_bot.delivery import Ack, Delivery, Message, Outcome
from expert_bot.errors import BusUnavailableError, StoreUnavailableError
from expert_bot.ports import Create, DocKey, Put
from expert_bot.storage.duckdb_analytics import DuckdbAnalytics
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_documents import SqliteDocuments
from expert_bot.storage.sqlite_file import SqliteFile
from tests.contract.bus_kit import PATIENCE_S, BusKit, Recorder, embedded_kit
from tests.contract.test_bus import message, subscription

COMMITTER = """
import asyncio, sys
from pathlib import Path
from expert_bot.ports import DocKey, Put
from expert_bot.storage.sqlite_documents import SqliteDocuments
from expert_bot.storage.sqlite_file import SqliteFile

async def commit_for_ever(path, name):
    documents = SqliteDocuments(SqliteFile(path))
    n = 0
    while True:
        n += 1
        await documents.commit([Put(DocKey("pairs", f"{name}-{half}"), {"n": n}) for half in ("left", "right")])
        print(n, flush=True)

asyncio.run(commit_for_ever(Path(sys.argv[1]), sys.argv[2]))
"""

PUBLISHER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from expert_bot.delivery import Message
from expert_bot.publishers.embedded import EmbeddedPublisher
from expert_bot.storage.sqlite_bus import SqliteBus
from expert_bot.storage.sqlite_file import SqliteFile

class Clock:
    def now(self):
        return datetime.now(UTC)

async def publish_for_ever(path, topic):
    publisher = EmbeddedPublisher(SqliteBus(SqliteFile(path), clock=Clock()))
    n = 0
    while True:
        n += 1
        await publisher.publish(Message(topic=topic, data=b"%d" % n))
        print(n, flush=True)

asyncio.run(publish_for_ever(Path(sys.argv[1]), sys.argv[2]))
"""

DUCKDB_HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


class RealClock:
    """The machine's time, as the other processes see it."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@contextmanager
def child(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in another Python; kill it when the block ends."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], last: int) -> None:
    """Read the child's output until it confirms write number `last`."""
    assert process.stdout is not None
    while int(process.stdout.readline()) < last:
        pass


def killed(process: subprocess.Popen[str]) -> int:
    """Kill the child with SIGKILL in the middle of its work; return the last write it had confirmed."""
    process.kill()
    assert process.stdout is not None
    rest = process.stdout.read().splitlines()
    assert process.wait() == -signal.SIGKILL
    return int(rest[-1]) if rest else 0


@pytest.fixture
def documents_path(tmp_path: Path) -> Path:
    """Where the documents of a test are."""
    return tmp_path / "documents.sqlite3"


async def test_documents_survive_a_restart(documents_path: Path) -> None:
    """What was committed is there for whoever opens the file next, and versions go on growing."""
    before = SqliteDocuments(SqliteFile(documents_path))
    [version] = await before.commit([Create(DocKey("users", "ana"), {"name": "Ana"})])
    await before.close()
    after = SqliteDocuments(SqliteFile(documents_path))
    found = await after.get(DocKey("users", "ana"))
    assert found is not None
    [next_version] = await after.commit([Put(DocKey("users", "ana"), {"name": "Ana"})])
    await after.close()
    assert ({"name": "Ana"}, version, True) == (found.fields, found.version, int(next_version) > int(version))


async def test_documents_can_be_used_again_after_close(documents_path: Path) -> None:
    """Closing frees the file; using it afterwards opens it again."""
    documents = SqliteDocuments(SqliteFile(documents_path))
    await documents.commit([Create(DocKey("users", "ana"), {})])
    await documents.close()
    assert await documents.get(DocKey("users", "ana")) is not None
    await documents.close()


async def test_killed_committers_leave_whole_commits(documents_path: Path) -> None:
    """Three processes commit pairs and are killed with SIGKILL: every confirmed pair is there, none is half."""
    with (
        child(COMMITTER, str(documents_path), "a") as a,
        child(COMMITTER, str(documents_path), "b") as b,
        child(COMMITTER, str(documents_path), "c") as c,
    ):
        confirmed = {}
        for name, process in (("a", a), ("b", b), ("c", c)):
            await asyncio.to_thread(lines_until, process, 40)
            confirmed[name] = max(40, await asyncio.to_thread(killed, process))
    documents = SqliteDocuments(SqliteFile(documents_path))
    for name, last in confirmed.items():
        pair = [await documents.get(DocKey("pairs", f"{name}-{half}")) for half in ("left", "right")]
        left, right = [document.fields["n"] for document in pair if document is not None]
        assert left == right
        assert isinstance(left, int)
        assert left in (last, last + 1)  # the last one may have been written but not yet confirmed
    await documents.close()


async def test_killed_publisher_loses_nothing_confirmed(tmp_path: Path) -> None:
    """Another process publishes and is killed: its messages are consumed here, each confirmed one exactly once."""
    kit = embedded_kit(tmp_path / "bus.sqlite3", RealClock())
    await kit.set_up(subscription("events"))
    recorder = Recorder()
    async with kit.consuming("events", recorder):
        with child(PUBLISHER, str(tmp_path / "bus.sqlite3"), "events-topic") as process:
            await asyncio.to_thread(lines_until, process, 40)
            last = max(40, await asyncio.to_thread(killed, process))
        await recorder.until(last)
    numbers = [int(body) for body in recorder.bodies]
    await kit.close()
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) in (last, last + 1)


async def test_two_consumers_share_the_work(tmp_path: Path) -> None:
    """Two openings of one bus file, as two processes have, each get part of the messages and none gets the other's."""
    kits = [embedded_kit(tmp_path / "bus.sqlite3", RealClock()) for _ in range(2)]
    await kits[0].set_up(subscription("events"))
    for number in range(40):
        await kits[0].publisher.publish(message("events", b"%d" % number))
    both = asyncio.Barrier(2)

    async def wait_for_the_other(delivery: Delivery) -> Outcome:
        await both.wait()
        return Ack()

    recorders = [Recorder(wait_for_the_other) for _ in kits]
    async with (
        kits[0].consuming("events", recorders[0], max_in_flight=1),
        kits[1].consuming("events", recorders[1], max_in_flight=1),
    ):
        await recorders[0].until(20)
        await recorders[1].until(20)
    await close_all(kits)
    assert sorted(recorders[0].bodies + recorders[1].bodies, key=int) == [b"%d" % n for n in range(40)]


async def close_all(kits: list[BusKit]) -> None:
    """Close every opening of the file."""
    for kit in kits:
        await kit.close()


@pytest.mark.parametrize("content", [pytest.param(b"not a database" * 100, id="other-file"), None])
async def test_unusable_file_is_unavailable(content: bytes | None, tmp_path: Path) -> None:
    """A file that is no database, or a path that cannot be one, is an outage that names the file."""
    path = tmp_path / "broken"
    path.mkdir() if content is None else path.write_bytes(content)
    documents = SqliteDocuments(SqliteFile(path))
    with pytest.raises(StoreUnavailableError, match="broken"):
        await documents.ping()
    await documents.close()
    bus = SqliteBus(SqliteFile(path), clock=RealClock())
    with pytest.raises(BusUnavailableError, match="broken"):
        await bus.publish([Message(topic="a", data=b"b")])
    await bus.close()
    analytics = DuckdbAnalytics(path, pseudonym=str)
    with pytest.raises(StoreUnavailableError, match="broken"):
        await analytics.ping()
    await analytics.close()


async def test_writer_that_does_not_let_go_is_an_outage(documents_path: Path) -> None:
    """When another connection keeps its write transaction past the time to wait, a commit fails and writes nothing."""
    other = SqliteFile(documents_path)
    documents = SqliteDocuments(SqliteFile(documents_path, busy_timeout_s=0.05))
    await documents.ping()
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_connection: object) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    holding = asyncio.create_task(other.run(hold, write=True))
    await entered.wait()
    with pytest.raises(StoreUnavailableError, match="locked"):
        await documents.commit([Create(DocKey("users", "ana"), {})])
    assert await documents.get(DocKey("users", "ana")) is None
    leave.set()
    await holding
    await documents.commit([Create(DocKey("users", "ana"), {})])
    await documents.close()
    await other.close()


async def test_duckdb_waits_for_the_other_process(tmp_path: Path) -> None:
    """While another process has the file an operation waits, and succeeds once the file is free."""
    path = tmp_path / "analytics.duckdb"
    analytics = DuckdbAnalytics(path, pseudonym=str)
    with child(DUCKDB_HOLDER, str(path)) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        waiting = asyncio.create_task(analytics.monthly_usage("ana"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    assert await waiting == []
    await analytics.close()


async def test_duckdb_file_that_stays_held_is_an_outage(tmp_path: Path) -> None:
    """When the other process does not let go in time, the error says which file it holds."""
    path = tmp_path / "analytics.duckdb"
    analytics = DuckdbAnalytics(path, pseudonym=str, lock_wait_s=0.1)
    with child(DUCKDB_HOLDER, str(path)) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        with pytest.raises(StoreUnavailableError, match=r"analytics\.duckdb is held by another process"):
            await analytics.ping()
    await analytics.close()


async def test_duckdb_close_ends_the_waiting(tmp_path: Path) -> None:
    """Closing does not wait for another process's file: what was waiting for it fails as an outage."""
    path = tmp_path / "analytics.duckdb"
    analytics = DuckdbAnalytics(path, pseudonym=str, lock_wait_s=10 * PATIENCE_S)
    with child(DUCKDB_HOLDER, str(path)) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        waiting = asyncio.create_task(analytics.ping())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE_S):
            await analytics.close()
            with pytest.raises(StoreUnavailableError, match="held by another process"):
                await waiting
