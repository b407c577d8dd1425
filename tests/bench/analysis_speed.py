"""How long one analysis of a home's year takes: `python -m tests.bench.analysis_speed [FILE]`.

Median milliseconds of one core, each analysis alone with everything imported, of the last year of a consumption file (a
simulated home without one). A further analysis is a line in ANALYSES. The figures go to
.cache/bench/analysis_speed.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from expert_bot.energy import rules
from expert_bot.energy.analyses.advice.home_study import Home, study_power
from expert_bot.energy.analyses.anomaly_detection.anomalies import find_anomalies
from expert_bot.energy.analyses.contracted_power.power_report import power_report
from expert_bot.energy.analyses.forecasting.forecast import forecast
from expert_bot.energy.analyses.marginal import Terms, terms_of
from expert_bot.energy.analyses.sun import solar
from expert_bot.energy.analyses.sun.solar_report import solar_report
from expert_bot.energy.analyses.sun.solar_yield import Roof
from expert_bot.energy.analyses.use import benchmark, shift
from expert_bot.energy.analyses.use.base_load import base_load
from expert_bot.energy.analyses.use.consumption_report import consumption_report
from expert_bot.energy.analyses.year import last_year as year_of
from expert_bot.energy.bill.contract import Contract, FixedTariff
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.energy.simulation import simulate_household

RESULTS: Final = Path(".cache/bench/analysis_speed.json")
PRICES: Final = dict.fromkeys(Period, Decimal("0.15"))
DAY: Final = date(2026, 7, 1)
CONTRACT: Final = Contract(
    zone=TariffZone.PENINSULA,
    power_kw=dict.fromkeys(PowerPeriod, Decimal("6.9")),
    tariff=FixedTariff(power_eur_per_kw_day=dict.fromkeys(PowerPeriod, Decimal("0.1")), energy=PRICES),
)


def contract_terms(curve: Curve) -> Terms:
    """Return prices and taxes of the contract."""
    return terms_of(CONTRACT, on=DAY, rules=rules.load(), curve=curve)


def advise_on_power(curve: Curve) -> object:
    """Advise on the contracted power from the hours."""
    home = Home(curve=curve, contract=CONTRACT, on=DAY)
    return power_report(study_power(home, contract_terms(curve), rules.load()))


def find_shift(curve: Curve) -> object:
    """Find what shifting saves."""
    terms = contract_terms(curve)
    year = year_of(curve, at_least_hours=shift.AT_LEAST_HOURS)
    return shift.shift_report(
        shift.find_shift_potential(
            year, base_load_kw=Decimal("0.1"), prices=terms.require_energy(), taxes=terms.taxes
        )
    )


def compare_with_homes(curve: Curve) -> object:
    """Compare with other homes."""
    year = year_of(curve, at_least_hours=benchmark.AT_LEAST_HOURS)
    return benchmark.benchmark_report(benchmark.compare_with_homes(year))


def study_solar(curve: Curve) -> object:
    """Simulate 19 sizes of panels, each with three yields."""
    terms = contract_terms(curve)
    return solar_report(
        solar.study_solar(
            year_of(curve, at_least_hours=solar.AT_LEAST_HOURS),
            Roof.in_province("Madrid"),
            prices=terms.require_energy(),
            taxes=terms.taxes,
            surplus_eur_per_kwh=Decimal("0.06"),
        )
    )


ANALYSES: Final[list[tuple[str, Callable[[Curve], object]]]] = [
    ("forecast", lambda curve: forecast(curve, price_eur_per_kwh=PRICES)),
    ("anomalies", lambda curve: find_anomalies(curve, price_eur_per_kwh=PRICES)),
    ("base load", base_load),
    ("consumption", consumption_report),
    ("power", advise_on_power),
    ("shift", find_shift),
    ("benchmark", compare_with_homes),
    ("solar", study_solar),
]


def last_year(file: Path | None) -> Curve:
    """Return the last 365 days of a file, or of a simulated home."""
    if file is None:
        whole = Curve.from_readings(simulate_household(until=date(2026, 10, 31), months=14))
    else:
        with file.open("rb") as source:
            whole = Curve.from_readings(parse_curve(source).readings)
    assert whole.last_day is not None
    return whole.between(whole.last_day - timedelta(days=364))


def median_ms(analysis: Callable[[Curve], object], curve: Curve, rounds: int) -> float:
    """Return the median CPU milliseconds of a run, after one that warms caches."""
    analysis(curve)
    took_ms = []
    for _ in range(rounds):
        started = time.process_time_ns()
        analysis(curve)
        took_ms.append((time.process_time_ns() - started) / 1e6)
    return median(took_ms)


def main(
    file: Annotated[Path | None, typer.Argument()] = None,
    rounds: int = 50,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Time every analysis on one home's year."""
    curve = last_year(file)
    figures = {
        name: round(median_ms(analysis, curve, rounds), 2)
        for name, analysis in track(ANALYSES, description="analyses", disable=as_json, transient=True)
    }
    figures["all"] = round(sum(figures.values()), 2)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"median_ms": figures, "hours": len(curve)}, indent=2) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps({"median_ms": figures, "hours": len(curve)}, indent=2))
        return
    table = Table("analysis", "median ms", title=f"{len(curve)} hours, {rounds} rounds")
    for name, took_ms in figures.items():
        table.add_row(name, f"{took_ms:.2f}")
    Console().print(table)
    Console().print(f"stored in {RESULTS}")


if __name__ == "__main__":
    typer.run(main)
