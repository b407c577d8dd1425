"""Comparison as a picture: what each offer costs, and what changing to it saves with its range."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from expert_bot.charts.png import new_figure, save_png
from expert_bot.energy.analyses.tariffs.comparison import Comparison

MAX_BARS: Final = 25
_CURRENT: Final = "tab:orange"
_OTHER: Final = "tab:blue"


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the cheapest 25 offers, and the current tariff, into a PNG file. Raises UsageError."""
    current = comparison.current
    shown = list(comparison.costs[:MAX_BARS])
    if current is not None and current.offer.id not in {cost.offer.id for cost in shown}:
        shown.append(current)
    figure = new_figure(height_in=1.5 + 0.35 * max(len(shown), 3))
    axes = figure.add_subplot()
    names = [cost.offer.name[:40] for cost in shown]
    totals = [float(cost.ranked_by_eur) for cost in shown]
    is_current = [current is not None and cost.offer.id == current.offer.id for cost in shown]
    rows = list(range(len(shown)))
    axes.barh(rows, totals, color=[_CURRENT if each else _OTHER for each in is_current])
    for row, cost in zip(rows, shown, strict=True):
        label = f" {cost.ranked_by_eur:f} EUR"
        if cost.saving_low_eur is not None and cost.saving_high_eur is not None and not is_current[row]:
            label += f"  (saves {cost.saving_low_eur:f} to {cost.saving_high_eur:f})"
        axes.text(0, row, label, va="center", fontsize=8, color="white")
    axes.set_yticks(rows, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"EUR with taxes, {comparison.first} to {comparison.until} (not included)")
    axes.set_title("Offers on your own consumption, the cheapest first (orange: current)")
    save_png(figure, path)
