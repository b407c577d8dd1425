"""Command: anomalies."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from expert_bot.charts.anomalies import draw_anomalies
from expert_bot.charts.png import save_png
from expert_bot.commands.common import AsJson, CurveFile, Plot, Zone, console, print_json, read_curve
from expert_bot.commands.day_option import parse_day
from expert_bot.commands.price_option import Price, parse_price
from expert_bot.energy.analyses.anomaly_detection.anomalies import Anomalies, find_anomalies
from expert_bot.energy.analyses.anomaly_detection.anomalies_report import anomalies_report
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.quality import quality_of

FirstDay = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="First day an alert may be told on.")
]
EndDay = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="The day after the last (exclusive).")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("anomalies")(show_anomalies)


def show_anomalies(
    file: CurveFile,
    first_day: FirstDay = None,
    end_day: EndDay = None,
    price: Price = None,
    zone: Zone = TariffZone.PENINSULA,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Find unusual days and nights, lasting changes and bad data: at most one alert a week."""
    first, until = parse_day("--from", first_day), parse_day("--to", end_day)
    prices = parse_price(price)
    curve = read_curve(file, zone=zone, quiet=as_json)
    result = find_anomalies(curve, first=first, until=until, price_eur_per_kwh=prices)
    if plot is not None:
        save_png(draw_anomalies(result, curve), plot)
    if as_json:
        quality = quality_of(curve, result.first, result.until).as_data_quality()
        print_json(anomalies_report(result, quality=quality).as_json())
        return
    _print_anomalies(result)


def _print_anomalies(result: Anomalies) -> None:
    console.print(f"[bold]{result.first} .. {result.until}[/]: {len(result.alerts)} alerts")
    if not result.alerts:
        return
    table = Table("told on", "what", "why", "EUR", box=None, header_style="dim")
    for alert in result.alerts:
        eur = (
            ""
            if alert.excess_eur is None
            else f"{alert.excess_eur:+}{' in 30 days' if alert.is_lasting else ''}"
        )
        table.add_row(
            alert.told_on.isoformat(), alert.kind.value.replace("_", " "), escape(alert.reason), eur
        )
    console.print(table)
    if result.withheld:
        console.print(f"[dim]{result.withheld} weaker findings of the same weeks are not shown[/]")
