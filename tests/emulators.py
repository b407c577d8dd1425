"""Google's Pub/Sub and Firestore emulators as context managers: found, started small, stopped with whoever started them.

with pubsub_emulator() as host: ...      # "127.0.0.1:PORT"
with running(FIRESTORE) as emulator: ... # an Emulator, which can also be frozen
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

READY_WITHIN_S: Final = 60.0
_SMALL_JVM: Final = "-XX:TieredStopAtLevel=1"
SMALL_HEAP_MB: Final = 256
_USUAL_FOLDERS: Final = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/usr/local/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/opt/homebrew/share/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    "~/google-cloud-sdk",
)

# The guard outlives a killed parent: its standard input then ends, and it takes the emulator down with it.
GUARD: Final = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
child.terminate()
try:
    child.wait(3)
except subprocess.TimeoutExpired:
    child.kill()
    child.wait()
"""


class EmulatorMissingError(Exception):
    """Java or the emulator's jar is not on this machine; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorKind:
    """One emulator: the jar's place below the SDK, its gcloud component, and its command line after `java`."""

    name: str
    component: str
    jar_pattern: str
    arguments: Callable[[Path, int], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator: `host` is "127.0.0.1:PORT", `pid` the Java process."""

    host: str
    pid: int

    @property
    def port(self) -> int:
        """The port it listens on, to start another one in its place."""
        return int(self.host.rpartition(":")[2])

    def freeze(self) -> None:
        """Stop it from running while its connections stay open, as a stalled machine would."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen emulator continue."""
        os.kill(self.pid, signal.SIGCONT)


def _pubsub_arguments(jar: Path, port: int) -> tuple[str, ...]:
    return ("-jar", str(jar), "--host=127.0.0.1", f"--port={port}")


def _firestore_arguments(jar: Path, port: int) -> tuple[str, ...]:
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    flags = ("--host=127.0.0.1", f"--port={port}", f"--websocket_port={free_port()}")
    return ("-Duser.language=en", "-cp", str(jar), main, *flags)


PUBSUB: Final = EmulatorKind(
    name="Pub/Sub",
    component="pubsub-emulator",
    jar_pattern="platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    arguments=_pubsub_arguments,
)
FIRESTORE: Final = EmulatorKind(
    name="Firestore",
    component="cloud-firestore-emulator",
    jar_pattern="platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
    arguments=_firestore_arguments,
)


@contextlib.contextmanager
def pubsub_emulator(*, port: int | None = None) -> Iterator[str]:
    """Run a Pub/Sub emulator and yield its "127.0.0.1:PORT". Raises EmulatorMissingError."""
    with running(PUBSUB, port=port) as emulator:
        yield emulator.host


@contextlib.contextmanager
def firestore_emulator(*, port: int | None = None) -> Iterator[str]:
    """Run a Firestore emulator and yield its "127.0.0.1:PORT". Raises EmulatorMissingError."""
    with running(FIRESTORE, port=port) as emulator:
        yield emulator.host


@contextlib.contextmanager
def running(
    kind: EmulatorKind,
    *,
    port: int | None = None,
    heap_mb: int = SMALL_HEAP_MB,
    collector: Literal["Serial", "G1"] = "Serial",
) -> Iterator[Emulator]:
    """Run an emulator on `port` (None: a free one), yield it once it answers, stop it afterwards.

    Raises EmulatorMissingError, or RuntimeError if the port is taken or the emulator does not start (its last words).
    """
    if port is not None:
        _refuse_taken(port)
    arguments = kind.arguments(_find_jar(kind), port := port or free_port())
    command = [_find_java(kind), f"-Xmx{heap_mb}m", _SMALL_JVM, f"-XX:+Use{collector}GC", *arguments]
    with tempfile.TemporaryFile() as log:
        guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # an interrupt from the terminal must reach the emulator last
        )
        assert guard.stdin is not None
        assert guard.stdout is not None
        emulator = Emulator(host=f"127.0.0.1:{port}", pid=int(guard.stdout.readline()))
        try:
            _wait_until_ready(kind, emulator.host, log)
            yield emulator
        finally:
            with contextlib.suppress(ProcessLookupError):
                emulator.thaw()
            guard.stdin.close()
            guard.wait()
            guard.stdout.close()


def free_port() -> int:
    """Return a port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _refuse_taken(port: int) -> None:
    """Raise RuntimeError if somebody listens there: their answers would be taken for our emulator's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RuntimeError(f"port {port} is taken") from error


def _wait_until_ready(kind: EmulatorKind, host: str, log: IO[bytes]) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_at:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://{host}/", timeout=2) as response,
        ):
            if response.read().strip() == b"Ok":
                return
        time.sleep(0.05)
    log.seek(0)
    raise RuntimeError(
        f"the {kind.name} emulator did not answer within {READY_WITHIN_S:.0f} s:\n"
        + log.read()[-2000:].decode("utf-8", "replace")
    )


def _find_java(kind: EmulatorKind) -> str:
    if java := shutil.which("java"):
        return java
    raise EmulatorMissingError(
        f"the {kind.name} emulator needs Java 17 or newer on PATH (Debian: apt-get install default-jre-headless)"
    )


def _find_jar(kind: EmulatorKind) -> Path:
    for root in _sdk_roots():
        if jars := sorted(root.glob(kind.jar_pattern)):
            return jars[-1]
    raise EmulatorMissingError(
        f"the {kind.name} emulator is missing: run `gcloud components install {kind.component}` "
        f"(Debian: apt-get install google-cloud-cli-{_debian_name(kind)}), or set CLOUDSDK_ROOT_DIR to the SDK's folder"
    )


def _debian_name(kind: EmulatorKind) -> str:
    return kind.component.removeprefix("cloud-")


def _sdk_roots() -> Iterator[Path]:
    if named := os.environ.get("CLOUDSDK_ROOT_DIR"):
        yield Path(named)
    for folder in _USUAL_FOLDERS:
        yield Path(folder).expanduser()
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parent.parent
        asked = subprocess.run(  # slow, so it comes last
            [gcloud, "info", "--format=value(installation.sdk_root)"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if root := asked.stdout.strip():
            yield Path(root)
