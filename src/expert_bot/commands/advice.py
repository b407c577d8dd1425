"""Commands that advise: power, solar, shift, benchmark, check-bill (in its own module), recommend."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from expert_bot.charts.png import save_png
from expert_bot.charts.power import draw_power
from expert_bot.charts.solar import draw_solar
from expert_bot.commands import advice_tables, check_bill
from expert_bot.commands.bill import read_json, read_prices
from expert_bot.commands.common import (
    AsJson,
    CurveFile,
    Plot,
    Zone,
    print_json,
    progress_console,
    read_curve,
    read_file,
)
from expert_bot.commands.contract_options import (
    ContractOptions,
    EnergyPrice,
    Power,
    PricesFile,
    RulesDay,
    TariffFile,
    parse_decimal,
)
from expert_bot.energy import rules
from expert_bot.energy.analyses.advice.home_study import (
    DEFAULT_SURPLUS_EUR_PER_KWH,
    study_home,
    study_power,
    study_shift,
    with_current_offer,
)
from expert_bot.energy.analyses.advice.recommendations import recommend
from expert_bot.energy.analyses.advice.recommendations_report import recommendations_report
from expert_bot.energy.analyses.contracted_power.power_report import power_report
from expert_bot.energy.analyses.sun.solar import AT_LEAST_HOURS as HOURS_OF_SUN
from expert_bot.energy.analyses.sun.solar import DEFAULT_SIZES_KWP, study_solar
from expert_bot.energy.analyses.sun.solar_report import solar_report
from expert_bot.energy.analyses.sun.solar_yield import Roof
from expert_bot.energy.analyses.use.base_load import base_load
from expert_bot.energy.analyses.use.benchmark import AT_LEAST_HOURS as HOURS_TO_COMPARE
from expert_bot.energy.analyses.use.benchmark import benchmark_report, compare_with_homes
from expert_bot.energy.analyses.use.shift import shift_report
from expert_bot.energy.analyses.year import last_year
from expert_bot.energy.bill.offers import Offer, parse_offers
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats import Maximum
from expert_bot.energy.quality import quality_of
from expert_bot.errors import UsageError

Maximeter = Annotated[
    Path | None,
    typer.Option("--maximeter", metavar="FILE", help="Monthly maximum powers, as Datadis gives them (JSON)."),
]
OffersFile = Annotated[
    Path | None,
    typer.Option("--offers", metavar="FILE.json", help="Offers to compare with, as for `compare`."),
]
ComparedPrices = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE", help="Hourly PVPC prices: the home's own, or to compare its tariff with."
    ),
]
Current = Annotated[
    str | None,
    typer.Option("--current", metavar="ID", help="The offer the home has now, instead of a tariff."),
]
Province = Annotated[str, typer.Option("--province", help="Province, or its capital, where the roof is.")]
MaybeProvince = Annotated[
    str | None,
    typer.Option("--province", help="Province of the roof; without it nothing is said about panels."),
]
SurplusPrice = Annotated[
    str, typer.Option("--surplus-price", metavar="EUR", help="EUR/kWh paid for surplus, before taxes.")
]
Tilt = Annotated[float, typer.Option("--tilt", help="Panels' tilt in degrees: 0 flat, 90 a wall.")]
Azimuth = Annotated[float, typer.Option("--azimuth", help="0 south, 90 west, -90 east.")]
Sizes = Annotated[
    str | None,
    typer.Option("--kwp", metavar="KWP,..", help="Sizes to try; 1 to 10 in steps of 0.5 unless given."),
]

_MOST_EUR: Final = Decimal(10)
_MOST_KWP: Final = Decimal(100)
_MOST_SIZES: Final = 50


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("power")(advise_on_power)
    app.command("solar")(advise_on_solar)
    app.command("shift")(advise_on_shift)
    app.command("benchmark")(compare_home)
    check_bill.add_to(app)
    app.command("recommend")(recommend_to_home)


def advise_on_power(
    file: CurveFile,
    power: Power,
    maximeter: Maximeter = None,
    tariff: TariffFile = None,
    on: RulesDay = None,
    zone: Zone = TariffZone.PENINSULA,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Advise on the contracted power: what is needed, and what a lower one saves net of the change."""
    options = ContractOptions(power=power, zone=zone, tariff=tariff, on=on)
    home = options.home(
        read_file(file, zone=zone, quiet=as_json), maxima=_maxima(maximeter, zone, quiet=as_json)
    )
    advice = study_power(home, options.terms(home.curve), rules.load())
    if plot is not None:
        save_png(draw_power(advice), plot)
    if as_json:
        print_json(power_report(advice).as_json())
    else:
        advice_tables.show_power(advice)


def advise_on_solar(  # noqa: PLR0917 # typer's options have defaults, and are given by name
    file: CurveFile,
    province: Province,
    power: Power = "4.6",
    surplus_price: SurplusPrice = str(DEFAULT_SURPLUS_EUR_PER_KWH),
    tilt: Tilt = 30.0,
    azimuth: Azimuth = 0.0,
    kwp: Sizes = None,
    tariff: TariffFile = None,
    price: EnergyPrice = None,
    prices: PricesFile = None,
    on: RulesDay = None,
    zone: Zone = TariffZone.PENINSULA,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Simulate panels by the hour: what each size makes, saves and costs, and when it has paid for itself."""
    roof, surplus_eur = (
        _roof(province, tilt, azimuth),
        parse_decimal("--surplus-price", surplus_price, most=_MOST_EUR),
    )
    options = ContractOptions(power=power, zone=zone, tariff=tariff, price=price, prices=prices, on=on)
    curve = read_curve(file, zone=zone, quiet=as_json)
    terms = options.terms(curve)
    study = study_solar(
        last_year(curve, at_least_hours=HOURS_OF_SUN),
        roof,
        prices=terms.require_energy(),
        taxes=terms.taxes,
        surplus_eur_per_kwh=surplus_eur,
        sizes_kwp=_sizes(kwp),
    )
    if plot is not None:
        save_png(draw_solar(study), plot)
    if as_json:
        print_json(solar_report(study).as_json())
    else:
        advice_tables.show_solar(study)


def advise_on_shift(
    file: CurveFile,
    power: Power = "4.6",
    tariff: TariffFile = None,
    price: EnergyPrice = None,
    prices: PricesFile = None,
    on: RulesDay = None,
    zone: Zone = TariffZone.PENINSULA,
    as_json: AsJson = False,
) -> None:
    """Say what moving use from punta to valle would save a year."""
    options = ContractOptions(power=power, zone=zone, tariff=tariff, price=price, prices=prices, on=on)
    home = options.home(read_file(file, zone=zone, quiet=as_json))
    shift = study_shift(home, options.terms(home.curve), base_load(home.curve))
    if as_json:
        print_json(shift_report(shift).as_json())
    else:
        advice_tables.show_shift(shift)


def compare_home(file: CurveFile, zone: Zone = TariffZone.PENINSULA, as_json: AsJson = False) -> None:
    """Say where the last year's consumption stands among homes."""
    curve = read_curve(file, zone=zone, quiet=as_json)
    benchmark = compare_with_homes(last_year(curve, at_least_hours=HOURS_TO_COMPARE))
    if as_json:
        print_json(benchmark_report(benchmark).as_json())
    else:
        advice_tables.show_benchmark(benchmark)


def recommend_to_home(  # noqa: PLR0917 # typer's options have defaults, and are given by name
    file: CurveFile,
    power: Power,
    offers: OffersFile = None,
    current: Current = None,
    province: MaybeProvince = None,
    maximeter: Maximeter = None,
    surplus_price: SurplusPrice = str(DEFAULT_SURPLUS_EUR_PER_KWH),
    tariff: TariffFile = None,
    price: EnergyPrice = None,
    prices: ComparedPrices = None,
    on: RulesDay = None,
    zone: Zone = TariffZone.PENINSULA,
    as_json: AsJson = False,
) -> None:
    """Rank what the home could do by what it saves a year, each with its range and the next step."""
    has_tariff = any(each is not None for each in (tariff, price, current))
    options = ContractOptions(
        power=power, zone=zone, tariff=tariff, price=price, prices=None if has_tariff else prices, on=on
    )
    home = replace(
        options.home(
            read_file(file, zone=zone, quiet=as_json), maxima=_maxima(maximeter, zone, quiet=as_json)
        ),
        offers=_offers(offers),
        prices=None if prices is None else read_prices(prices, zone=zone),
        roof=None if province is None else _roof(province, 30.0, 0.0),
        surplus_eur_per_kwh=parse_decimal("--surplus-price", surplus_price, most=_MOST_EUR),
    )
    if current is not None:
        options.refuse_prices_beside("--current")
        home = with_current_offer(home, current)
    advice = recommend(study_home(home, rules=rules.load()))
    if as_json:
        quality = quality_of(home.curve).as_data_quality() if len(home.curve) else None
        print_json(recommendations_report(advice, quality=quality).as_json())
    else:
        advice_tables.show_recommendations(advice)


def _maxima(path: Path | None, zone: TariffZone, *, quiet: bool) -> tuple[Maximum, ...]:
    if path is None:
        return ()
    maxima = read_file(path, zone=zone, quiet=quiet).maxima
    if not maxima:
        raise UsageError(f"{path}: there are no monthly maxima in it")
    return maxima


def _roof(province: str, tilt_deg: float, azimuth_deg: float) -> Roof:
    try:
        return Roof.in_province(province, tilt_deg=tilt_deg, azimuth_deg=azimuth_deg)
    except ValueError as error:
        raise UsageError(f"--tilt or --azimuth: {error}") from error


def _sizes(text: str | None) -> tuple[Decimal, ...]:
    if text is None:
        return DEFAULT_SIZES_KWP
    sizes = tuple(parse_decimal("--kwp", part.strip(), most=_MOST_KWP) for part in text.split(","))
    if len(sizes) > _MOST_SIZES or not all(sizes):
        raise UsageError(f"--kwp: 1 to {_MOST_SIZES} sizes above 0, such as 2,3.5,5")
    return sizes


def _offers(path: Path | None) -> tuple[Offer, ...]:
    if path is None:
        return ()
    parsed = parse_offers(read_json(path))
    for rejected in parsed.rejected:
        progress_console.print(f"offer {rejected.index} {rejected.id}: {rejected.reason}", markup=False)
    return parsed.offers
