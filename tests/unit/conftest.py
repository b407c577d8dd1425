"""What unit tests share: how long an example may take."""

from __future__ import annotations

from hypothesis import settings


def pytest_configure() -> None:
    """Take the time limit off examples: on a busy machine or under coverage it says nothing about the code."""
    settings.register_profile("unit", deadline=None)
    settings.load_profile("unit")
