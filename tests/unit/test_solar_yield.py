"""Yields of panels: the table of provinces, the sun's hours, tilts and orientations."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from expert_bot.energy.analyses.sun.solar_yield import (
    Roof,
    find_province,
    hourly_yield,
    load_yields,
    year_yield_kwh_per_kwp,
)
from expert_bot.energy.curve import Ints, hour_number
from expert_bot.errors import UsageError

NAMES = load_yields().names


def hours_of(year: int) -> Ints:
    """Return all hours of a UTC year."""
    start, end = (hour_number(datetime(each, 1, 1, tzinfo=UTC)) for each in (year, year + 1))
    return np.arange(start, end, dtype=np.int64)


def test_every_province_has_a_row() -> None:
    """Fifty provinces, Ceuta and Melilla."""
    assert 52 == len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_a_year_makes_what_the_table_says(name: str) -> None:
    """At the reference plane 365 days sum to the table, month by month too."""
    province = find_province(name)
    roof = Roof(province=province, tilt_deg=province.reference_tilt_deg)
    assert province.yield_kwh_per_kwp == year_yield_kwh_per_kwp(roof)
    hours = hours_of(2023)
    made = hourly_yield(roof, hours)
    months = (hours // 24).astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
    shares = [made[months == month].sum() / made.sum() for month in range(12)]
    assert np.allclose(province.month_shares, shares)


def test_yields_are_plausible() -> None:
    """The north makes 1,100 to 1,400 kWh, the south and the islands more; nothing is outside what Spain has."""
    yields = {name: int(find_province(name).yield_kwh_per_kwp) for name in NAMES}
    assert 1100 <= min(yields.values()) <= max(yields.values()) <= 1750
    assert max(yields[name] for name in ("Vizcaya", "Asturias", "Cantabria", "Lugo")) < 1300
    assert min(yields[name] for name in ("Sevilla", "Almería", "Murcia", "Las Palmas")) > 1600


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        pytest.param("Vizcaya", "BIZKAIA", id="other-language"),
        pytest.param("Ávila", "avila", id="no-accent"),
        pytest.param("Illes Balears", " palma de  mallorca", id="capital"),
        pytest.param("Álava", "Vitoria-Gasteiz", id="hyphen"),
        pytest.param("Santa Cruz de Tenerife", "tenerife", id="island"),
        pytest.param("A Coruña", "Coruña, A", id="article-behind"),
        pytest.param("Las Palmas", "Palmas, Las", id="long-article-behind"),
        pytest.param("La Rioja", "Rioja, La", id="article-of-the-north"),
        pytest.param("Álava", "Araba/Álava", id="two-languages-basque"),
        pytest.param("Valencia", "Valencia/València", id="two-languages-valencian"),
        pytest.param("Alicante", "Alicante/Alacant", id="two-languages-different"),
        pytest.param("Castellón", "Castellón/Castelló", id="two-languages-alike"),
    ],
)
def test_people_write_provinces_in_many_ways(expected: str, name: str) -> None:
    """Case, accents, languages, capitals and the order of the statistics office do not matter."""
    assert expected == find_province(name).name


def test_an_unknown_province_lists_the_known_ones() -> None:
    """The message shows what is allowed."""
    with pytest.raises(UsageError, match="no province 'Atlantis'; known: A Coruña, Álava"):
        find_province("Atlantis")


def test_nothing_is_made_at_night_and_most_at_noon() -> None:
    """In Madrid the sun is highest a quarter past noon UTC; before 4 and after 20 UTC there is none."""
    made = hourly_yield(Roof.in_province("Madrid"), hours_of(2023)).reshape(365, 24)
    assert not made[:, :4].any()
    assert not made[:, 20:].any()
    centre = (made.sum(axis=0) * (np.arange(24) + 0.5)).sum() / made.sum()
    assert 12.1 < centre < 12.4
    assert 0.6 < made.max() < 1.0


def test_the_sun_rises_later_in_the_west() -> None:
    """Vigo is twelve degrees west of Girona: 48 minutes."""

    def centre(name: str) -> float:
        made = hourly_yield(Roof.in_province(name), hours_of(2023)).reshape(365, 24).sum(axis=0)
        return float((made * np.arange(24)).sum() / made.sum())

    assert 0.7 < centre("Vigo") - centre("Girona") < 0.8


def test_orientation_matters_as_it_should() -> None:
    """South is best, east and west are equal and worse, north is worst; a wall makes less than a roof."""

    def year(tilt: float, azimuth: float) -> int:
        return int(year_yield_kwh_per_kwp(Roof.in_province("Madrid", tilt_deg=tilt, azimuth_deg=azimuth)))

    assert year(30, 0) > year(30, 45) > year(30, 90) > year(30, 180)
    assert abs(year(30, 90) - year(30, -90)) <= 1
    assert year(35, 0) > year(0, 0) > year(90, 0)
    assert 0.85 < year(0, 0) / year(35, 0) < 0.90


def test_east_roofs_make_their_energy_in_the_morning() -> None:
    """Before noon an east roof makes more than a west roof."""
    hours = hours_of(2023)
    east, west = (
        hourly_yield(Roof.in_province("Madrid", azimuth_deg=azimuth), hours).reshape(365, 24)[:, :10].sum()
        for azimuth in (-90.0, 90.0)
    )
    assert east > 1.5 * west


def test_every_day_of_a_leap_year_has_sun() -> None:
    """29 February has a row of its own, and moves no other day."""
    leap = hourly_yield(Roof.in_province("Madrid"), hours_of(2024)).reshape(366, 24)
    common = hourly_yield(Roof.in_province("Madrid"), hours_of(2023)).reshape(365, 24)
    assert leap[59].sum() > 0
    assert np.array_equal(np.delete(leap, 59, axis=0), common)


def test_days_differ_as_weather_does() -> None:
    """Madrid's December has dull and bright days; its July hardly any dull ones."""
    by_day = hourly_yield(Roof.in_province("Madrid"), hours_of(2023)).reshape(365, 24).sum(axis=1)
    december, july = by_day[334:], by_day[181:212]
    assert december.max() > 1.3 * december.mean()
    north = hourly_yield(Roof.in_province("Bilbao"), hours_of(2023)).reshape(365, 24).sum(axis=1)[181:212]
    assert north.std() / north.mean() > 1.5 * july.std() / july.mean()


@pytest.mark.parametrize(
    ("tilt", "azimuth"), [pytest.param(-1, 0, id="tilt"), pytest.param(30, 181, id="azimuth")]
)
def test_angles_that_cannot_be_are_refused(tilt: float, azimuth: float) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="must be"):
        Roof.in_province("Madrid", tilt_deg=tilt, azimuth_deg=azimuth)
