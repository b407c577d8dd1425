"""Where a home's consumption stands among homes: a percentile with its range, never a label.

Consumption of homes is spread like a log-normal distribution. No quartiles are published for Spain: the width is that of
British homes, the place comes from two Spanish means, and the answer is a range between both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from typing import Final

from expert_bot.energy.analyses.year import YearOfReadings, text
from expert_bot.energy.readings import Period
from expert_bot.energy.report import Report

AT_LEAST_HOURS: Final = 7884
"""90 % of a year: winter and summer differ too much to guess one from the other."""

_UPPER_QUARTILE_Z: Final = 0.6744897501960817
_TENTH: Final = Decimal("0.1")
_CENTI: Final = Decimal("0.01")
_WH: Final = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """The distribution of other homes: a profile in kWh a year by period, two means, and the logarithm's deviation."""

    profile_kwh: Mapping[Period, Decimal]
    profile_source: str
    mean_kwh_low: Decimal
    mean_kwh_high: Decimal
    log_deviation: float
    source: str
    confidence: str

    def percentile(self, year_kwh: Decimal, *, mean_kwh: Decimal) -> Decimal:
        """Return how many of 100 homes use less, to a tenth, if homes use `mean_kwh` on average."""
        if year_kwh <= 0:
            return Decimal(0)
        median_log = math.log(mean_kwh) - self.log_deviation**2 / 2
        z = (math.log(year_kwh) - median_log) / self.log_deviation
        share = (1 + math.erf(z / math.sqrt(2))) / 2
        return Decimal(repr(100 * share)).quantize(_TENTH, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A home's year beside others: `percentile_low` to `percentile_high` of 100 homes use less.

    `ratio_to_profile`: its kWh over the profile's. `share_pct` and `profile_share_pct`: of the year's kWh by period.
    """

    year: YearOfReadings
    homes: Homes
    year_kwh: Decimal
    percentile_low: Decimal
    percentile_high: Decimal
    ratio_to_profile: Decimal
    share_pct: Mapping[Period, Decimal]
    profile_share_pct: Mapping[Period, Decimal]


@cache
def load_homes() -> Homes:
    """Return the distribution that comes with the package."""
    text_of_file = (
        resources.files("expert_bot.energy.analyses.use").joinpath("benchmark.json").read_text("utf-8")
    )
    content = json.loads(text_of_file)
    quartiles, means = content["quartiles"], content["means_kwh"]
    ratio = float(quartiles["upper_kwh"]) / float(quartiles["lower_kwh"])
    return Homes(
        profile_kwh={period: Decimal(content["profile"]["kwh"][period.value]) for period in Period},
        profile_source=content["profile"]["source"],
        mean_kwh_low=Decimal(means["low"]["value"]),
        mean_kwh_high=Decimal(means["high"]["value"]),
        log_deviation=math.log(ratio) / (2 * _UPPER_QUARTILE_Z),
        source=f"log-normal; means: {means['low']['source']}; {means['high']['source']}; width: {quartiles['source']}",
        confidence=content["confidence"],
    )


def compare_with_homes(year: YearOfReadings) -> Benchmark:
    """Return where a year stands among homes."""
    homes = load_homes()
    by_period = year.curve.kwh_by_period()
    year_kwh = sum(by_period.values(), Decimal(0)) * year.to_year
    profile_kwh = sum(homes.profile_kwh.values(), Decimal(0))
    return Benchmark(
        year=year,
        homes=homes,
        year_kwh=year_kwh.quantize(_WH, ROUND_HALF_UP),
        percentile_low=homes.percentile(year_kwh, mean_kwh=homes.mean_kwh_high),
        percentile_high=homes.percentile(year_kwh, mean_kwh=homes.mean_kwh_low),
        ratio_to_profile=(year_kwh / profile_kwh).quantize(_CENTI, ROUND_HALF_UP),
        share_pct=_shares(by_period),
        profile_share_pct=_shares(homes.profile_kwh),
    )


def benchmark_report(benchmark: Benchmark) -> Report:
    """Return the common form.

    Keys: `year_kwh`, `percentile` (`low`, `high`), `confidence`, `ratio_to_profile`, and by period `profile_kwh`,
    `share_pct`, `profile_share_pct`.
    """
    fact, homes = benchmark.year.fact, benchmark.homes
    return Report(
        result={
            "year_kwh": text(benchmark.year_kwh),
            "percentile": {"low": text(benchmark.percentile_low), "high": text(benchmark.percentile_high)},
            "confidence": homes.confidence,
            "ratio_to_profile": text(benchmark.ratio_to_profile),
            "profile_kwh": {period.value: text(value) for period, value in homes.profile_kwh.items()},
            "share_pct": {period.value: text(value) for period, value in benchmark.share_pct.items()},
            "profile_share_pct": {
                period.value: text(value) for period, value in benchmark.profile_share_pct.items()
            },
        },
        facts=(
            fact("benchmark_year", benchmark.year_kwh, "kWh/year", "sum of the hours, scaled to 8760 hours"),
            fact("benchmark_percentile_low", benchmark.percentile_low, "percentile", homes.source),
            fact("benchmark_percentile_high", benchmark.percentile_high, "percentile", homes.source),
            fact("benchmark_ratio", benchmark.ratio_to_profile, "ratio", homes.profile_source),
            *(
                fact(f"benchmark_share_{period.value.lower()}", share, "%", "share of the year's kWh")
                for period, share in benchmark.share_pct.items()
            ),
        ),
        data_quality=benchmark.year.quality,
    )


def _shares(energy_kwh: Mapping[Period, Decimal]) -> dict[Period, Decimal]:
    total = sum(energy_kwh.values(), Decimal(0))
    return {
        period: (100 * value / total).quantize(_TENTH, ROUND_HALF_UP) if total else Decimal(0)
        for period, value in energy_kwh.items()
    }
