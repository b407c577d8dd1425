"""What unit tests share: the real households and utterances, where they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

_SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def pytest_configure() -> None:
    """Take the time limit off examples: on a busy machine or under coverage it says nothing about the code."""
    settings.register_profile("unit", deadline=None)
    settings.load_profile("unit")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared data beside the repository; without it tests skip, in CI they fail."""
    if not _SHARED_DATA.is_dir():
        report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        report(f"the shared data are not there: put them at {_SHARED_DATA}")
    return _SHARED_DATA
