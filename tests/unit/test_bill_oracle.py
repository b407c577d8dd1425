"""Bills against an oracle that computes day by day in fractions, and what must hold of every bill."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from expert_bot.energy.bill.contract import BilledConsumption, BillPeriod
from expert_bot.energy.curve import Curve
from expert_bot.energy.readings import HourlyReading, Period
from expert_bot.energy.simulation import simulate_household
from tests.unit.bill_world import Case, Oracle, by_period, fixed, pvpc

PRICES = st.decimals("0.01", "0.5", places=6)
ENERGY = st.decimals("0", "900", places=3)
FIRST, LAST = date(2021, 6, 2), date(2026, 10, 31)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a bill of the peninsula, of any kind, on any days with settled rules."""
    start = draw(st.dates(FIRST, LAST - timedelta(days=70)))
    end = start + timedelta(days=draw(st.integers(5, 65)))
    kind = draw(st.sampled_from(("pvpc", "one", "three")))
    prices = by_period(*draw(st.tuples(PRICES, PRICES, PRICES)))
    tariff = pvpc(*prices.values())
    if kind != "pvpc":
        energy = prices if kind == "three" else prices[Period.P1]
        tariff = fixed(energy, *(str(draw(PRICES)) for _ in range(2)))  # type: ignore[assignment]  # either tariff
    bono = draw(
        st.none()
        | st.tuples(st.sampled_from(("vulnerable", "severe")), st.sampled_from(("no_minors", "large_family")))
    )
    return Case(
        tariff=tariff,
        power_kw=tuple(draw(st.sampled_from(("2.3", "3.45", "4.6", "9.99", "10", "10.1"))) for _ in range(2)),  # type: ignore[arg-type]  # two of them
        kwh=draw(st.tuples(ENERGY, ENERGY, ENERGY)),
        start=start,
        end=end,
        days=(end - start).days + 1,
        due=draw(st.none() | st.dates(end, end + timedelta(days=20)).filter(lambda day: day < LAST)),
        bono=bono,
        discounts=tuple(f"{each:f}" for each in draw(st.lists(st.decimals("-9", "0", places=2), max_size=2))),
        services=tuple(f"{each:f}" for each in draw(st.lists(st.decimals("0", "9", places=2), max_size=2))),
    )


@pytest.fixture(scope="module")
def oracle(shared_data: Path) -> Oracle:
    """Return the other road to a bill."""
    return Oracle(shared_data / "energy" / "regulated")


@settings(max_examples=300)
@given(case=cases())
def test_every_line_is_the_oracles(oracle: Oracle, case: Case) -> None:
    """All lines and the total are equal to the cent, over tariff years, leap years and every change of the taxes."""
    bill = case.bill()
    computed = {line.id: int(line.eur * 100) for line in bill.lines}
    assert bill.total is not None
    assert oracle.bill(case) == {**computed, "total": int(bill.total * 100)}


@given(case=cases())
def test_a_bill_adds_up(case: Case) -> None:
    """The total is the sum of the lines; VAT base and VAT are the total; the lines before the electricity tax its base."""
    bill = case.bill()
    assert bill.total == sum(line.eur for line in bill.lines)
    assert bill.vat_base is not None
    assert bill.total == bill.vat_base + bill.eur("vat")
    ids = [line.id for line in bill.lines]
    assert bill.electricity_tax_base == sum(line.eur for line in bill.lines[: ids.index("electricity_tax")])


@given(case=cases())
def test_doubled_consumption_doubles_the_energy(case: Case) -> None:
    """Twice the kWh is twice the energy lines, but for half a cent of rounding each."""
    double = case.but(kwh=tuple(2 * Decimal(str(each)) for each in case.kwh))
    for line in case.bill().lines:
        if line.id.startswith("energy"):
            assert abs(2 * line.eur - double.bill().eur(line.id)) <= Decimal("0.015")


@given(case=cases(), cut=st.integers(2, 60))
def test_two_bills_of_a_split_period_differ_by_rounding_only(case: Case, cut: int) -> None:
    """Power and financing of a period are those of its two parts, but for the rounding of each printed line."""
    middle = case.start + timedelta(days=cut)
    assume(middle < case.end)
    parts = [
        case.but(end=middle, days=cut + 1, due=None),
        case.but(start=middle + timedelta(days=1), days=(case.end - middle).days, due=None),
    ]
    for name in ("power_p1", "power_p2", "bono_financing", "meter_rental"):
        split = sum(part.bill().eur(name) for part in parts)
        assert abs(split - case.bill().eur(name)) <= Decimal("0.03")


@given(seed=st.integers(0, 2**32), cut=st.integers(1, 30))
def test_hours_in_any_order_and_split_are_the_same_energy(seed: int, cut: int) -> None:
    """P1 + P2 + P3 is the total; the order of the rows does not matter; two parts of a period are the whole."""
    shuffled = list(OCTOBER)
    Random(seed).shuffle(shuffled)
    curve = Curve.from_readings(sorted(shuffled, key=lambda reading: reading.starts_at))
    start, end, middle = date(2026, 10, 1), date(2026, 10, 31), date(2026, 10, 1) + timedelta(days=cut - 1)
    whole = BilledConsumption.of_curve(curve, BillPeriod(start=start, end=end, days=31))
    parts = [
        BilledConsumption.of_curve(curve, BillPeriod(start=start, end=middle, days=cut)),
        BilledConsumption.of_curve(
            curve, BillPeriod(start=middle + timedelta(days=1), end=end, days=31 - cut)
        )
        if cut < 31
        else BilledConsumption(energy_kwh=by_period(0, 0, 0)),
    ]
    assert sum(reading.energy_kwh for reading in OCTOBER) == whole.total_kwh
    assert np.array_equal(Curve.from_readings(OCTOBER).energy_nkwh, curve.energy_nkwh)
    for period in Period:
        assert whole.energy_kwh[period] == sum(part.energy_kwh[period] for part in parts)


OCTOBER: tuple[HourlyReading, ...] = simulate_household(until=date(2026, 10, 31), months=1)
"""A month with 745 hours."""
