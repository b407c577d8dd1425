"""Base load: the lowest hours of ordinary nights, what they add up to in a year, and when too few are known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from expert_bot.energy.analyses.day_grid import DayGrid
from expert_bot.energy.analyses.use.base_load import base_load, base_load_report, night_base_kw
from expert_bot.energy.curve import Curve
from expert_bot.errors import UsageError
from tests.unit.forecast_homes import flat, simulated, with_energy

FIRST, UNTIL = date(2023, 5, 1), date(2023, 5, 31)


def with_nights(kwh: tuple[float, float, float], rest: float = 0.5) -> Curve:
    """Return a home with these hours from 2:00, 3:00 and 4:00, and others all day."""
    home = flat(FIRST, UNTIL)
    hours = np.full(24, rest)
    hours[2:5] = kwh
    return with_energy(home, hours[home.local_hours])


def test_percentiles_of_three_hours_lie_between_the_lowest_two() -> None:
    """Of 0.1, 0.2, 0.3 kWh the 5th percentile is 0.11 and the 10th 0.12, in whatever order they come."""
    low, high = night_base_kw(DayGrid.of(with_nights((0.3, 0.1, 0.2))))
    np.testing.assert_allclose(low, 0.11)
    np.testing.assert_allclose(high, 0.12)


def test_a_year_of_it_is_8760_hours() -> None:
    """0.115 kW make 1007 kWh a year, at 0.20 EUR/kWh 201.48 EUR; of 11.1 kWh a day it is a quarter."""
    found = base_load(with_nights((0.3, 0.1, 0.2)), price_eur_per_kwh=Decimal("0.2"))
    assert (found.low_kw, found.base_kw, found.high_kw) == (
        Decimal("0.110"),
        Decimal("0.115"),
        Decimal("0.120"),
    )
    assert (Decimal(1007), Decimal("201.48")) == (found.standby_kwh_per_year, found.standby_eur_per_year)
    assert Decimal("24.9") == found.share_pct
    assert found.nights == 30


def test_one_night_of_guests_changes_nothing() -> None:
    """The median over nights is taken: a night with 2 kW is not the base load."""
    home = with_nights((0.1, 0.1, 0.1))
    energy = home.energy_kwh.copy()
    energy[240:264] = 2.0
    assert Decimal("0.100") == base_load(with_energy(home, energy)).base_kw


def test_estimated_nights_count_only_if_there_are_no_others() -> None:
    """Half of the nights estimated at 1 kW do not count; if all are, they do, and the result says so."""
    home = with_nights((0.1, 0.1, 0.1))
    late = home.local_days >= home.local_days[0] + 15
    energy = (np.where(late, 1.0, home.energy_kwh) * 1e9).astype(np.int64)
    half = base_load(Curve.of(home.start_hours, energy, late))
    assert (Decimal("0.100"), 15, False) == (half.base_kw, half.nights, half.uses_estimates)
    everything = base_load(Curve.of(home.start_hours, energy, np.ones(len(home), dtype=np.bool_)))
    assert (everything.nights, everything.uses_estimates) == (30, True)


def test_a_night_with_a_hole_does_not_count() -> None:
    """A night that lacks one of its hours, as the one of the spring change does, is left out."""
    spring = base_load(flat(date(2023, 3, 10), date(2023, 4, 1)))
    assert (21, Decimal("0.100")) == (spring.nights, spring.base_kw)


def test_the_last_year_is_measured() -> None:
    """Without a period the 365 days to the last reading count; with one, its days."""
    home = flat(date(2021, 1, 1), date(2023, 1, 1))
    assert (date(2022, 1, 1), date(2023, 1, 1)) == (base_load(home).first, base_load(home).until)
    part = base_load(home, first=date(2021, 6, 1), until=date(2021, 7, 1))
    assert (30, date(2021, 6, 1)) == (part.nights, part.first)


@pytest.mark.parametrize(
    ("said", "curve"),
    [
        pytest.param("14 nights of readings: there are none", flat(FIRST, FIRST), id="nothing"),
        pytest.param("14 whole nights from .* there are 13", flat(FIRST, date(2023, 5, 14)), id="13 nights"),
    ],
)
def test_too_few_nights_are_refused(said: str, curve: Curve) -> None:
    """The message says how many are needed and how many there are."""
    with pytest.raises(UsageError, match=said):
        base_load(curve)


def test_a_period_without_readings_is_refused() -> None:
    """No night at all is as bad as too few."""
    with pytest.raises(UsageError, match="there are 0"):
        base_load(flat(FIRST, UNTIL), first=date(2020, 1, 1), until=date(2020, 6, 1))


def test_an_empty_house_has_no_share() -> None:
    """Nothing of nothing is no percentage."""
    found = base_load(flat(FIRST, UNTIL, kw=0.0))
    assert (Decimal("0.000"), None) == (found.base_kw, found.share_pct)


def test_the_published_form_states_its_facts() -> None:
    """Load, energy and money are facts with their unit, period and rule."""
    home = simulated()
    found = base_load(home, price_eur_per_kwh=Decimal("0.15"))
    report = base_load_report(found, home)
    facts = {fact.id: (fact.value, fact.unit) for fact in report.facts}
    assert facts == {
        "base_load_kw": (str(found.base_kw), "kW"),
        "standby_kwh_per_year": (str(found.standby_kwh_per_year), "kWh/year"),
        "standby_eur_per_year": (str(found.standby_eur_per_year), "EUR/year"),
    }
    shown = report.as_json()
    assert shown["base_kw"] == str(found.base_kw)
    assert shown["data_quality"] is not None
    assert "standby_eur_per_year" not in {fact.id for fact in base_load_report(base_load(home), home).facts}
