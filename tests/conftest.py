"""What every test may ask for: the emulators, each started once per session and only if a test needs it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.emulators import FIRESTORE, PUBSUB, EmulatorKind, EmulatorMissingError, running


@pytest.fixture(scope="session")
def pubsub_emulator() -> Iterator[str]:
    """Host and port of a Pub/Sub emulator that all tests of the session share."""
    yield from _shared(PUBSUB)


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """Host and port of a Firestore emulator that all tests of the session share."""
    yield from _shared(FIRESTORE)


def _shared(kind: EmulatorKind) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            emulator = stack.enter_context(running(kind))
        except EmulatorMissingError as error:
            report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            report(str(error))
        yield emulator.host
