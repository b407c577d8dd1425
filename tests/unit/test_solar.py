"""Panels on a home's roof: self-use by the hour, the surplus cap, costs, payback; checked against a metered home."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.marginal import means_of_hours
from expert_bot.energy.analyses.sun import solar, solar_yield
from expert_bot.energy.analyses.sun.solar import Flows, SolarStudy, simulate_flows, study_solar
from expert_bot.energy.analyses.sun.solar_report import solar_report
from expert_bot.energy.analyses.sun.solar_yield import Province, Roof, hourly_yield
from expert_bot.energy.analyses.year import YearOfReadings, last_year
from expert_bot.energy.bill.money import cents
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve, Floats, Ints, hour_number
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.advice_world import NO_TAXES, UNSETTLED, curve_of, flat_price, prices, terms, year_of
from tests.unit.bill_world import fixed

MADRID = Roof.in_province("Madrid")
NOON = np.arange(365 * 24) % 24 == 12


def home(noon_kwh: float, other_kwh: float) -> YearOfReadings:
    """Return 2023 with one energy from 12 to 13 by winter time and one in all other hours."""
    return year_of(np.where(NOON, noon_kwh, other_kwh))


@pytest.fixture
def noon_sun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sun make one kWh per kWp at the position of noon, and nothing else."""
    monkeypatch.setattr(solar, "hourly_yield", lambda _roof, hours: NOON[: len(hours)].astype(float))


def flows(year: YearOfReadings, *sizes: str, price: str = "0.20", surplus: str = "0.05") -> tuple[Flows, ...]:
    """Simulate sizes at one price."""
    return simulate_flows(
        year,
        MADRID,
        prices=flat_price(price),
        surplus_eur_per_kwh=Decimal(surplus),
        sizes_kwp=[Decimal(size) for size in sizes],
    )


def check_uncapped() -> None:
    """0.4 of each noon's kWh are used, 0.6 sold: 146 kWh x 0.20 and 219 kWh x 0.05 EUR."""
    (found,) = flows(home(0.4, 0.1), "1")
    assert tuple(map(str, (found.production_kwh, found.self_used_kwh, found.surplus_kwh))) == (
        "365",
        "146",
        "219",
    )
    assert tuple(map(str, (found.saved_eur, found.credit_eur, found.capped_eur))) == (
        "29.20",
        "10.95",
        "0.00",
    )


def check_cap() -> None:
    """Only 1.68 EUR a year can be credited, not 10.95, where a home buys 0.001 kWh an hour outside noon."""
    (found,) = flows(home(0.4, 0.001), "1")
    assert (str(found.credit_eur), str(found.capped_eur)) == ("1.68", "9.27")


def check_months_are_capped_alone() -> None:
    """Credit comes in January only, 31 x 0.6 x 0.05 EUR, where a home is empty from February on."""
    used = np.where(NOON, 0.4, 0.1)
    used[31 * 24 :] = 0.0
    (found,) = flows(year_of(used), "1")
    assert str(found.credit_eur) == "0.93"


@pytest.mark.usefixtures("noon_sun")
@pytest.mark.parametrize("check", [check_uncapped, check_cap])
def test_a_year_by_hand(check: Callable[[], None]) -> None:
    """The worked examples come out to the cent."""
    check()


def no_cap(worth: Ints, _energy_term: Ints) -> Ints:
    """Pay for all surplus."""
    return worth


def cap_of_the_year(worth: Ints, energy_term: Ints) -> Ints:
    """Cap the year's credit instead of each month's."""
    total = min(int(worth.sum()), int(energy_term.sum()))
    return np.array([total] + [0] * (len(worth) - 1), dtype=np.int64)


@pytest.mark.usefixtures("noon_sun")
@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        pytest.param(no_cap, check_cap, id="no-cap"),
        pytest.param(lambda worth, _term: worth * 0, check_uncapped, id="no-credit"),
        pytest.param(cap_of_the_year, check_months_are_capped_alone, id="cap-of-the-year"),
    ],
)
def test_mistakes_with_the_cap_are_found(
    monkeypatch: pytest.MonkeyPatch, mistake: object, check: Callable[[], None]
) -> None:
    """A dropped or wrongly placed cap turns a check red."""
    monkeypatch.setattr(solar, "cap_credit", mistake)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.usefixtures("noon_sun")
def test_months_are_capped_one_by_one() -> None:
    """What January could have paid for is not carried into July."""
    check_months_are_capped_alone()


@pytest.mark.parametrize(
    ("noons", "days"), [pytest.param(31, 45, id="in-the-end"), pytest.param(62, 90, id="in-between")]
)
def test_a_month_of_which_only_night_was_read_adds_nothing(
    monkeypatch: pytest.MonkeyPatch, noons: int, days: int
) -> None:
    """Three hours of February have no sun: each noon of January and March saves 0.08 EUR and is credited 0.03."""
    monkeypatch.setattr(solar, "hourly_yield", lambda _roof, hours: (hours % 24 == 11).astype(float))
    used = np.where(NOON, 0.4, 0.1)
    used[31 * 24 : 59 * 24] = 9.0  # much to credit against, if it were another month's
    curve = curve_of(used[: days * 24 - 1])  # the hour after that is one of April, by summer time
    hours = np.arange(len(curve))
    year = last_year(curve.where((hours < 31 * 24 + 3) | (hours >= 59 * 24)), at_least_hours=1)
    (found,) = flows(year, "1")
    assert cents(noons * Decimal("0.08") * year.to_year) == found.saved_eur
    assert cents(noons * Decimal("0.03") * year.to_year) == found.credit_eur


CURVES = st.lists(st.integers(0, 6000).map(lambda wh: wh / 1000), min_size=24, max_size=24)


@given(day=CURVES, size=st.decimals("0.1", "20", places=2), more=st.decimals("0", "20", places=2))
def test_more_sun_never_lowers_what_is_used(day: list[float], size: Decimal, more: Decimal) -> None:
    """A larger roof uses and saves at least as much; self-use never exceeds production nor consumption."""
    year = year_of(np.tile(day, 62))
    small, large = flows(year, str(size), str(size + more))
    consumed = year.curve.total_kwh() * year.to_year
    for each in (small, large):
        assert each.self_used_kwh + each.surplus_kwh == each.production_kwh
        assert Decimal(0) <= each.self_used_kwh <= each.production_kwh
        assert each.self_used_kwh <= consumed + 1
        assert Decimal(0) <= each.credit_eur <= consumed * Decimal("0.2") - each.saved_eur + Decimal("0.05")
    assert small.self_used_kwh <= large.self_used_kwh
    assert small.saved_eur <= large.saved_eur
    assert small.production_kwh <= large.production_kwh


def study(year: YearOfReadings, **changes: object) -> SolarStudy:
    """Study a roof in Madrid at 15 cents without taxes, unless told otherwise."""
    arguments = {
        "prices": flat_price("0.15"),
        "taxes": NO_TAXES,
        "surplus_eur_per_kwh": Decimal("0.06"),
        **changes,
    }
    return study_solar(year, MADRID, **arguments)  # type: ignore[arg-type]  # the arguments are those of the function


@pytest.mark.usefixtures("noon_sun")
def test_cost_and_payback_by_hand() -> None:
    """A kWp costs 1,750 to 2,950 EUR and saves 40.15 EUR in a usual year; the yield may be 8 % lower or higher."""
    (size,) = study(
        home(0.4, 0.1), prices=flat_price("0.20"), surplus_eur_per_kwh=Decimal("0.05"), sizes_kwp=[Decimal(1)]
    ).sizes
    assert tuple(map(str, (size.saving_eur_low, size.saving_eur, size.saving_eur_high))) == (
        "38.69",
        "40.15",
        "41.61",
    )
    assert (str(size.cost_eur_low), str(size.cost_eur_high)) == ("1750.00", "2950.00")
    assert (str(size.payback_years_low), str(size.payback_years_high)) == ("42.1", "76.2")


def test_a_best_size_is_chosen_only_if_one_pays() -> None:
    """At a usual price a home of 3,500 kWh gets a size; at no price it gets none, and no payback."""
    year = home(0.8, 0.38)
    best = study(year).best
    assert best is not None
    assert Decimal(1) < best.size_kwp < Decimal(8)
    nothing = study(year, prices=flat_price("0"), surplus_eur_per_kwh=Decimal(0))
    assert nothing.best is None
    assert all(size.payback_years_low is None for size in nothing.sizes)


def test_the_best_size_gains_most_over_the_horizon() -> None:
    """Over 15 years, its saving less the middle of its cost is the highest of all sizes."""
    found = study(home(0.8, 0.38))
    gains = {
        size.size_kwp: size.saving_eur * 15 - (size.cost_eur_low + size.cost_eur_high) / 2
        for size in found.sizes
    }
    assert found.best is not None
    assert max(gains.values()) == gains[found.best.size_kwp]


def test_an_unsettled_law_widens_the_range() -> None:
    """Between both readings of November 2026 lie 15 %."""
    known = terms(fixed("0.15"), on=UNSETTLED)
    size = study(home(0.4, 0.3), taxes=known.taxes, sizes_kwp=[Decimal(2)]).sizes[0]
    assert size.saving_eur_low < size.saving_eur < size.saving_eur_high
    assert size.saving_eur_high > Decimal("1.15") * size.saving_eur_low


def test_noon_prices_count_at_noon() -> None:
    """With P1 dearer than P3, panels save more than at P3's price alone, less than at P1's."""
    low, middle, high = (
        study(home(0.4, 0.3), prices=price, sizes_kwp=[Decimal(1)]).sizes[0].flows.saved_eur
        for price in (flat_price("0.1"), prices("0.3", "0.2", "0.1"), flat_price("0.3"))
    )
    assert low < middle < high


def test_hourly_prices_count_hour_by_hour() -> None:
    """A PVPC that costs 1 EUR at noon and 10 cents else is what each kWh of sun saves."""
    year = home(0.4, 0.3)
    hours = year.curve.start_hours
    hourly = HourlyPrices(
        zone=TariffZone.PENINSULA,
        start_hours=hours,
        price_neur=np.where(NOON, 10**9, 10**8).astype(np.int64),
    )
    found = means_of_hours(hourly, year.curve)
    assert found is not None
    assert np.array_equal(hourly.price_neur, found.of_hours(year.curve))
    assert Decimal("0.1") < found.eur_per_kwh[Period.P1] < Decimal(1)
    assert means_of_hours(hourly.between(None, year.first), year.curve) is None


def test_homes_with_panels_are_refused() -> None:
    """Their curve shows what is left after the sun, not what they use."""
    year = home(0.4, 0.3)
    curve = year.curve
    fed = Curve.of(
        curve.start_hours, curve.energy_nkwh, curve.estimated, surplus_nkwh=np.full(len(curve), 10**6)
    )
    with pytest.raises(UsageError, match="feeds energy into the grid already"):
        study(last_year(fed, at_least_hours=8000))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sizes_kwp": []}, id="no-size"),
        pytest.param({"sizes_kwp": [Decimal(0)]}, id="size-0"),
        pytest.param({"sizes_kwp": [Decimal(101)]}, id="size-101"),
        pytest.param({"surplus_eur_per_kwh": Decimal(-1)}, id="negative-price"),
    ],
)
def test_sizes_and_prices_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="must be"):
        study(home(0.4, 0.3), **changes)


def test_the_report_says_what_it_rests_on() -> None:
    """Yield, cost and their confidence; decimals as text."""
    report = solar_report(study(home(0.8, 0.38)))
    facts = {fact.id: fact for fact in report.facts}
    assert facts["solar_size"].unit == "kWp"
    assert "confidence C" in facts["solar_production"].source
    assert "RD 244/2019" in facts["solar_saving_low"].source
    assert report.result["best"] in report.result["sizes"]  # type: ignore[operator]  # nested JSON


def metered_home(shared_data: Path) -> tuple[Ints, Floats, Floats]:
    """Return hours, load and production in kWh of a French home; its inverter says nothing at night, which is 0."""
    halves: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    with (shared_data / "energy" / "solar_home_fr_30min.csv").open() as file:
        for row in csv.DictReader(file):
            load, made = row["sensor.power_load_no_var_loads"], row["sensor.power_photovoltaics"]
            if load:
                hour = hour_number(datetime.fromisoformat(row["utc"]))
                halves[hour].append((float(load) / 1000, float(made or 0) / 1000))
    whole = {hour: np.mean(values, axis=0) for hour, values in sorted(halves.items()) if len(values) == 2}
    energy = np.array(list(whole.values()))
    return np.array(list(whole), dtype=np.int64), energy[:, 0], energy[:, 1]


def simulated_share(hours: Ints, load: Floats, made: Floats) -> float:
    """Return the self-used share of panels that make the home's monthly energy, by the model of this project."""
    months = (hours // 24).astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
    month_kwh = np.array([made[months == month].mean() for month in range(12)]) * np.array(
        [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    )
    size_kwp = 5.5  # its highest half hour is 4.4 kW
    province = Province(
        name="France",
        latitude_deg=44.0,
        longitude_deg=1.0,
        yield_kwh_per_kwp=Decimal(repr(float(24 * month_kwh.sum() / size_kwp))),
        reference_tilt_deg=35.0,
        month_shares=tuple((month_kwh / month_kwh.sum()).tolist()),
    )
    simulated = hourly_yield(Roof(province=province), hours)
    simulated *= made.sum() / simulated.sum()
    return float(np.minimum(simulated, load).sum() / simulated.sum())


def test_self_use_is_that_of_a_metered_home(shared_data: Path) -> None:
    """A French home used 41.3 % of its sun within the same hour; simulated from monthly energy, it is within two points."""
    hours, load, made = metered_home(shared_data)
    metered = float(np.minimum(made, load).sum() / made.sum())
    assert pytest.approx(metered, abs=0.001) == 0.413
    assert simulated_share(hours, load, made) == pytest.approx(metered, abs=0.02)


def test_without_weather_self_use_would_be_too_high(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all days of a month alike the same home would seem to use 47 %: days must differ."""
    hours, load, made = metered_home(shared_data)
    monkeypatch.setattr(solar_yield, "_clearness_of_days", lambda count, _mean, first: np.ones(count))
    solar_yield._yield_by_day.cache_clear()
    try:
        share = simulated_share(hours, load, made)
    finally:
        solar_yield._yield_by_day.cache_clear()
    assert share > 0.46
