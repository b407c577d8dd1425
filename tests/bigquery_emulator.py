"""A BigQuery emulator (`local-bigquery`) in a Python 3.13 environment of its own, as a context manager.

with bigquery_emulator() as host: ...  # "127.0.0.1:PORT"

The environment is made once, in `.cache/local-bigquery`, from hash-pinned `locks/local-bigquery.txt`. The emulator looks
for DuckDB's extensions in its home folder: they are linked there from their packages, so that it downloads nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tests.emulators import GUARD, READY_WITHIN_S, EmulatorMissingError, free_port

PYTHON: Final = "3.13"
_ROOT: Final = Path(__file__).resolve().parents[1]
_LOCK: Final = _ROOT / "locks" / "local-bigquery.txt"
_FOLDER: Final = _ROOT / ".cache" / "local-bigquery"
_INSTALL_WITHIN_S: Final = 600

_LINK_EXTENSIONS: Final = """
import duckdb, pathlib, sys
(platform,) = duckdb.sql("PRAGMA platform").fetchone()
target = pathlib.Path(sys.argv[1], ".duckdb", "extensions", f"v{duckdb.__version__}", platform)
target.mkdir(parents=True, exist_ok=True)
for found in pathlib.Path(duckdb.__file__).parents[1].glob("duckdb_extension_*/extensions/*/*.duckdb_extension"):
    (target / found.name).symlink_to(found)
"""


@contextlib.contextmanager
def bigquery_emulator(*, project: str = "contract-tests") -> Iterator[str]:
    """Run an empty emulator on a free port and yield its "127.0.0.1:PORT" once it answers; stop it afterwards.

    Raises EmulatorMissingError where there is no Python 3.13, or RuntimeError if it cannot be installed or started.
    """
    environment = _environment()
    port = free_port()
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile() as log:
        flags = (f"--port={port}", "--grpc-port=0", f"--project={project}", f"--data-dir={data}")
        command = (str(environment / "bin" / "local-bigquery"), "--host=127.0.0.1", *flags)
        guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "HOME": str(environment / "home")},
            start_new_session=True,  # an interrupt from the terminal must reach the emulator last
        )
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdout.readline()
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/bigquery/v2/projects/{project}/datasets", log)
            yield f"127.0.0.1:{port}"
        finally:
            guard.stdin.close()
            guard.wait()
            guard.stdout.close()


def _environment() -> Path:
    """Return the folder of the environment, made now unless it is there as the lock file says."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    made = _FOLDER / "made-from"
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers start at the same time
        environment = _FOLDER / "environment"
        if not made.exists() or made.read_text() != wanted:
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment)
            made.write_text(wanted)
    return environment


def _make(environment: Path) -> None:
    python = environment / "bin" / "python"
    _run(_find_python(), "-m", "venv", str(environment))
    _run(
        str(python),
        *(
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ),
        *("--require-hashes", "-r", str(_LOCK)),
    )
    _run(str(python), "-c", _LINK_EXTENSIONS, str(environment / "home"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


def _find_python() -> str:
    for candidate in _candidates():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            said = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, timeout=30, check=False
            )
            if said.stdout.startswith(f"Python {PYTHON}."):
                return str(candidate)
    raise EmulatorMissingError(
        f"the BigQuery emulator needs Python {PYTHON}: put `python{PYTHON}` on PATH, or run `pyenv install {PYTHON}` "
        f"or `uv python install {PYTHON}`"
    )


def _candidates() -> Iterator[str | Path]:
    """Yield what may be the Python: on PATH (where a shim of pyenv may lead nowhere), pyenv's own, uv's own."""
    if found := shutil.which(f"python{PYTHON}"):
        yield found
    if root := os.environ.get("PYENV_ROOT") or _asked("pyenv", "root"):
        yield from sorted(Path(root).glob(f"versions/{PYTHON}*/bin/python{PYTHON}"), reverse=True)
    if managed := _asked("uv", "python", "find", "--managed-python", "--no-python-downloads", PYTHON):
        yield managed


def _asked(*command: str) -> str | None:
    """Return what a program says, None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return said.stdout.strip() or None


def _wait_until_ready(url: str, log: IO[bytes]) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < give_up_at:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            direct.open(url, timeout=READY_WITHIN_S) as response,
        ):
            response.read()
            return
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(
        f"the BigQuery emulator did not answer within {READY_WITHIN_S:.0f} s:\n"
        + log.read()[-2000:].decode("utf-8", "replace")
    )
