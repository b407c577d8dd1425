"""Command: forecast."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from expert_bot.charts.forecast import day_table, draw_forecast
from expert_bot.charts.png import save_png
from expert_bot.commands.common import AsJson, CurveFile, Plot, Zone, console, print_json, read_curve
from expert_bot.commands.day_option import parse_day
from expert_bot.commands.price_option import Price, parse_price
from expert_bot.energy.analyses.forecasting.backtest import Backtest, backtest
from expert_bot.energy.analyses.forecasting.forecast import Forecast, forecast
from expert_bot.energy.analyses.forecasting.forecast_ranges import TotalForecast
from expert_bot.energy.analyses.forecasting.forecast_report import forecast_report
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.quality import quality_of

BacktestDays = Annotated[
    int | None,
    typer.Option(
        "--backtest-days", metavar="DAYS", help="Also score the forecasts of the last DAYS days, 7..366."
    ),
]
FirstDay = Annotated[
    str | None,
    typer.Option("--from", metavar="DATE", help="First day to forecast; later readings are not used."),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("forecast")(show_forecast)


def show_forecast(
    file: CurveFile,
    backtest_days: BacktestDays = None,
    first_day: FirstDay = None,
    price: Price = None,
    zone: Zone = TariffZone.PENINSULA,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Forecast the next day by the hour, the month and the next 30 days, with 80 % intervals."""
    day, prices = parse_day("--from", first_day), parse_price(price)
    curve = read_curve(file, zone=zone, quiet=as_json)
    result = forecast(curve, day=day, price_eur_per_kwh=prices)
    tested = None if backtest_days is None else backtest(curve.between(None, day), backtest_days)
    if plot is not None:
        save_png(draw_forecast(result, curve), plot)
    if as_json:
        quality = quality_of(curve, result.history_first, result.day).as_data_quality()
        print_json(forecast_report(result, tested=tested, quality=quality).as_json())
        return
    _print_forecast(result)
    if tested is not None:
        _print_backtest(tested)


def _print_forecast(result: Forecast) -> None:
    console.print(f"[bold]{result.day}[/] by the hour, from readings since {result.history_first}")
    console.print(day_table(result.hours))
    table = Table("", "from", "before", "kWh", "80 %", "known", "EUR", box=None, header_style="dim")
    for name, total in (("day", result.total), ("month", result.month), ("30 days", result.next_30_days)):
        table.add_row(name, *_total_row(total))
    console.print(table)
    measured = result.measured
    if measured is not None:
        error = "" if measured.wape is None else f"absolute hourly errors {measured.wape:.0%} of the energy, "
        console.print(
            f"[dim]Its last {measured.days} days: {error}{measured.coverage_pct} % of hours in their interval[/]"
        )


def _total_row(total: TotalForecast) -> tuple[str, ...]:
    eur = "" if total.eur is None else f"{total.eur} ({total.low_eur}-{total.high_eur})"
    return (
        total.first.isoformat(),
        total.until.isoformat(),
        f"{total.energy_kwh:.1f}",
        f"{total.low_kwh:.1f}-{total.high_kwh:.1f}",
        f"{total.known_kwh:.1f}",
        eur,
    )


def _print_backtest(tested: Backtest) -> None:
    table = Table("method", "MASE(168)", "WAPE", "30-day total error", box=None, header_style="dim")
    for name, score in (("forecast", tested.forecast), *tested.baselines.items()):
        table.add_row(
            name,
            *("-" if value is None else f"{value:.3f}" for value in (score.mase_168, score.wape)),
            "-" if score.month_total_error_pct is None else f"{score.month_total_error_pct} %",
        )
    console.print(f"\n[bold]Backtest[/] {tested.first} .. {tested.until}: {tested.days} days")
    console.print(table)
    console.print(f"80 % intervals held {tested.interval_coverage_pct} % of the hours")
