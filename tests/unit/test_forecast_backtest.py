"""The backtest: the figures promised on real homes, and what they are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.forecasting.backtest import Backtest, backtest
from expert_bot.energy.analyses.forecasting.forecast import forecast
from expert_bot.energy.analyses.forecasting.forecast_model import forecast_hours
from expert_bot.energy.curve import Curve, instant_of_hour
from expert_bot.errors import UsageError
from tests.unit.forecast_homes import REAL_HOMES, flat, real_home, simulated


@pytest.fixture(scope="module")
def scores(shared_data: Path) -> list[Backtest]:
    """Backtest the last 90 days of every real home."""
    return [backtest(real_home(shared_data, number), 90) for number in REAL_HOMES]


def typical(values: Sequence[Decimal | None]) -> Decimal:
    """Return the median of values that must all be there."""
    known = [value for value in values if value is not None]
    assert len(values) == len(known)
    return median(known)


def test_the_promised_accuracy_holds_on_real_homes(scores: list[Backtest]) -> None:
    """Medians over 8 homes: MASE(168) <= 0.75 whichever way it is scaled, 30-day totals <= 8 %, coverage 75..85 %."""
    assert typical([score.forecast.mase_168 for score in scores]) <= Decimal("0.75")
    assert typical([score.forecast.mase_168_window for score in scores]) <= Decimal("0.75")
    assert typical([score.forecast.month_total_error_pct for score in scores]) <= 8
    assert typical([score.forecast.month_blocks_error_pct for score in scores]) <= 8
    assert 75 <= typical([score.interval_coverage_pct for score in scores]) <= 85


def test_no_home_is_worse_than_both_baselines(scores: list[Backtest]) -> None:
    """Hourly errors are at most 5 % above the better one's on every home, the month's at most that above the worse."""
    for score in scores:
        own = score.forecast.mase_168
        others = [baseline.mase_168 for baseline in score.baselines.values() if baseline.mase_168 is not None]
        assert own is not None
        assert own <= min(others) * Decimal("1.05")
        assert 70 <= score.interval_coverage_pct <= 90
        months = [baseline.month_total_error_pct for baseline in score.baselines.values()]
        assert score.forecast.month_total_error_pct is not None
        assert score.forecast.month_total_error_pct <= max(
            pct for pct in months if pct is not None
        ) * Decimal("1.05")


def test_a_short_history_is_scored_as_far_as_it_goes(shared_data: Path, scores: list[Backtest]) -> None:
    """82 days of readings leave 54 that have four weeks before them; the result says so."""
    short = scores[REAL_HOMES.index(6)]
    assert (short.days, short.requested_days) == (54, 90)
    assert (date(2023, 6, 10), date(2023, 8, 3)) == (short.first, short.until)


def assert_made_as_then(curve: Curve, rows: Sequence[int]) -> None:
    """Check that a backtest scores what a user would have got on these days, from a file that ended then."""
    grid = DayGrid.of(curve)
    first = len(grid) - 90
    scored = forecast_hours(grid, first, len(grid)).point_kwh
    for row in rows:
        found = forecast(curve.between(None, grid.day(first + row)))
        assert [f"{scored[row, hour.local_hour]:.3f}" for hour in found.hours] == [
            str(hour.energy_kwh) for hour in found.hours
        ]


@pytest.mark.parametrize("number", [3, 4])
def test_a_backtest_scores_what_users_would_have_got(shared_data: Path, number: int) -> None:
    """No scored forecast knows more than the file that ended the day before."""
    assert_made_as_then(real_home(shared_data, number), (0, 17, 60, 89))


def slow_scores(curve: Curve, days: int) -> dict[str, tuple[str, str]]:
    """Compute MASE(168) and WAPE of both baselines hour by hour from a dictionary; for a window without clock changes."""
    kwh = {
        instant_of_hour(hour): energy
        for hour, energy in zip(curve.start_hours.tolist(), curve.energy_kwh.tolist(), strict=True)
    }
    week, day = timedelta(days=7), timedelta(days=1)
    until = max(kwh) + timedelta(hours=1)
    window = [instant for instant in kwh if instant >= until - days * day]
    before = [instant for instant in kwh if instant < until - days * day and instant - week in kwh]
    scale = sum(abs(kwh[instant] - kwh[instant - week]) for instant in before) / len(before)
    used = sum(kwh[instant] for instant in window)
    result = {}
    for name, lags in (("naive_168", [7]), ("mean_28d", range(1, 29))):
        errors = [
            abs(kwh[instant] - sum(kwh[instant - lag * day] for lag in lags) / len(lags))
            for instant in window
        ]
        result[name] = (f"{sum(errors) / len(window) / scale:.4f}", f"{sum(errors) / used:.4f}")
    return result


def test_baselines_are_those_of_a_slow_count(shared_data: Path) -> None:
    """MASE(168) and WAPE of both baselines agree with an hour-by-hour computation that knows no days."""
    # from the end of March on, so that neither the window nor its history crosses a clock change
    curve = real_home(shared_data, 4).between(date(2023, 3, 28), date(2023, 7, 16))
    tested = backtest(curve, 60)
    assert slow_scores(curve, 60) == {
        name: (str(score.mase_168), str(score.wape)) for name, score in tested.baselines.items()
    }


def test_month_totals_of_the_mean_are_those_of_a_slow_count() -> None:
    """The 28-day mean's error over 30 days is the mean of all origins, and of disjoint ones, computed one by one."""
    curve = simulated(date(2023, 6, 30), 4)
    totals = DayGrid.of(curve).total_kwh.tolist()
    errors = [
        abs(sum(totals[origin - 28 : origin]) / 28 * 30 / sum(totals[origin : origin + 30]) - 1) * 100
        for origin in range(len(totals) - 60, len(totals) - 29)
    ]
    score = backtest(curve, 60).baselines["mean_28d"]
    assert f"{np.mean(errors):.1f}" == str(score.month_total_error_pct)
    assert f"{(errors[0] + errors[30]) / 2:.1f}" == str(score.month_blocks_error_pct)


def test_a_window_under_30_days_has_no_month() -> None:
    """Nothing is claimed of months that the window does not hold."""
    tested = backtest(simulated(), 20)
    assert (tested.days, tested.forecast.month_total_error_pct, tested.month_coverage_pct) == (20, None, None)


@pytest.mark.parametrize(
    ("said", "days", "history"),
    [
        pytest.param("7..366 days, not 6", 6, 100, id="window too short"),
        pytest.param("7..366 days, not 367", 367, 100, id="window too long"),
        pytest.param("needs 35 days of readings: there are 34", 90, 34, id="history too short"),
    ],
)
def test_what_cannot_be_scored_is_refused(said: str, days: int, history: int) -> None:
    """The message says what is allowed."""
    end = date(2023, 6, 1)
    with pytest.raises(UsageError, match=said):
        backtest(flat(end - timedelta(days=history), end), days)


def test_a_window_that_nothing_can_be_compared_in_is_refused() -> None:
    """Readings of every other week have none a week before: no score is made up."""
    home = flat(date(2023, 1, 2), date(2023, 6, 5))
    other_weeks = (home.local_days - home.local_days[0]) // 7 % 2 == 1
    with pytest.raises(UsageError, match="no hour from 2023-05-29 on has a reading, and one a week before"):
        backtest(home.where(other_weeks), 7)
