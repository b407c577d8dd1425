"""How the advice commands show their results to people."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from rich.markup import escape
from rich.table import Table

from expert_bot.commands.common import console
from expert_bot.energy.analyses.advice.recommendations import Recommendations
from expert_bot.energy.analyses.bill_checking.bill_checked import BillCheck, LineStatus
from expert_bot.energy.analyses.contracted_power.power import WARNINGS, PowerAdvice
from expert_bot.energy.analyses.sun.solar import SolarSize, SolarStudy
from expert_bot.energy.analyses.sun.solar_yield import load_yields, year_yield_kwh_per_kwp
from expert_bot.energy.analyses.use.benchmark import Benchmark
from expert_bot.energy.analyses.use.shift import ShiftPotential
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod

_BAR_WIDTH: Final = 12
_COLOURS: Final = {
    LineStatus.MATCHES: "green",
    LineStatus.DIFFERS: "red",
    LineStatus.WRONG_RATE: "red",
    LineStatus.DIFFERENT_BASE: "yellow",
    LineStatus.PENDING: "cyan",
}


def show_power(advice: PowerAdvice) -> None:
    """Show power by period, the saving, and what to mind."""
    table = _table("Contracted power, kW", "", "contracted", "peak", "needed", "advised")
    for period in PowerPeriod:
        table.add_row(
            period.value,
            f"{advice.contracted_kw[period]:f}",
            _range(advice.peaks.low_kw[period], advice.peaks.high_kw[period]),
            _range(advice.needed_kw_low[period], advice.needed_kw_high[period]),
            f"[bold]{advice.advised_kw[period]:f}[/]",
        )
    console.print(table)
    if advice.lowers:
        console.print(
            f"Saves [bold]{_range(advice.saving_eur_low, advice.saving_eur_high)} EUR a year[/], taxes in;"
            f" the change costs {_range(advice.fee_eur_low, advice.fee_eur_high)} EUR once."
        )
    else:
        console.print("Nothing to be gained: keep the contracted power.")
    for code in advice.warnings:
        console.print(f"[yellow]{code}[/]: {WARNINGS[code]}")


def show_solar(study: SolarStudy) -> None:
    """Show every size with its bar, and the best one."""
    table_of_yields = load_yields()
    table = _table(
        f"Panels in {study.roof.province.name}: {year_yield_kwh_per_kwp(study.roof)} kWh/kWp a year"
        f" (+-{100 * table_of_yields.uncertainty:.0f} %)",
        *("kWp", "kWh", "used at once", "surplus", "EUR a year", "cost EUR", "payback years", "saving"),
    )
    most = max((size.saving_eur for size in study.sizes), default=Decimal(1)) or Decimal(1)
    for size in study.sizes:
        table.add_row(*_solar_row(size, most), style="bold green" if size is study.best else None)
    console.print(table)
    if study.best is None:
        console.print("No size pays for itself within 15 years in a usual year.")
    console.print(f"[dim]{escape(study.prices_source)}; surplus at {study.surplus_eur_per_kwh} EUR/kWh[/]")


def show_shift(shift: ShiftPotential) -> None:
    """Show what can move and what it saves."""
    console.print(
        f"P1 above base load ({shift.base_load_kw} kW): {shift.above_base_kwh:.0f} kWh a year;"
        f" {shift.movable_kwh_low:.0f}-{shift.movable_kwh_high:.0f} kWh of it can wait."
    )
    console.print(
        f"At {shift.gap_eur_per_kwh:f} EUR/kWh between P1 and P3 that saves"
        f" [bold]{_range(shift.saving_eur_low, shift.saving_eur_high)} EUR a year[/], taxes in."
    )


def show_benchmark(benchmark: Benchmark) -> None:
    """Show the percentile and the shares by period."""
    console.print(
        f"{benchmark.year_kwh:.0f} kWh a year: more than {_range(benchmark.percentile_low, benchmark.percentile_high)}"
        f" of 100 homes (confidence {benchmark.homes.confidence}); {benchmark.ratio_to_profile} of CNMC's typical home"
    )
    table = _table("Share of the year, %", "", "this home", "typical home", "")
    for period in Period:
        share = benchmark.share_pct[period]
        table.add_row(
            period.value, f"{share:f}", f"{benchmark.profile_share_pct[period]:f}", _bar(share, Decimal(100))
        )
    console.print(table)


def show_bill_check(check: BillCheck) -> None:
    """Show each line with what came out, then the causes."""
    table = _table("Bill check", "line", "printed", "expected", "difference", "result")
    for line in check.lines:
        colour = _COLOURS[line.status]
        causes = "; ".join(cause.text for cause in line.causes)
        result = line.status.value.replace("_", " ") + (f": {causes}" if causes else "")
        table.add_row(
            escape(line.label),
            _maybe(line.printed_eur),
            _maybe(line.expected_eur),
            _maybe(line.difference_eur),
            f"[{colour}]{escape(result)}[/]",
        )
    console.print(table)
    for cause in check.causes:
        console.print(f"- {cause.text}{f' ({cause.norm})' if cause.norm else ''}", markup=False)


def show_recommendations(advice: Recommendations) -> None:
    """Show what to do, the most saving first, and the total without what overlaps."""
    table = _table("Recommendations, EUR a year", "", "what", "saves", "once", "next step")
    for rank, item in enumerate(advice.items, start=1):
        once = (
            ""
            if item.cost_eur_low is None
            else _range(item.cost_eur_low, item.cost_eur_high or item.cost_eur_low)
        )
        note = "" if item.is_counted else f" [dim](overlaps with {', '.join(item.overlaps_with)})[/]"
        saves = _range(item.saving_eur_low, item.saving_eur_high)
        table.add_row(
            str(rank), item.kind.value.replace("_", " "), saves, once, escape(item.next_step) + note
        )
    console.print(table)
    console.print(
        f"Together [bold]{_range(advice.total_eur_low, advice.total_eur_high)} EUR a year[/];"
        f" overlapping savings are not added up, and nothing below {advice.threshold_eur} EUR a year is listed."
    )
    for kind, reason in advice.skipped.items():
        console.print(f"[dim]not looked at: {kind.replace('_', ' ')} - {escape(reason)}[/]")


def _solar_row(size: SolarSize, most: Decimal) -> tuple[str, ...]:
    return (
        f"{size.size_kwp:f}",
        f"{size.flows.production_kwh:f}",
        f"{size.self_use_pct} %",
        f"{size.flows.surplus_kwh:f}",
        f"{size.saving_eur_low:.0f}-{size.saving_eur_high:.0f}",
        f"{size.cost_eur_low:.0f}-{size.cost_eur_high:.0f}",
        f"{size.payback_years_low or '-'}-{size.payback_years_high or '-'}",
        _bar(size.saving_eur, most),
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    for column in columns:
        is_text = column in {"", "line", "result", "what", "next step", "saving"}
        table.add_column(
            column, justify="left" if is_text else "right", overflow="fold", no_wrap=column == "saving"
        )
    return table


def _range(low: Decimal, high: Decimal) -> str:
    return f"{low:f}" if low == high else f"{low:f}-{high:f}"


def _maybe(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:f}"


def _bar(value: Decimal, most: Decimal) -> str:
    return "█" * round(_BAR_WIDTH * max(value, Decimal(0)) / most)
