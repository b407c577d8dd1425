"""What a row of the figures table has to say for itself: its seed, its figures, and where it falls short."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

Figure = int | float | str | dict[str, int] | dict[str, float]

DEFAULT_FOLDER = Path(".cache/chaos")


@dataclass(kw_only=True)
class Report:
    """One run of one row. `figures`: durations in seconds; `shortfalls`: what is not as it must be, in words."""

    name: str
    seed: int
    figures: dict[str, Figure] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, **figures: Figure) -> None:
        """Keep figures that no limit holds for."""
        self.figures |= figures

    def at_most(self, limit: float, **figures: float) -> None:
        """Keep figures and note each that is above the limit."""
        for name, value in figures.items():
            self.figures[name] = round(value, 3) if isinstance(value, float) else value
            if value > limit:
                self.shortfalls.append(f"{name} is {self.figures[name]}, allowed are {limit}")

    def at_least(self, limit: float, **figures: float) -> None:
        """Keep figures and note each that is below the limit: a storm that did not rage proves nothing."""
        for name, value in figures.items():
            self.figures[name] = round(value, 3) if isinstance(value, float) else value
            if value < limit:
                self.shortfalls.append(f"{name} is {self.figures[name]}, needed are {limit}")

    def count(self, name: str) -> int:
        """Return a figure that is a whole number."""
        figure = self.figures[name]
        assert isinstance(figure, int)
        return figure

    def zero(self, **figures: int) -> None:
        """Keep figures and note each that is not 0."""
        self.at_most(0, **figures)

    def store(self) -> Path:
        """Write everything as JSON to CHAOS_FIGURES (default `.cache/chaos`); return where."""
        path = Path(os.environ.get("CHAOS_FIGURES", DEFAULT_FOLDER)) / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
        return path
