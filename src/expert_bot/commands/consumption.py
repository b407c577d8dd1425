"""`expert-bot consumption`: what a file of consumption holds: periods, the typical week, how good the data are."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from expert_bot.charts.split import months_table, plot_split
from expert_bot.charts.week import plot_week, week_heat_map
from expert_bot.commands.common import AsJson, CurveFile, Plot, Zone, console, print_json, read_file
from expert_bot.commands.prices import read_price_file
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.cups import mask_cups
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import ParsedCurve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.quality import CurveQuality, HourRange, count_duplicates, quality_of
from expert_bot.energy.report import Json
from expert_bot.energy.split import ConsumptionSplit, split_consumption, split_report
from expert_bot.energy.week import week_profile, week_report
from expert_bot.errors import UsageError

MAX_SHOWN = 20

FirstDay = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First local day.")]
EndDay = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="First local day after the last one.")
]
Prices = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Hourly PVPC prices: CSV or ESIOS JSON.")
]


def add_to(app: typer.Typer) -> None:
    """Add `consumption split`, `consumption week` and `consumption quality`."""
    group = typer.Typer(help="What a file of consumption holds.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("split")(split)
    group.command("week")(week)
    group.command("quality")(quality)
    app.add_typer(group, name="consumption")


def split(
    file: CurveFile,
    first: FirstDay = None,
    until: EndDay = None,
    zone: Zone = TariffZone.PENINSULA,
    prices: Prices = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Split consumption into the periods of the 2.0TD, per month; with prices also what its energy costs by the hour."""
    parsed, curve = _read(file, zone, quiet=as_json)
    hourly: HourlyPrices | None = None
    if prices is not None:
        hourly = read_price_file(prices, zone=zone, quiet=as_json).prices
        if not len(hourly):
            raise UsageError(f"{prices}: none of its prices can be used")
    try:
        result = split_consumption(
            curve, _day(first), _day(until), prices=hourly, duplicates=_duplicates(parsed)
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if plot is not None:
        plot_split(result, plot)
    if as_json:
        print_json(split_report(result).as_json())
    else:
        _show_split(result, parsed)


def week(
    file: CurveFile,
    first: FirstDay = None,
    until: EndDay = None,
    zone: Zone = TariffZone.PENINSULA,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Show the typical week: mean energy by weekday and hour."""
    parsed, curve = _read(file, zone, quiet=as_json)
    try:
        profile = week_profile(curve, _day(first), _day(until))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if plot is not None:
        plot_week(profile, plot)
    if as_json:
        print_json(week_report(profile).as_json())
        return
    console.print(week_heat_map(profile))
    _show_quality_line(profile.quality)
    _show_rejected(parsed)


def quality(
    file: CurveFile,
    first: FirstDay = None,
    until: EndDay = None,
    zone: Zone = TariffZone.PENINSULA,
    as_json: AsJson = False,
) -> None:
    """Show how complete a file is: layout, coverage, estimated hours, gaps, runs of zeros, rejected rows."""
    parsed, curve = _read(file, zone, quiet=as_json)
    try:
        judged = quality_of(curve, _day(first), _day(until), duplicates=_duplicates(parsed))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if as_json:
        print_json(_quality_json(judged, parsed))
        return
    console.print(f"layout {parsed.layout.value}, {parsed.rows_read} rows, {len(parsed.readings)} hours")
    if parsed.cups:
        console.print(f"CUPS {mask_cups(parsed.cups)}")
    for note in parsed.notes:
        console.print(f"[yellow]{escape(note)}[/]")
    _show_quality_line(judged)
    _show_ranges("hours missing", judged.gaps)
    _show_ranges("hours of 0 kWh", judged.zero_runs)
    _show_rejected(parsed)


def _read(file: Path, zone: TariffZone, *, quiet: bool) -> tuple[ParsedCurve, Curve]:
    """Read a file that must hold hours. Raises UsageError."""
    parsed = read_file(file, zone=zone, quiet=quiet)
    if not parsed.readings:
        first = f"; line {parsed.rejected[0].line}: {parsed.rejected[0].reason}" if parsed.rejected else ""
        raise UsageError(f"{file}: no hour in its {parsed.rows_read} rows can be used{first}")
    return parsed, Curve.from_readings(parsed.readings, zone=zone)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _duplicates(parsed: ParsedCurve) -> int:
    return count_duplicates([row.reason for row in parsed.rejected])


def _quality_json(judged: CurveQuality, parsed: ParsedCurve) -> dict[str, Json]:
    rejected: list[Json] = [{"line": row.line, "reason": row.reason} for row in parsed.rejected]
    return {
        "layout": parsed.layout.value,
        "cups": None if parsed.cups is None else mask_cups(parsed.cups),
        "notes": list(parsed.notes),
        "rows_read": parsed.rows_read,
        "from": judged.first.isoformat(),
        "to": judged.until.isoformat(),
        "hours": judged.hours,
        "hours_expected": judged.hours_expected,
        "hours_estimated": judged.estimated_hours,
        "is_enough": judged.is_enough,
        "gaps": [_range_json(gap) for gap in judged.gaps],
        "zero_runs": [_range_json(run) for run in judged.zero_runs],
        "duplicates": judged.duplicates,
        "rejected": rejected,
        "data_quality": judged.as_data_quality().model_dump(mode="json"),
    }


def _range_json(hours: HourRange) -> Json:
    return {
        "starts_at": f"{hours.starts_at:%Y-%m-%dT%H:%M:%SZ}",
        "ends_at": f"{hours.ends_at:%Y-%m-%dT%H:%M:%SZ}",
        "hours": hours.hours,
    }


def _show_split(result: ConsumptionSplit, parsed: ParsedCurve) -> None:
    console.print(months_table(result))
    total = Table(box=None, header_style="dim")
    for name in ("", "kWh"):
        total.add_column(name, justify="right")
    for period, energy in result.kwh.items():
        total.add_row(period.value, f"{energy:.3f}")
    total.add_row("all", f"{sum(result.kwh.values()):.3f}")
    console.print(total)
    if result.cost is not None:
        console.print(f"energy at PVPC prices: {result.cost.eur:.2f} EUR of {result.cost.priced_hours} hours")
        if result.cost.missing_hours:
            console.print(f"[yellow]{result.cost.missing_hours} hours have no price and are not in it[/]")
    _show_quality_line(result.quality)
    _show_rejected(parsed)


def _show_quality_line(judged: CurveQuality) -> None:
    console.print(
        f"{judged.first} .. {judged.until} (exclusive): {judged.hours} of {judged.hours_expected} hours "
        f"({judged.coverage_pct} %), {judged.estimated_pct} % of them estimated",
        soft_wrap=True,
    )
    if not judged.is_enough:
        console.print(
            "[yellow]fewer than 90 % of the hours have a reading: conclusions may be wrong[/]", soft_wrap=True
        )


def _show_ranges(title: str, ranges: tuple[HourRange, ...]) -> None:
    if not ranges:
        return
    console.print(f"{title}: {sum(each.hours for each in ranges)} in {len(ranges)} runs (UTC)")
    for each in ranges[:MAX_SHOWN]:
        console.print(f"  {each.starts_at:%Y-%m-%d %H:%M} .. {each.ends_at:%Y-%m-%d %H:%M}, {each.hours} h")
    if len(ranges) > MAX_SHOWN:
        console.print(f"  ... and {len(ranges) - MAX_SHOWN} more; --json lists all")


def _show_rejected(parsed: ParsedCurve) -> None:
    if parsed.rejected:
        console.print(f"{len(parsed.rejected)} of {parsed.rows_read} rows rejected:")
    for row in parsed.rejected[:MAX_SHOWN]:
        console.print(f"  line {row.line}: {escape(row.reason)}", soft_wrap=True)
    if len(parsed.rejected) > MAX_SHOWN:
        console.print(
            f"  ... and {len(parsed.rejected) - MAX_SHOWN} more; `consumption quality --json` lists all"
        )
