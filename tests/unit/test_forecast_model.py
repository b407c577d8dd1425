"""The day-ahead model and the totals: nothing of the future is read, scale and order hold, and known cases come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.analyses import day_grid
from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.forecasting import forecast_model, forecast_totals
from expert_bot.energy.analyses.forecasting.forecast_model import analog_weights, forecast_hours
from expert_bot.energy.analyses.forecasting.forecast_totals import TotalModel
from expert_bot.energy.curve import Curve, Floats, Ints, day_of
from tests.unit.forecast_homes import flat, simulated, with_energy

FIRST, UNTIL = 90, 104


def later_changed(curve: Curve, row: int, seed: int) -> Curve:
    """Return the curve with other values from the day of a row on."""
    random = np.random.default_rng(seed)
    changed = curve.energy_kwh.copy()
    later = curve.local_days - curve.local_days[0] >= row
    changed[later] = random.exponential(3.0, int(later.sum()))
    return with_energy(curve, changed)


def assert_only_the_past_counts(row: int, seed: int) -> None:
    """Forecasts of days up to a row, of hours and of totals, are the same whatever happens from that row on."""
    curve = simulated(date(2023, 6, 30), 4)
    grids = [DayGrid.of(curve), DayGrid.of(later_changed(curve, row, seed))]
    hours = [forecast_hours(grid, FIRST, UNTIL) for grid in grids]
    for one, other in zip(
        *([found.point_kwh, found.low_kwh, found.high_kwh] for found in hours), strict=True
    ):
        np.testing.assert_array_equal(one[: row - FIRST + 1], other[: row - FIRST + 1])
    totals = [TotalModel.of(grid).range_of(row, 14) for grid in grids]
    assert totals[0] == totals[1]


@given(row=st.integers(FIRST, UNTIL - 1), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_future_does_not_change_a_forecast(row: int, seed: int) -> None:
    """Whatever is read from a day on, forecasts of that day and of earlier ones stay the same to the bit."""
    assert_only_the_past_counts(row, seed)


def peeking_weights(grid: DayGrid, targets: Ints, past: Ints) -> Floats:
    """Weigh days as for the day after: the day itself counts."""
    return analog_weights(grid, targets + 1, past)


_window_sums = forecast_totals._window_sums


def peeking_sums(values: Floats, days: int) -> Floats:
    """Sum windows that end one day late."""
    sums = _window_sums(values, days)
    return np.concatenate([sums[1:], sums[-1:]])


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        pytest.param(forecast_model, "analog_weights", peeking_weights, id="hours look one day ahead"),
        pytest.param(forecast_totals, "_window_sums", peeking_sums, id="totals look one day ahead"),
    ],
)
def test_a_forecast_that_peeks_is_caught(
    module: object, name: str, mutant: Callable[..., Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above fails for a model that reads the day it forecasts."""
    monkeypatch.setattr(module, name, mutant)
    with pytest.raises(AssertionError):
        assert_only_the_past_counts(FIRST + 3, seed=1)


def weekend_home() -> Curve:
    """Return a home that is used at weekends and on holidays alone."""
    home = flat(date(2023, 1, 2), date(2023, 4, 3), kw=0.0)
    weekday = np.array([day_of(number).weekday() for number in home.local_days.tolist()])
    return with_energy(home, np.where(weekday >= 5, 1.0, 0.1))


def assert_weekends_are_known() -> None:
    """Day-ahead hours of a week, and its total, are those of a home that lives at weekends."""
    grid = DayGrid.of(weekend_home())
    points = forecast_hours(grid, 84, 91).point_kwh
    np.testing.assert_allclose(points.mean(axis=1), [0.1] * 5 + [1.0] * 2, atol=0.02)
    days = TotalModel.of(grid).expected_days(84, 7)
    assert days[5:].min() > 2 * days[:5].max()


def test_a_home_that_lives_at_weekends_is_forecast_so() -> None:
    """Saturday and Sunday are forecast from Saturdays and Sundays."""
    assert_weekends_are_known()


def test_kinds_one_day_off_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails if Sunday is taken for Saturday, Monday for Sunday."""
    kinds_of = day_grid.kinds_of
    monkeypatch.setattr(day_grid, "kinds_of", lambda numbers: kinds_of(numbers - 1))
    with pytest.raises(AssertionError):
        assert_weekends_are_known()


@pytest.mark.parametrize("factor", [2.0, 10.0])
def test_twice_the_consumption_is_twice_the_forecast(factor: float) -> None:
    """Points, interval ends and totals scale with the home."""
    curve = simulated(date(2023, 6, 30), 4)
    grid, larger = DayGrid.of(curve), DayGrid.of(with_energy(curve, curve.energy_kwh * factor))
    small, large = forecast_hours(grid, 100, 107), forecast_hours(larger, 100, 107)
    for name in ("point_kwh", "low_kwh", "high_kwh"):
        np.testing.assert_allclose(getattr(small, name) * factor, getattr(large, name), rtol=1e-9)
    one, other = (TotalModel.of(each).range_of(100, 30) for each in (grid, larger))
    assert [one.energy_kwh * factor, one.low_kwh * factor, one.high_kwh * factor] == pytest.approx(
        [other.energy_kwh, other.low_kwh, other.high_kwh]
    )


def test_the_interval_holds_the_point() -> None:
    """Low is never above the point, the point never above high, and nothing is negative."""
    grid = DayGrid.of(simulated())
    found = forecast_hours(grid, 40, len(grid) + 1)
    assert np.all(found.low_kwh >= 0)
    assert np.all(found.low_kwh <= found.point_kwh)
    assert np.all(found.point_kwh <= found.high_kwh)
    model = TotalModel.of(grid)
    for days in (1, 7, 30):
        for origin in range(30, len(grid) + 1, 10):
            total = model.range_of(origin, days)
            assert 0 <= total.low_kwh <= total.energy_kwh <= total.high_kwh


def test_weights_are_those_of_the_docstring() -> None:
    """A workday a week old, eve alike: 1/2 + 1/50; a Sunday 15 % of that; the day itself and later nothing."""
    grid = DayGrid.of(flat(date(2023, 5, 8), date(2023, 6, 12)))
    monday = 28
    weights = analog_weights(grid, np.array([monday]), np.arange(len(grid)))[0]
    assert pytest.approx(0.52) == weights[monday - 7]
    assert pytest.approx((2 ** (-1 / 7) + 0.02) * 0.15) == weights[monday - 1]
    assert weights[monday:].tolist() == [0.0] * (len(grid) - monday)


def test_an_unlike_eve_counts_less() -> None:
    """An eve that used twice as much is ln(2.05 / 1.05) away: the day after it counts accordingly."""
    home = flat(date(2023, 5, 8), date(2023, 6, 12))
    energy = home.energy_kwh.copy()
    energy[20 * 24 : 21 * 24] *= 2
    grid = DayGrid.of(with_energy(home, energy))
    weights = analog_weights(grid, np.array([30]), np.arange(30))[0]
    mean = (29 + 2) / 30
    distance = np.log(2 + 0.05 * mean) - np.log(1 + 0.05 * mean)
    recency = 2 ** (-9 / 7) + 0.02
    assert pytest.approx(recency * np.exp(-0.5 * (distance / 0.3) ** 2)) == weights[21]


def test_a_quantile_is_the_least_value_that_has_its_share_of_the_weight() -> None:
    """Of 1, 2, 4 with weights 1, 1, 2 (and 3 with none) half the weight is reached at 2, more than half at 4."""
    values = np.repeat(np.array([[4.0], [1.0], [2.0], [3.0]]), 24, axis=1)
    weights = np.array([[2.0, 1.0, 1.0, 0.0]])
    found = forecast_model._quantiles(values, weights, np.array([[0.0, 0.5, 0.51, 1.0]]))
    assert found[:, 0, 0].tolist() == [1.0, 2.0, 4.0, 4.0]


def test_an_hour_without_any_weight_is_unknown() -> None:
    """A value of a day that does not count is not taken for want of another, nor is one made up."""
    values = np.full((2, 24), np.nan)
    values[1, 0] = 5.0
    found = forecast_model._quantiles(values, np.array([[1.0, 0.0]]), np.array([[0.5]]))
    assert np.isnan(found).all()


def test_ranks_count_ties_half() -> None:
    """Of 0, 0, 1, 2 the value 0 lies a quarter deep, 1.5 three quarters; an unknown one nowhere."""
    values = np.repeat(np.array([[0.0], [0.0], [1.0], [2.0]]), 24, axis=1)
    actual = np.repeat(np.array([[0.0], [1.5], [np.nan]]), 24, axis=1)
    ranks = forecast_model._ranks(values, np.ones((3, 4)), actual)
    assert ranks[:2, 0].tolist() == [0.25, 0.75]
    assert np.isnan(ranks[2]).all()


def test_too_short_a_past_is_refused() -> None:
    """Rows before the 28th cannot be forecast."""
    grid = DayGrid.of(flat(date(2023, 5, 8), date(2023, 6, 12)))
    with pytest.raises(ValueError, match="fewer than 28 days"):
        forecast_hours(grid, 27, 30)
