"""A picture of what was unusual: the energy of each day, and the alerts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from expert_bot.charts.png import new_figure
from expert_bot.energy.analyses.anomaly_detection.anomalies import Anomalies
from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.curve import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_anomalies(result: Anomalies, curve: Curve) -> Figure:
    """Draw each day's kWh, and shade the days of each alert with its kind. Raises UsageError."""
    figure = new_figure()
    axes = figure.subplots()
    grid = DayGrid.of(curve.between(None, result.until))
    days = [grid.day(row) for row in range(len(grid))]
    axes.plot(np.array(days, dtype="datetime64[D]"), grid.total_kwh, color="0.5", linewidth=0.8)
    kinds = sorted({alert.kind for alert in result.alerts})
    labelled: set[str] = set()
    for alert in result.alerts:
        axes.axvspan(
            np.datetime64(alert.first),  # type: ignore[arg-type]  # its stubs know floats alone; dates are converted
            np.datetime64(alert.until),  # type: ignore[arg-type]  # the same
            alpha=0.35,
            color=f"C{kinds.index(alert.kind)}",
            label="" if alert.kind in labelled else alert.kind.value.replace("_", " "),
        )
        labelled.add(alert.kind)
    axes.set_ylabel("kWh a day")
    axes.set_title(f"{result.first} .. {result.until}: {len(result.alerts)} alerts")
    if kinds:
        axes.legend(loc="upper left", fontsize="small")
    return figure
