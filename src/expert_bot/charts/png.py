"""PNG files with matplotlib, which is an extra: whoever asks for one without it is told how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from expert_bot.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(*, width_in: float = 10.0, height_in: float = 5.0) -> Figure:
    """Return an empty figure that needs no display. Raises UsageError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # an extra, and slow to import
    except ImportError as error:
        raise UsageError("--plot needs matplotlib: install expert-bot[plot]") from error
    return Figure(figsize=(width_in, height_in), layout="constrained")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure. Raises UsageError if the path cannot be written or does not end in .png."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot writes PNG files: {path} must end in .png")
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
