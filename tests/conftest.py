"""What every test may ask for: the shared data, and the emulators, started once per session and only if needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bigquery_emulator import bigquery_emulator as bigquery_emulator_running
from tests.emulators import FIRESTORE, PUBSUB, EmulatorKind, EmulatorMissingError, running

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that no process is left alone with one at the end."""
    slow = {
        item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("emulator")
    }
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared data beside the repository; without it tests skip, in CI they fail."""
    if not _SHARED_DATA.is_dir():
        report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        report(f"the shared data are not there: put them at {_SHARED_DATA}")
    return _SHARED_DATA


@pytest.fixture(scope="session")
def pubsub_emulator() -> Iterator[str]:
    """Host and port of a Pub/Sub emulator that all tests of the session share."""
    yield from _shared(PUBSUB)


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """Host and port of a Firestore emulator that all tests of the session share."""
    yield from _shared(FIRESTORE)


@pytest.fixture(scope="session")
def bigquery_emulator() -> Iterator[str]:
    """Host and port of a BigQuery emulator that all tests of the session share."""
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(bigquery_emulator_running())
        except EmulatorMissingError as error:
            report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            report(str(error))
        yield host


def _shared(kind: EmulatorKind) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            emulator = stack.enter_context(running(kind))
        except EmulatorMissingError as error:
            report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            report(str(error))
        yield emulator.host
