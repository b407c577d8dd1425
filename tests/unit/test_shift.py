"""Shift potential: P1 energy above base load times the gap to P3, a range, never less than nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.use.shift import ShiftPotential, find_shift_potential, shift_report
from expert_bot.energy.analyses.year import last_year
from expert_bot.energy.bill.contract import EnergyBlock
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.advice_world import NO_TAXES, curve_of, prices, steady_curve, terms, year_of
from tests.unit.bill_world import by_period, fixed


def potential(
    p1: object = "0.20", p3: object = "0.10", *, base: str = "0.1", kw: float = 0.3
) -> ShiftPotential:
    """Return the potential of a steady home over 2023 without taxes."""
    return find_shift_potential(
        last_year(steady_curve(kw), at_least_hours=8760),
        base_load_kw=Decimal(base),
        prices=prices(p1, "0.15", p3),
        taxes=NO_TAXES,
    )


def p1_hours() -> int:
    """Return the hours of P1 in 2023, counted day by day."""
    valley = {(1, 1), (1, 6), (5, 1), (8, 15), (10, 12), (11, 1), (12, 6), (12, 8), (12, 25)}
    days = [date.fromordinal(date(2023, 1, 1).toordinal() + index) for index in range(365)]
    return 8 * sum(day.weekday() < 5 and (day.month, day.day) not in valley for day in days)


def test_the_worked_example() -> None:
    """0.2 kW above base load in every P1 hour, a tenth to three tenths of it, 10 cents apart."""
    shift = potential()
    above = Decimal("0.2") * p1_hours()
    assert above == shift.above_base_kwh
    assert above / 10 == shift.movable_kwh_low
    assert (above / 100).quantize(Decimal("0.01")) == shift.saving_eur_low
    assert (above * 3 / 100).quantize(Decimal("0.01")) == shift.saving_eur_high


@pytest.mark.parametrize(
    ("p1", "p3", "base"),
    [
        pytest.param("0.15", "0.15", "0.1", id="one-price"),
        pytest.param("0.10", "0.20", "0.1", id="valley-dearer"),
        pytest.param("0.20", "0.10", "0.3", id="all-is-base-load"),
    ],
)
def test_nothing_to_gain_is_nothing(p1: str, p3: str, base: str) -> None:
    """Without a gap, or without use above base load, shifting saves nothing; it never costs."""
    assert Decimal(0) == potential(p1, p3, base=base).saving_eur_high


def test_taxes_are_in() -> None:
    """5.11269632 % and 21 % on top."""
    year = last_year(steady_curve(), at_least_hours=8760)
    known = terms(fixed(by_period("0.2", "0.15", "0.1")))
    shift = find_shift_potential(
        year, base_load_kw=Decimal("0.1"), prices=known.require_energy(), taxes=known.taxes
    )
    before = Decimal("0.2") * p1_hours() * Decimal("0.03")
    assert (before * Decimal("1.0511269632") * Decimal("1.21")).quantize(
        Decimal("0.01")
    ) == shift.saving_eur_high


def test_a_tariff_of_blocks_has_one_mean_price() -> None:
    """30 kWh at 10 cents and 10 kWh at 20 cents are 12.5 cents on average: no gap."""
    blocks = tuple(
        EnergyBlock(energy_kwh=Decimal(kwh), price_eur_per_kwh=Decimal(price))
        for kwh, price in (("30", "0.10"), ("10", "0.20"))
    )
    known = terms(fixed(blocks)).require_energy()
    assert {Decimal("0.125")} == set(known.eur_per_kwh.values())
    empty = tuple(replace(block, energy_kwh=Decimal(0)) for block in blocks)
    assert {Decimal(0)} == set(terms(fixed(empty)).require_energy().eur_per_kwh.values())


@given(kw=st.floats(0, 5), base=st.decimals("0", "5", places=3), p1=st.decimals("0", "1", places=4))
def test_the_range_is_a_range(kw: float, base: Decimal, p1: Decimal) -> None:
    """Low never exceeds high, nothing is negative, and no more moves than there is in P1."""
    year = year_of(np.full(40 * 24, kw))
    shift = find_shift_potential(
        year, base_load_kw=base, prices=prices(p1, "0.15", "0.1"), taxes=terms().taxes
    )
    assert Decimal(0) <= shift.saving_eur_low <= shift.saving_eur_high
    in_p1 = year.curve.kwh_by_period()[Period.P1] * year.to_year
    assert shift.movable_kwh_high <= in_p1 + Decimal("0.001")


def test_a_bad_base_load_is_refused() -> None:
    """A base load is 0 or more."""
    with pytest.raises(ValueError, match="0 or more"):
        potential(base="-0.1")


def test_too_few_readings_are_refused() -> None:
    """The message says how many hours there are and how many are needed."""
    with pytest.raises(UsageError, match="there are 48: load more months"):
        last_year(curve_of(np.ones(48)), at_least_hours=672)
    with pytest.raises(UsageError, match="no readings"):
        last_year(curve_of(np.ones(0)), at_least_hours=1)


def test_the_report_has_the_range_and_its_facts() -> None:
    """The gap's fact names the contract's price, the saving's the rule."""
    report = shift_report(potential())
    assert report.result["flexible_share"] == {"low": "0.10", "high": "0.30"}
    facts = {fact.id: fact for fact in report.facts}
    assert (facts["shift_price_gap"].value, facts["shift_price_gap"].unit) == ("0.10", "EUR/kWh")
    assert report.data_quality is not None
    assert report.data_quality.coverage_pct.startswith("100")
