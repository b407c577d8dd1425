"""Benchmark: percentile of a year's consumption among homes, and its shares beside the typical home's."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.use.benchmark import (
    AT_LEAST_HOURS,
    benchmark_report,
    compare_with_homes,
    load_homes,
)
from expert_bot.energy.analyses.year import last_year
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.advice_world import steady_curve


def test_the_median_home_is_the_fiftieth_of_a_hundred() -> None:
    """Of a log-normal distribution the median is the mean divided by exp(sigma^2 / 2)."""
    homes = load_homes()
    sigma = math.log(4100 / 1800) / (2 * 0.6744897501960817)
    median = Decimal(repr(2600 / math.exp(sigma**2 / 2)))
    assert Decimal("50.0") == homes.percentile(median, mean_kwh=Decimal(2600))


def test_the_quartiles_are_those_of_the_source() -> None:
    """Homes at 1,800 and 4,100 kWh are the 25th and 75th of 100 where the median is their geometric mean."""
    homes = load_homes()
    mean = Decimal(repr(math.sqrt(1800 * 4100) * math.exp(homes.log_deviation**2 / 2)))
    assert Decimal("25.0") == homes.percentile(Decimal(1800), mean_kwh=mean)
    assert Decimal("75.0") == homes.percentile(Decimal(4100), mean_kwh=mean)


def test_a_steady_home() -> None:
    """300 W all year are 2,628 kWh: as much as the typical home, but more of it in the valley."""
    benchmark = compare_with_homes(last_year(steady_curve(0.3), at_least_hours=AT_LEAST_HOURS))
    assert Decimal("2628.000") == benchmark.year_kwh
    assert Decimal("1.01") == benchmark.ratio_to_profile
    assert Decimal(40) < benchmark.percentile_low < benchmark.percentile_high < Decimal(65)
    assert Decimal("28.7") == benchmark.profile_share_pct[Period.P1]
    assert benchmark.share_pct[Period.P3] > benchmark.profile_share_pct[Period.P3]


def test_the_profile_is_2600_kwh() -> None:
    """CNMC's typical home: 745, 639 and 1,216 kWh."""
    assert dict(load_homes().profile_kwh) == {Period.P1: 745, Period.P2: 639, Period.P3: 1216}


@given(small=st.floats(0, 10), more=st.floats(0.001, 10))
def test_more_consumption_never_ranks_lower(small: float, more: float) -> None:
    """The percentile rises with the year's kWh, between 0 and 100."""
    homes = load_homes()
    low, high = (
        homes.percentile(Decimal(repr(kwh * 1000)), mean_kwh=homes.mean_kwh_low)
        for kwh in (small, small + more)
    )
    assert Decimal(0) <= low <= high <= Decimal(100)


def test_an_empty_home_uses_less_than_all() -> None:
    """No consumption is the percentile 0, and shares of nothing are 0."""
    benchmark = compare_with_homes(last_year(steady_curve(0.0), at_least_hours=AT_LEAST_HOURS))
    assert (
        Decimal(0) == benchmark.percentile_low == benchmark.percentile_high == benchmark.share_pct[Period.P1]
    )


def test_half_a_year_is_refused() -> None:
    """Winter cannot be guessed from summer."""
    with pytest.raises(UsageError, match="at least 7884 hours"):
        last_year(steady_curve(days=180), at_least_hours=AT_LEAST_HOURS)


def test_the_report_says_how_sure_it_is() -> None:
    """A range, a confidence, and where the distribution comes from; no label."""
    report = benchmark_report(compare_with_homes(last_year(steady_curve(), at_least_hours=AT_LEAST_HOURS)))
    assert report.result["confidence"] == "C"
    assert {"low", "high"} == set(report.result["percentile"])  # type: ignore[arg-type]  # nested JSON
    sources = " ".join(fact.source for fact in report.facts)
    assert "SPAHOUSEC" in sources
    assert "CNMC" in sources
    assert np.isclose(sum(float(value) for value in report.result["share_pct"].values()), 100, atol=0.2)  # type: ignore[union-attr,arg-type]  # nested JSON
