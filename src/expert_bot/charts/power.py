"""Charts of contracted power: what is contracted, needed and advised, by power period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from expert_bot.charts.png import new_figure
from expert_bot.energy.analyses.contracted_power.power import PowerAdvice
from expert_bot.energy.rules import PowerPeriod

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR: Final = 0.2
_COLOURS: Final = {"contracted": "#8a8f98", "peak": "#f0a030", "needed": "#d05030", "advised": "#2a7ab0"}


def draw_power(advice: PowerAdvice) -> Figure:
    """Draw bars in kW for P1 and P2. Raises UsageError where matplotlib is not installed."""
    figure = new_figure(width_in=8.0, height_in=4.5)
    axes = figure.add_subplot()
    series = {
        "contracted": advice.contracted_kw,
        "peak": advice.peaks.high_kw,
        "needed": advice.needed_kw_high,
        "advised": advice.advised_kw,
    }
    for index, (name, powers) in enumerate(series.items()):
        places = [number + (index - 1.5) * _BAR for number in range(len(PowerPeriod))]
        bars = axes.bar(
            places,
            [float(powers[period]) for period in PowerPeriod],
            _BAR,
            label=name,
            color=_COLOURS[name],
        )
        axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set_xticks(range(len(PowerPeriod)), ["P1 punta", "P2 valle"])
    axes.set_ylabel("kW")
    axes.set_title(f"Contracted power ({advice.peaks.source})")
    figure.legend(loc="outside lower center", ncols=len(series))
    return figure
