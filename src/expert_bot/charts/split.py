"""Pictures of a split: months as bars of P1, P2, P3, on the terminal and as PNG."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from expert_bot.charts.png import new_figure, save_png
from expert_bot.energy.readings import Period
from expert_bot.energy.split import ConsumptionSplit, MonthSplit

COLOURS: Final = {Period.P1: "#c0392b", Period.P2: "#e0a030", Period.P3: "#2e8b57"}
"""Of the periods, in every chart."""
_BAR_CHARS: Final = 28
_BLOCKS: Final = {Period.P1: "█", Period.P2: "▓", Period.P3: "░"}  # apart without colours too


def months_table(split: ConsumptionSplit) -> Table:
    """Return one line per month: kWh by period, the cost where there are prices, and a bar."""
    most = max((_total(month) for month in split.months), default=Decimal(0))
    table = Table(box=None, header_style="dim")
    table.add_column("month")
    for name in ("hours", "P1 kWh", "P2 kWh", "P3 kWh"):
        table.add_column(name, justify="right")
    if split.cost is not None:
        table.add_column("PVPC EUR", justify="right")
    table.add_column("P1 █  P2 ▓  P3 ░")
    for month in split.months:
        cells = [str(month.month), str(month.hours), *(f"{month.kwh[period]:.3f}" for period in Period)]
        if month.cost is not None:
            cells.append("-" if month.cost.missing_hours else f"{month.cost.eur:.2f}")
        table.add_row(*cells, _bar(month, most))
    return table


def plot_split(split: ConsumptionSplit, path: Path) -> None:
    """Draw the months as stacked bars into a PNG file. Raises UsageError."""
    figure = new_figure()
    axes = figure.add_subplot()
    months = [str(month.month) for month in split.months]
    below = [0.0] * len(months)
    for period in reversed(Period):
        heights = [float(month.kwh[period]) for month in split.months]
        axes.bar(months, heights, bottom=below, color=COLOURS[period], label=period.value)
        below = [base + height for base, height in zip(below, heights, strict=True)]
    axes.set_ylabel("kWh")
    axes.set_title(f"Consumption by period of the 2.0TD, {split.first} to {split.until} (exclusive)")
    axes.tick_params(axis="x", rotation=90 if len(months) > 14 else 45)  # noqa: PLR2004 # labels would touch
    figure.legend(loc="outside right upper")
    save_png(figure, path)


def _total(month: MonthSplit) -> Decimal:
    return sum(month.kwh.values(), Decimal(0))


def _bar(month: MonthSplit, most: Decimal) -> Text:
    bar = Text()
    for period in Period:
        length = int(month.kwh[period] * _BAR_CHARS / most + Decimal("0.5")) if most else 0
        bar.append(_BLOCKS[period] * length, style=COLOURS[period])
    return bar
