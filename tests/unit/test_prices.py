"""Hourly PVPC prices: files, clocks, and what a curve costs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy import price_files
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import NANO, Curve, expected_hours, hour_number
from expert_bot.energy.formats import RejectedRow, parse_curve
from expert_bot.energy.formats.days import Edge
from expert_bot.energy.prices import HourlyPrices, energy_cost, parse_prices, read_prices
from expert_bot.errors import UsageError
from tests.unit.curve_files import readings_of

ZONES = list(TariffZone)


def by_hour(prices: HourlyPrices) -> dict[int, int]:
    """Return EUR/kWh in billionths by hour number."""
    return dict(zip(prices.start_hours.tolist(), prices.price_neur.tolist(), strict=True))


def csv_of(*rows: str, header: str = "datetime,price") -> list[bytes]:
    """Return a CSV file."""
    return ["\n".join([header, *rows]).encode()]


@pytest.fixture(scope="session")
def years(shared_data: Path) -> HourlyPrices:
    """Prices from June 2021 to February 2024, from the four CSV files."""
    lines = [b"datetime,price\n"]
    for path in sorted((shared_data / "energy" / "pvpc_es").glob("*.csv")):
        lines.extend(path.read_bytes().splitlines(keepends=True)[1:])
    return parse_prices(lines)


def esios(shared_data: Path, name: str, zone: TariffZone = TariffZone.PENINSULA) -> HourlyPrices:
    """Return the prices of a recorded answer."""
    return parse_prices([(shared_data / "energy" / "esios_samples" / f"{name}.json").read_bytes()], zone=zone)


def test_every_hour_of_the_files_has_one_price(years: HourlyPrices) -> None:
    """The labels of the CSV are the local clock: 23 hours on spring days, 25 on autumn days, none lost, none invented."""
    first, until = date(2021, 6, 1), date(2024, 2, 18)
    assert expected_hours(first, until) == len(years) == 23_809
    assert (first, until - timedelta(days=1)) == (years.first_day, years.last_day)
    assert np.all(np.diff(years.start_hours) == 1)


def check_toll_step(prices: HourlyPrices) -> None:
    """Check that on working days the price leaps where the toll of P1 begins, 10:00 and 18:00, and falls where it ends."""
    curve = Curve.of(prices.start_hours, prices.price_neur, np.zeros(len(prices), dtype=np.bool_))
    is_workday = np.isin((curve.local_days + 3) % 7, range(5))
    steps = np.diff(curve.energy_nkwh, prepend=curve.energy_nkwh[0]) / 1e6  # EUR/MWh
    leap = [
        float(steps[is_workday & (curve.local_hours == hour)].sum()) / is_workday.sum() * 24
        for hour in range(24)
    ]
    for hour in (10, 18):
        assert leap[hour] > max(leap[hour - 1], leap[hour + 1]) + 20
    for hour in (14, 22):
        assert leap[hour] < min(leap[hour - 1], leap[hour + 1]) - 20


def test_labels_are_the_local_start_of_the_hour(years: HourlyPrices) -> None:
    """In summer and in winter the step of the toll lies at 10:00 local time: neither UTC nor the END of the hour."""
    for first, until in ((date(2021, 6, 1), date(2021, 10, 1)), (date(2022, 11, 1), date(2023, 3, 1))):
        check_toll_step(years.between(first, until))


def test_labels_read_as_ends_are_noticed(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    """Read as END labels the steps of the toll would lie an hour early."""
    place = price_files.place
    monkeypatch.setattr(
        price_files, "place", lambda rows, *, zone, edge: place(rows, zone=zone, edge=Edge.END)
    )
    path = shared_data / "energy" / "pvpc_es" / "2021_costs.csv"
    with pytest.raises(AssertionError):
        check_toll_step(parse_prices([path.read_bytes()]))


@pytest.mark.parametrize("day", ["2021_06_01", "2021_10_30", "2021_10_31"])
def test_three_sources_have_the_same_prices(shared_data: Path, years: HourlyPrices, day: str) -> None:
    """CSV, indicator and archive agree to the hour, on the day of 25 hours too."""
    indicator = esios(shared_data, f"PRICES_ESIOS_1001_{day}")
    archive = esios(shared_data, f"PVPC_CURV_DD_{day}")
    assert by_hour(indicator) == by_hour(archive)
    known = by_hour(years)
    assert by_hour(indicator) == {hour: known[hour] for hour in indicator.start_hours.tolist()}
    assert (25 if day == "2021_10_31" else 24) == len(indicator)


def test_the_archive_of_a_spring_day_has_23_hours(shared_data: Path) -> None:
    """02-03 does not exist; the hours before and after it are neighbours."""
    prices = esios(shared_data, "PVPC_CURV_DD_2022_03_27")
    assert len(prices) == 23
    assert np.all(np.diff(prices.start_hours) == 1)


def test_each_zone_has_its_own_column(shared_data: Path) -> None:
    """Ceuta and Melilla pay other hours: at 10:00 the toll of the peninsula is P1, theirs is still P2."""
    at_ten = hour_number(datetime(2021, 6, 1, 8, tzinfo=UTC))
    for source in ("PRICES_ESIOS_1001_2021_06_01", "PVPC_CURV_DD_2021_06_01"):
        prices = {zone: by_hour(esios(shared_data, source, zone)).get(at_ten) for zone in ZONES}
        assert prices[TariffZone.PENINSULA] == prices[TariffZone.BALEARES] == 242_620_000
        assert prices[TariffZone.CEUTA] == prices[TariffZone.MELILLA] == 149_280_000


@pytest.mark.parametrize("day", ["2021_06_01", "2021_10_31"])
def test_the_canaries_pay_by_their_own_clock(shared_data: Path, day: str) -> None:
    """The n-th hour of the Canary day costs what the n-th hour of the peninsular day costs, an hour later by UTC."""
    mainland, islands = (
        esios(shared_data, f"PRICES_ESIOS_1001_{day}", zone)
        for zone in (TariffZone.PENINSULA, TariffZone.CANARIAS)
    )
    assert [hour + 1 for hour in mainland.start_hours.tolist()] == islands.start_hours.tolist()
    assert mainland.price_neur.tolist() == islands.price_neur.tolist()
    assert by_hour(mainland.on_clock_of(TariffZone.CANARIAS)) == by_hour(islands)
    assert by_hour(islands.on_clock_of(TariffZone.BALEARES)) == by_hour(mainland)
    assert islands.first_day == mainland.first_day


@pytest.mark.parametrize(
    ("expected", "rows", "header"),
    [
        pytest.param(116_330_000, "2021-06-01 10:00:00,0.11633", "datetime,price", id="as published"),
        pytest.param(116_330_000, "2021-06-01T10:00;0,11633", "datetime;precio", id="semicolon, comma"),
        pytest.param(116_330_000, "2021-06-01 10:00:00+02:00,116.33", "datetime,price_eur_mwh", id="offset, EUR/MWh"),
        pytest.param(116_330_000, "2021-06-01T08:00:00Z,x,116.33", "datetime,zone,price_eur_per_mwh", id="UTC, columns more"),
        pytest.param(116_330_000, '"2021-06-01 10:00:00";"0,11633"', '"datetime";"price"', id="quoted header"),
        pytest.param(116_330_000, "2021-06-01 10:00:00,0.11633,,", "datetime,price", id="separators behind rows"),
        pytest.param(116_330_000, "2021-06-01 10:00:00,0.11633", "datetime,price,,", id="separators behind the header"),
        pytest.param(-1_450_000, '"2021-06-01 10:00:00","-0.00145"', "datetime,price_eur_per_kwh", id="negative"),
    ],
)  # fmt: skip
def test_units_and_stamps_are_read(expected: int, rows: str, header: str) -> None:
    """Local or with an offset, EUR/kWh or EUR/MWh by the name of the column."""
    prices = parse_prices(csv_of(rows, header=header))
    assert {hour_number(datetime(2021, 6, 1, 8, tzinfo=UTC)): expected} == by_hour(prices)


def test_an_offset_tells_the_two_hours_of_autumn_apart() -> None:
    """Winter before summer in the file: the offset decides, not the order."""
    prices = parse_prices(csv_of("2021-10-31 02:00:00+01:00,0.2", "2021-10-31 02:00:00+02:00,0.1"))
    assert prices.price_neur.tolist() == [100_000_000, 200_000_000]


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        pytest.param("'2021-06-01 10:30:00' is not a time YYYY-MM-DD HH:00:00, on the hour", "2021-06-01 10:30:00,0.1", id="half"),
        pytest.param("'2021-06-01 24:00:00' is not a time YYYY-MM-DD HH:00:00, on the hour", "2021-06-01 24:00:00,0.1", id="24"),
        pytest.param("'2021-13-01 10:00:00+02:00' is not a time that exists", "2021-13-01 10:00:00+02:00,0.1", id="month"),
        pytest.param("'2021-06-01T10:00:00+05:45' is not on the hour by the clock of Madrid: its offset has minutes", "2021-06-01T10:00:00+05:45,0.1", id="offset with minutes"),
        pytest.param("'2021-06-01 10:00:00+0030' is not on the hour by the clock of Madrid: its offset has minutes", "2021-06-01 10:00:00+0030,0.1", id="half an hour"),
        pytest.param("has 3 columns, not 2", "2021-06-01 10:00:00,0.1,x", id="a column more"),
        pytest.param("datetime '2021-02-30' is not a date YYYY-MM-DD", "2021-02-30 10:00:00,0.1", id="day"),
        pytest.param("hora 2 does not exist on 2022-03-27, a day of 23 hours", "2022-03-27 02:00:00,0.1", id="hour that is skipped"),
        pytest.param("price '' is not a number such as 0.11633", "2021-06-01 10:00:00,", id="nothing"),
        pytest.param("price 116.33 EUR/kWh is beyond 10: is it in EUR/MWh?", "2021-06-01 10:00:00,116.33", id="EUR/MWh"),
        pytest.param("price '0.1234567891' is not a number such as 0.11633", "2021-06-01 10:00:00,0.1234567891", id="decimals"),
        pytest.param("has 1 columns, not 2", "2021-06-01 10:00:00", id="columns"),
        pytest.param("conflicting: line 2 has the same hour with 0.1 EUR/kWh, which is kept", "2022-03-27 01:00:00,0.2", id="conflict"),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_with_its_line_and_reason(reason: str, row: str) -> None:
    """One bad row costs one price."""
    # The 27th shows with hour 23 that it is read by the clock.
    parsed = read_prices(csv_of("2022-03-27 01:00:00,0.1", row, "2022-03-27 23:00:00,0.1"))
    assert (RejectedRow(3, reason),) == parsed.rejected
    assert (len(parsed.prices), parsed.rows_read) == (2, 3)


@pytest.mark.parametrize(
    ("reason", "element"),
    [
        pytest.param("is not an object", 7, id="number"),
        pytest.param("Hora '00-02' is not hours such as 00-01", {"Dia": "01/06/2021", "Hora": "00-02", "PCB": "1"}, id="two hours"),
        pytest.param("PCB null is not a number", {"Dia": "01/06/2021", "Hora": "01-02"}, id="no price"),
        pytest.param("Dia 'None' is not a date YYYY/MM/DD or DD/MM/YYYY", {"Hora": "01-02", "PCB": "1"}, id="no day"),
    ],
)  # fmt: skip
def test_a_bad_element_of_the_archive_is_rejected(reason: str, element: object) -> None:
    """In JSON the number of the element takes the place of the line."""
    good = {"Dia": "01/06/2021", "Hora": "00-01", "PCB": "116,33", "CYM": "1"}
    parsed = read_prices([json.dumps({"PVPC": [good, element]}).encode()])
    assert (RejectedRow(2, reason),) == parsed.rejected
    assert parsed.prices.price_neur.tolist() == [116_330_000]


def indicator(**members: Any) -> list[bytes]:
    """Return an answer with one value of the peninsula, and what else is given."""
    value = {"value": 116.33, "datetime": "2021-06-01T10:00:00.000+02:00", "geo_id": 8741}
    return [
        json.dumps(
            {"indicator": {"id": 1001, "values": [value, "text", {**value, "value": None}], **members}}
        ).encode()
    ]


def test_a_price_finer_than_it_can_be_held_is_rejected() -> None:
    """EUR/MWh with seven decimals would be EUR/kWh with ten."""
    parsed = read_prices(csv_of("2021-06-01 10:00:00,116.3300001", header="datetime,price_eur_mwh"))
    assert [row.reason for row in parsed.rejected] == [
        "price '116.3300001' has more than 9 decimals of EUR/kWh"
    ]


def test_a_bad_value_of_the_indicator_is_rejected() -> None:
    """Null values and elements that are no objects cost themselves only."""
    parsed = read_prices(indicator())
    assert [row.reason for row in parsed.rejected] == ["is not an object", "value null is not a number"]
    assert parsed.prices.price_neur.tolist() == [116_330_000]


@pytest.mark.parametrize(
    ("message", "source"),
    [
        pytest.param("the file is no file of prices; known: CSV datetime,price", [b"a,b\n1,2\n"], id="other CSV"),
        pytest.param("the file is no file of prices", [b""], id="empty"),
        pytest.param("the file is no file of prices", [b'"datetime;price\n'], id="open quote"),
        pytest.param("the file is no file of prices", [b"datetime;price\0\n"], id="NUL"),
        pytest.param("begins like JSON, but is not", [b"{"], id="half JSON"),
        pytest.param("holds no prices", [b'{"timeCurve": []}'], id="other JSON"),
        pytest.param("holds ESIOS indicator '10211', not 1001", indicator(id=10211), id="other indicator"),
        pytest.param(r"no prices of peninsula \(geo_id 8741\)", indicator(values=[{"geo_id": 3}]), id="other place"),
        pytest.param("none of the 1 prices of the file can be used; row 2: price 'x'", csv_of("2021-06-01 10:00:00,x"), id="nothing usable"),
    ],
)  # fmt: skip
def test_an_unknown_file_is_refused(message: str, source: list[bytes]) -> None:
    """The message says what was found and what is known."""
    with pytest.raises(UsageError, match=message):
        parse_prices(source)


def test_too_many_prices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of more than twenty years of hours is no file of prices."""
    monkeypatch.setattr(price_files, "MAX_ROWS", 1)
    with pytest.raises(UsageError, match="more than 1 prices"):
        read_prices(csv_of("2021-06-01 10:00:00,0.1", "2021-06-01 11:00:00,0.1"))


def test_a_month_of_a_real_home_costs_this(shared_data: Path, years: HourlyPrices) -> None:
    """October 2022 with its 25-hour day: every hour has its price, and the sum is that of a slow loop."""
    home = parse_curve([(shared_data / "energy" / "households_es" / "home_4.csv").read_bytes()])
    curve = Curve.from_readings(home.readings).between(date(2022, 10, 1), date(2022, 11, 1))
    cost = energy_cost(curve, years)
    known = by_hour(years)
    slow = sum(
        (
            reading.energy_kwh * Decimal(known[hour_number(reading.starts_at)]).scaleb(-9)
            for reading in home.readings
            if (reading.local_date.year, reading.local_date.month) == (2022, 10)
        ),
        Decimal(0),
    )
    assert (slow, 745, 0, Decimal(0)) == (cost.eur, cost.priced_hours, cost.missing_hours, cost.missing_kwh)
    assert Decimal("58.36301355") == cost.eur


def flat(hours: int, *, start: int = 500_000, price: int = 10 * NANO) -> HourlyPrices:
    """Return the same price for consecutive hours."""
    numbers = np.arange(start, start + hours, dtype=np.int64)
    return HourlyPrices(
        zone=TariffZone.PENINSULA, start_hours=numbers, price_neur=np.full(hours, price, dtype=np.int64)
    )


def test_a_cost_is_exact_where_64_bits_are_not() -> None:
    """A thousand kWh in each of 9000 hours at 10 EUR are 90 million EUR, to the last digit."""
    numbers = np.arange(500_000, 509_000, dtype=np.int64)
    curve = Curve.of(numbers, np.full(9000, 1000 * NANO, dtype=np.int64), np.zeros(9000, dtype=np.bool_))
    assert Decimal(90_000_000) == energy_cost(curve, flat(9000)).eur
    assert Decimal(89999991) == energy_cost(curve, flat(9000, price=10 * NANO - 1_000)).eur


@given(st.integers(min_value=0, max_value=30), st.integers(min_value=0, max_value=30))
def test_hours_without_a_price_are_counted_not_guessed(before: int, count: int) -> None:
    """Priced and missing hours add up to the curve's; the energy of missing ones is named."""
    numbers = np.arange(500_000, 500_020, dtype=np.int64)
    curve = Curve.of(numbers, np.full(20, NANO, dtype=np.int64), np.zeros(20, dtype=np.bool_))
    cost = energy_cost(curve, flat(count, start=500_000 - before, price=NANO))
    priced = max(min(count - before, 20), 0)
    assert (priced, 20 - priced, Decimal(20 - priced), Decimal(priced)) == (
        cost.priced_hours,
        cost.missing_hours,
        cost.missing_kwh,
        cost.eur,
    )


def test_prices_are_matched_by_the_hour_of_the_local_clock() -> None:
    """Ten o'clock of the islands at the published price of ten o'clock."""
    day = date(2023, 4, 3)
    readings = readings_of(day, day, zone=TariffZone.CANARIAS)
    curve = Curve.from_readings(readings, zone=TariffZone.CANARIAS)
    prices = parse_prices(csv_of(*[f"2023-04-03 {hour:02d}:00:00,0.{hour:03d}" for hour in range(24)]))
    by_label = sum((r.energy_kwh * Decimal(r.local_hour).scaleb(-3) for r in readings), Decimal(0))
    assert by_label == energy_cost(curve, prices).eur
    assert energy_cost(curve, prices).missing_hours == 0


def test_prices_of_africa_are_not_those_of_the_peninsula() -> None:
    """A home in Ceuta is not costed with prices of the peninsula."""
    readings = readings_of(date(2023, 4, 3), date(2023, 4, 3), zone=TariffZone.CEUTA)
    with pytest.raises(ValueError, match="load the prices of ceuta"):
        energy_cost(Curve.from_readings(readings, zone=TariffZone.CEUTA), flat(5))
