"""Pictures of a forecast: the next day with its interval on a terminal and as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from expert_bot.charts.png import new_figure
from expert_bot.energy.analyses.forecasting.forecast import Forecast, HourForecast
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import Period

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERIOD_COLOURS: Final = {Period.P1: "red", Period.P2: "yellow", Period.P3: "green"}
_WIDTH: Final = 48
_DAYS_BEFORE: Final = 7
_HOURS_A_DAY: Final = 24


def day_table(hours: Sequence[HourForecast]) -> Table:
    """Return the hours of a day as lines: value, interval, and both as a band."""
    table = Table("hour", "", "kWh", "80 %", "", box=None, header_style="dim", padding=(0, 1))
    most = max((hour.high_kwh for hour in hours), default=Decimal(0))
    for hour in hours:
        table.add_row(
            f"{hour.local_hour:02d}",
            Text(hour.period.value, style=PERIOD_COLOURS[hour.period]),
            f"{hour.energy_kwh:.2f}",
            f"{hour.low_kwh:.2f}-{hour.high_kwh:.2f}",
            _band(hour, most),
        )
    return table


def _band(hour: HourForecast, most: Decimal) -> Text:
    low, point, high = (
        0 if most == 0 else int(value * (_WIDTH - 1) / most)
        for value in (hour.low_kwh, hour.energy_kwh, hour.high_kwh)
    )
    band = Text(" " * low)
    band.append("░" * (point - low), style="dim")
    band.append("█", style=PERIOD_COLOURS[hour.period])
    band.append("░" * (high - point), style="dim")
    return band


def draw_forecast(result: Forecast, curve: Curve) -> Figure:
    """Draw the last week's readings, and the next day's hours with their interval. Raises UsageError."""
    figure = new_figure()
    axes = figure.subplots()
    before = curve.between(None, result.day)
    recent = before.energy_kwh[-_DAYS_BEFORE * _HOURS_A_DAY :]
    ahead = range(len(result.hours))
    axes.plot(range(-len(recent), 0), recent, color="0.6", linewidth=0.8, label="readings")
    low, point, high = (
        [float(value) for value in column]
        for column in zip(*((h.low_kwh, h.energy_kwh, h.high_kwh) for h in result.hours), strict=True)
    )
    axes.fill_between(ahead, low, high, step="mid", alpha=0.3, color="tab:blue", label="80 % interval")
    axes.step(ahead, point, where="mid", color="tab:blue", label="forecast")
    axes.axvline(-0.5, color="0.4", linewidth=0.6)
    axes.set_xticks(range(-len(recent), len(ahead) + 1, _HOURS_A_DAY))
    axes.set_xlabel(f"hours from {result.day} 00:00")
    axes.set_ylabel("kWh")
    axes.set_title(
        f"{result.day}: {result.total.energy_kwh:.1f} kWh "
        f"({result.total.low_kwh:.1f}-{result.total.high_kwh:.1f})"
    )
    axes.legend(loc="upper left")
    return figure
