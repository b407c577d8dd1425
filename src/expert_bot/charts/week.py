"""The heat map of a week: weekday by hour, on the terminal and as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from rich.text import Text

from expert_bot.charts.png import new_figure, save_png
from expert_bot.energy.curve import NANO, Floats
from expert_bot.energy.week import WEEKDAYS, WeekProfile

_SHADES: Final = " ░▒▓█"
_COLOURS: Final = ("#304060", "#3a7ca5", "#e0c040", "#e08030", "#c0392b")
_HOURS: Final = 24


def week_heat_map(profile: WeekProfile) -> Text:
    """Return seven lines of 24 cells, darker for more energy, and a line that says what the shades mean."""
    means = _means(profile)
    most = float(np.nanmax(means)) if profile.hours.any() else 0.0
    picture = Text("     " + "".join(f"{hour:<3d}" for hour in range(_HOURS)) + "\n")
    for number, weekday in enumerate(WEEKDAYS):
        picture.append(f"{weekday[:3].title():5s}")
        for hour in range(_HOURS):
            level = _level(float(means[number, hour]), most)
            picture.append("   " if level is None else _SHADES[level] * 2 + " ", _COLOURS[level or 0])
        picture.append("\n")
    step = most / len(_SHADES)
    legend = ", ".join(f"'{shade}' up to {step * (index + 1):.3f}" for index, shade in enumerate(_SHADES))
    picture.append(f"kWh in the hour, mean: {legend}", "dim")
    return picture


def plot_week(profile: WeekProfile, path: Path) -> None:
    """Draw the heat map into a PNG file. Raises UsageError."""
    figure = new_figure(height_in=4.0)
    axes = figure.add_subplot()
    image = axes.imshow(_means(profile), aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_yticks(range(len(WEEKDAYS)), [weekday[:3].title() for weekday in WEEKDAYS])
    axes.set_xticks(range(_HOURS), [str(hour) for hour in range(_HOURS)])
    axes.set_xlabel("hour of the local clock (start)")
    axes.set_title(
        f"Mean energy by weekday and hour, {profile.quality.first} to {profile.quality.until} (exclusive)"
    )
    figure.colorbar(image, ax=axes, label="kWh")
    save_png(figure, path)


def _means(profile: WeekProfile) -> Floats:
    hours = np.where(profile.hours > 0, profile.hours, 1)
    means: Floats = np.where(profile.hours > 0, profile.sum_nkwh / NANO / hours, np.nan)
    return means


def _level(mean: float, most: float) -> int | None:
    if np.isnan(mean):
        return None
    return min(int(mean / most * len(_SHADES)), len(_SHADES) - 1) if most else 0
