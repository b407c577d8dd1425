"""Command: compare."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from expert_bot.commands.bill import read_json, read_prices
from expert_bot.commands.common import (
    AsJson,
    CurveFile,
    Plot,
    Zone,
    console,
    print_json,
    read_curve,
    settled_law,
)
from expert_bot.energy import rules
from expert_bot.energy.analyses.tariffs.comparison import Comparison, OfferCost, compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply
from expert_bot.energy.analyses.tariffs.comparison_report import comparison_report
from expert_bot.energy.bill.contract import BonoCategory, BonoSocial, Household
from expert_bot.energy.bill.fields import read_power_kw
from expert_bot.energy.bill.offers import ParsedOffers, parse_offers
from expert_bot.energy.calendar import TariffZone, madrid
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError

_BAR_WIDTH: Final = 24
_MAX_ROWS: Final = 60

Offers = Annotated[Path, typer.Option("--offers", metavar="OFFERS.json", help="The offers to compare.")]
Power = Annotated[
    str, typer.Option("--power", metavar="P1,P2", help="Contracted power in kW, such as 4.6,4.6.")
]
Current = Annotated[
    str | None, typer.Option("--current", metavar="ID", help="The id of your tariff among them.")
]
Prices = Annotated[
    Path | None, typer.Option("--prices", metavar="PVPC", help="A file of hourly PVPC prices.")
]
From = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; full months are compared.")
]
To = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="First day after them.")]
Category = Annotated[
    BonoCategory | None, typer.Option("--bono-social", help="Your bono social, for the PVPC.")
]
Kind = Annotated[Household, typer.Option("--household", help="The household of the bono social.")]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("compare")(compare_offers)


def compare_offers(  # noqa: PLR0917 # typer reads options from parameters
    file: CurveFile,
    offers: Offers,
    power: Power,
    current: Current = None,
    prices: Prices = None,
    zone: Zone = TariffZone.PENINSULA,
    first: From = None,
    until: To = None,
    bono_social: Category = None,
    household: Kind = Household.NO_MINORS,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Compare offers and the PVPC on your own consumption: full bills of the last 12 months, cheapest first."""
    power_kw = read_power(power)
    parsed = parse_offers(read_json(offers))
    curve = read_curve(file, zone=zone, quiet=as_json)
    try:
        comparison = compare(
            curve,
            parsed.offers,
            Supply(
                zone=zone,
                power_kw=power_kw,
                bono_social=BonoSocial(category=bono_social, household=household) if bono_social else None,
            ),
            rules=rules.load(),
            current_id=current,
            prices=None if prices is None else read_prices(prices, zone=zone),
            first=first.date() if first else None,
            until=until.date() if until else None,
            contracted_on=datetime.now(madrid()).date(),
            confirmed=settled_law(),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if plot is not None:
        from expert_bot.charts.comparison import plot_comparison  # noqa: PLC0415 # matplotlib is slow to import

        plot_comparison(comparison, plot)
    if as_json:
        print_json(comparison_report(comparison, parsed.rejected).as_json())
    else:
        show(comparison, parsed)


def read_power(text: str) -> dict[PowerPeriod, Decimal]:
    """Read the contracted power `P1,P2` in kW; one number means both. Raises UsageError."""
    try:
        numbers = [read_power_kw(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--power: {error}; write P1,P2 in kW, such as 4.6,4.6") from error
    if len(numbers) > len(PowerPeriod):
        raise UsageError(f"--power has {len(numbers)} numbers; write P1,P2 in kW, such as 4.6,4.6")
    return dict(zip(PowerPeriod, (numbers[0], numbers[-1]), strict=True))


def show(comparison: Comparison, parsed: ParsedOffers) -> None:
    """Show the ranking with bars, and beside it promotions and what could not be compared."""
    title = (
        f"{comparison.months} months, {comparison.first} to {comparison.until} (not included), EUR with taxes"
    )
    table = Table(title=title, title_justify="left")
    for column in ("", "offer", "EUR", "", "saving", "range"):
        table.add_column(column, justify="right" if column in ("", "EUR", "saving") else "left")
    most = max((cost.ranked_by_eur for cost in comparison.costs), default=Decimal(1))
    for rank, cost in enumerate(comparison.costs[:_MAX_ROWS], start=1):
        table.add_row(str(rank), *_cells(cost, comparison, most))
    console.print(table)
    if len(comparison.costs) > _MAX_ROWS:
        console.print(f"and {len(comparison.costs) - _MAX_ROWS} more: --json shows all")
    for cost in comparison.costs:
        if cost.offer.promotion is not None:
            promotion = cost.offer.promotion
            console.print(
                f"[cyan]promotion[/] {escape(cost.offer.name)}: {escape(promotion.label)}, {promotion.eur:f} EUR off "
                "in the first year (not in the ranking)"
            )
    for each in comparison.unavailable:
        console.print(f"[yellow]not compared[/] {escape(each.offer.name)}: {escape(each.reason)}")
    for bad in parsed.rejected:
        console.print(f"[red]rejected[/] offer {bad.index} {escape(bad.id)}: {escape(bad.reason)}")
    quality = comparison.quality
    console.print(
        f"[dim]{quality.coverage_pct} % of the hours have a reading, {quality.estimated_pct} % of them estimated; "
        f"ranges: consumption {comparison.variation * 100:.1f} % more or less.[/]"
    )


def _cells(cost: OfferCost, comparison: Comparison, most: Decimal) -> tuple[str, str, str, str, str]:
    is_current = comparison.current is not None and cost.offer.id == comparison.current.offer.id
    name = f"[bold]{escape(cost.offer.name)} (current)[/]" if is_current else escape(cost.offer.name)
    totals = cost.readings.values() if cost.total_eur is None else (cost.total_eur,)
    eur = " or ".join(f"{each:f}" for each in totals)
    bar = "█" * max(1, round(_BAR_WIDTH * cost.ranked_by_eur / most)) if most > 0 else ""
    if cost.saving_eur is None or is_current:
        return name, eur, bar, "", ""
    return name, eur, bar, f"{cost.saving_eur:f}", f"{cost.saving_low_eur:f} to {cost.saving_high_eur:f}"
