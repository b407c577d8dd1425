"""On what a storm rages: embedded files, or the emulators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from expert_bot.config import Settings
from tests.chaos.stage import emulator_settings


@dataclass(frozen=True, kw_only=True)
class Ground:
    """`folder`: files, logs and traces of one run. `pubsub_host`, `firestore_host`: both or none."""

    folder: Path
    pubsub_host: str = ""
    firestore_host: str = ""

    @cached_property
    def settings(self) -> Settings:
        """The settings: of fresh files, or of a fresh project on the emulators."""
        if self.pubsub_host:
            return emulator_settings(self.folder, self.pubsub_host, self.firestore_host)
        return Settings(data_dir=self.folder / "data")

    def name(self, row: str) -> str:
        """Return a row's name on this ground."""
        return f"{row}-{'emulators' if self.pubsub_host else 'embedded'}"
