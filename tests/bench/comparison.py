"""How long a year of hourly data through many offers takes: `python -m tests.bench.comparison [--offers 50]`.

One core, medians of many runs in milliseconds: `_ms` on the clock, `_cpu_ms` of processor time, which neighbours on a busy
machine disturb less. Also against a bare loop that only multiplies kWh and prices hour by hour
for one offer, so that machines can be compared. The figures go to .cache/bench/comparison.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np

from expert_bot.energy import rules
from expert_bot.energy.analyses.tariffs.comparison import compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply
from expert_bot.energy.bill.contract import FixedTariff
from expert_bot.energy.bill.offers import Offer
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.energy.simulation import simulate_household

RESULTS = Path(".cache/bench/comparison.json")
SUPPLY = Supply(
    zone=TariffZone.PENINSULA, power_kw={PowerPeriod.P1: Decimal("4.6"), PowerPeriod.P2: Decimal("4.6")}
)


def random_offers(count: int, random: Random) -> tuple[Offer, ...]:
    """Return offers with one price or three."""
    return tuple(_offer(number, random) for number in range(count))


def _offer(number: int, random: Random) -> Offer:
    def price(low: int, high: int) -> Decimal:
        return Decimal(random.randint(low, high)).scaleb(-6)

    three = {period: price(70_000, 220_000) for period in Period}
    return Offer(
        id=f"offer-{number}",
        name=f"Offer {number}",
        tariff=FixedTariff(
            power_eur_per_kw_day={
                PowerPeriod.P1: price(60_000, 130_000),
                PowerPeriod.P2: price(3_000, 60_000),
            },
            energy=three if number % 2 else price(90_000, 180_000),
        ),
    )


def year_of_data() -> tuple[Curve, HourlyPrices]:
    """Return a simulated year of hours and a price for each."""
    curve = Curve.from_readings(simulate_household(until=date(2023, 12, 31), months=12))
    noise = np.random.default_rng(1).integers(40_000_000, 250_000_000, len(curve))
    return curve, HourlyPrices(
        zone=TariffZone.PENINSULA, start_hours=curve.start_hours, price_neur=noise.astype(np.int64)
    )


def median_ms(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the medians of a run's time on the clock and on the processor, ms."""
    clock, processor = [], []
    for _ in range(repeats):
        started, began = time.perf_counter(), time.process_time()
        run()
        clock.append((time.perf_counter() - started) * 1000)
        processor.append((time.process_time() - began) * 1000)
    return statistics.median(clock), statistics.median(processor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offers", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=60)
    arguments = parser.parse_args()
    curve, prices = year_of_data()
    offers = random_offers(arguments.offers, Random(1))
    loaded = rules.load()
    price_eur_per_kwh = Decimal("0.1099")
    energy_kwh = [Decimal(int(each)).scaleb(-9) for each in curve.energy_nkwh]

    def with_pvpc() -> object:
        return compare(curve, offers, SUPPLY, rules=loaded, prices=prices, current_id="offer-0")

    def without_pvpc() -> object:
        return compare(curve, offers, SUPPLY, rules=loaded, current_id="offer-0")

    def bare_loop() -> object:
        return sum(each * price_eur_per_kwh for each in energy_kwh)

    figures: dict[str, float | int] = {"offers": arguments.offers, "hours": len(curve)}
    for name, run in {
        "fixed": without_pvpc,
        "with_pvpc": with_pvpc,
        "bare_loop_one_offer": bare_loop,
    }.items():
        run()
        clock, processor = median_ms(run, arguments.repeats)
        figures[f"{name}_ms"], figures[f"{name}_cpu_ms"] = round(clock, 2), round(processor, 2)
    figures["ratio_to_bare_loop"] = round(
        figures["with_pvpc_cpu_ms"] / figures["bare_loop_one_offer_cpu_ms"], 2
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))  # noqa: T201 # a script's output


if __name__ == "__main__":
    main()
