"""Consumption files of every layout: the same readings from each of them, and each trap on its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.formats import (
    Layout,
    Maximum,
    ParsedCurve,
    RejectedRow,
    csv_rows,
    edges,
    parse_curve,
    placing,
)
from expert_bot.energy.formats.cells import RowError
from expert_bot.energy.formats.csv_layouts import CsvLayout
from expert_bot.energy.formats.days import Counting, Edge
from expert_bot.energy.readings import HourlyReading, ReadingMethod
from expert_bot.errors import UsageError
from tests.unit.curve_files import CANARY, CUPS, DAYS, every_file, i_de, labelled, readings_of

EDISTRIBUCION = "CUPS;Fecha;Hora;AE_kWh;AS_KWh;AE_AUTOCONS_kWh;REAL/ESTIMADO"
DATADIS = "CUPS;Fecha;Hora;consumo_kWh;metodoObtencion;energiaVertida_kWh;energiaGenerada_kWh;energiaAutoconsumida_kWh"
CNMC = "CUPS;Fecha;Hora;Consumo;Metodo_obtencion"
I_DE = "CUPS;FechaHora;CONSUMO Wh;GENERACION Wh"


def parse(*lines: str, zone: TariffZone = TariffZone.PENINSULA) -> ParsedCurve:
    """Parse lines of text."""
    return parse_curve(["\n".join(lines).encode()], zone=zone)


def kwh_by_start(curve: ParsedCurve) -> list[tuple[str, str]]:
    """Return UTC day and hour, and kWh, of each reading."""
    return [(f"{reading.starts_at:%d %H}", str(reading.energy_kwh)) for reading in curve.readings]


def known(readings: Sequence[HourlyReading]) -> list[tuple[datetime, Decimal, ReadingMethod, date, int, str]]:
    """Return what every layout can hold of readings."""
    return [
        (r.starts_at, r.energy_kwh, r.method, r.local_date, r.local_hour, r.period.value) for r in readings
    ]


def check_every_layout(seed: int = 1) -> None:
    """Check that the same readings come out of every layout, whichever way its hours are labelled."""
    for name, (first, last) in DAYS.items():
        readings = readings_of(first, last, seed=seed)
        for layout, way, content in every_file(readings):
            curve = parse_curve([content])
            assert (known(readings), ()) == (known(curve.readings), curve.notes), (name, layout, way)
            totals = 1 if curve.layout is Layout.E_DISTRIBUCION else 0
            assert (layout, len(readings) + totals, totals) == (
                curve.layout,
                curve.rows_read,
                len(curve.rejected),
            )


@settings(max_examples=5)
@given(st.integers(min_value=2, max_value=10_000))
def test_every_layout_holds_the_same_readings(seed: int) -> None:
    """One curve over ordinary, 23-hour and 25-hour days is the same from every layout and way of labelling."""
    check_every_layout(seed)


def test_every_layout_reads_the_canary_clock() -> None:
    """With the zone Canarias labels are the clock of the islands, whose second hour in autumn is 1:00."""
    for first, last in DAYS.values():
        readings = readings_of(first, last, zone=TariffZone.CANARIAS)
        for layout, way, content in every_file(readings, CANARY):
            curve = parse_curve([content], zone=TariffZone.CANARIAS)
            assert known(readings) == known(curve.readings), (layout, way)


class ReadAsEnd:
    """An `edge` that calls every label an END."""

    def __get__(self, *_: object) -> Edge:
        return Edge.END


def kwh_for_wh(text: str, *, name: str, in_wh: bool = False) -> Decimal:
    """Take Wh for kWh."""
    return min(Decimal(text.replace(",", ".")), Decimal(1000))


def comma_for_thousands(text: str, *, name: str, in_wh: bool = False) -> Decimal:
    """Take a decimal comma for a separator of thousands."""
    return Decimal(text.replace(",", "")).scaleb(-3 if in_wh else 0)


MUTANTS: dict[str, tuple[object, str, object]] = {
    "START labels read as END": (CsvLayout, "edge", ReadAsEnd()),
    "Wh read as kWh": (csv_rows, "parse_energy", kwh_for_wh),
    "comma taken for thousands": (csv_rows, "parse_energy", comma_for_thousands),
    "days always by the clock": (placing, "counting_of", lambda *_, **__: Counting.CLOCK),
    "days always through": (placing, "counting_of", lambda *_, **__: Counting.THROUGH),
    "24 o'clock forgotten": (edges, "DAY_MIN", 0),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_rule_is_noticed(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    """Each rule, turned wrong, gives other readings than were written."""
    owner, name, wrong = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, wrong)
    check = check_midnight if name == "DAY_MIN" else check_every_layout
    with pytest.raises(AssertionError):
        check()


def check_midnight() -> None:
    """Check that 00:00 in a layout of END labels is the end of the day before."""
    curve = parse(DATADIS, f"{CUPS};2024/01/02;00:00;0,120;REAL;;;")
    assert kwh_by_start(curve) == [("01 22", "0.120")]


def test_midnight_is_the_end_of_the_day_before() -> None:
    """Datadis hands out 00:00 of some distributors where others have 24:00: both are the last hour."""
    check_midnight()
    assert kwh_by_start(parse(DATADIS, f"{CUPS};2024/01/01;24:00;0,120;REAL;;;")) == [("01 22", "0.120")]
    answer = json.dumps({"timeCurve": [datadis(date="2024/01/02", time="00:00")]}).encode()
    assert kwh_by_start(parse_curve([answer])) == [("01 22", "0.1")]


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random: Random) -> None:
    """Shuffled rows give the same readings, and rows written twice are duplicates."""
    readings = readings_of(date(2023, 4, 1), date(2023, 4, 2))
    header, *rows = next(
        content for layout, _, content in every_file(readings) if layout == "datadis_web_csv"
    ).splitlines(keepends=True)
    shuffled = rows * 2
    random.shuffle(shuffled)
    curve = parse_curve([header, *shuffled])
    assert known(readings) == known(curve.readings)
    assert len(rows) == len(curve.rejected)
    assert all(row.reason.startswith("duplicate: line ") for row in curve.rejected)


@pytest.mark.parametrize(
    ("layout", "hours_read", "name"),
    [
        pytest.param(Layout.CNMC, 2, "cnmc_curva.csv", id="CNMC"),
        pytest.param(Layout.DATADIS_API, 1, "datadis_consumption_v2.json", id="Datadis API"),
        pytest.param(Layout.DATADIS_API, 0, "datadis_maxpower_v2.json", id="Datadis maximum"),
        pytest.param(Layout.DATADIS_WEB, 2, "datadis_web.csv", id="Datadis web"),
        pytest.param(Layout.E_DISTRIBUCION, 3, "edistribucion.csv", id="e-distribucion"),
        pytest.param(Layout.I_DE, 2, "ide_bruto.csv", id="i-DE"),
    ],
)
def test_each_sample_is_known_by_its_content(
    shared_data: Path, layout: Layout, hours_read: int, name: str
) -> None:
    """Every sample file is read without rejects, and its supply point is found."""
    curve = parse_curve([(shared_data / "energy" / "formats" / name).read_bytes()])
    assert (layout, hours_read, (), CUPS, ()) == (
        curve.layout,
        len(curve.readings),
        curve.rejected,
        curve.cups,
        curve.notes,
    )


def test_a_real_month_of_2020_is_read_to_the_watt_hour(shared_data: Path) -> None:
    """The curve of a bill of 2020 adds up to what was billed; its invented CUPS is noted, and no row is lost."""
    path = shared_data / "energy" / "pvpcbill_2020" / "consumo_facturado18_02_2020-18_03_2020-R.csv"
    curve = parse_curve([path.read_bytes()])
    assert (len(curve.readings), curve.layout) == (720, Layout.CNMC)
    assert Decimal("472.93") == round(sum(reading.energy_kwh for reading in curve.readings), 2)
    assert len(curve.notes) == 1
    assert "check letters" in curve.notes[0]


def test_a_file_of_i_de_may_label_ends() -> None:
    """Labels that run to 24:00 and never begin with 0:00 are ENDs, whatever the layout usually has."""
    rows = [f"{CUPS};01/01/2024 {label:02d}:00;{label};0" for label in range(1, 25)]
    assert kwh_by_start(parse(I_DE, *rows))[::23] == [("31 23", "0.001"), ("01 22", "0.024")]
    starts = [f"{CUPS};01/01/2024 {label:02d}:00;{label};0" for label in range(24)]
    assert kwh_by_start(parse(I_DE, *starts))[::23] == [("31 23", "0.000"), ("01 22", "0.023")]


def test_the_season_tells_the_two_hours_of_autumn_apart() -> None:
    """A column INV / VER says which of the two hours 2 a row is, so that their order does not matter."""
    header = "CUPS;FECHA-HORA;INV / VER;CONSUMO Wh;GENERACION Wh;"
    winter, summer = (f"{CUPS};2022/10/30 02:00;{season};{season + 1};0;" for season in (0, 1))
    assert kwh_by_start(parse(header, winter, summer)) == [("30 00", "0.002"), ("30 01", "0.001")]
    assert kwh_by_start(parse(header, summer, winter)) == [("30 00", "0.002"), ("30 01", "0.001")]


def test_the_25th_hour_may_stand_at_midnight_of_the_next_day() -> None:
    """Stamps that count on from midnight reach 0:00 of the next day, which then has two different first hours."""
    autumn = [f"{CUPS};30/10/2022 {hour:02d}:00;{hour};0" for hour in range(24)]
    overflow, first = f"{CUPS};31/10/2022 00:00;24;0", f"{CUPS};31/10/2022 00:00;100;0"
    curve = parse(I_DE, *autumn, overflow, first)
    assert kwh_by_start(curve)[23:] == [("30 21", "0.023"), ("30 22", "0.024"), ("30 23", "0.100")]
    assert curve.rejected == ()


def test_quarters_are_added_up_to_hours() -> None:
    """Four quarters are an hour, estimated if one of them is; an hour that lacks one is refused quarter by quarter."""
    rows = [
        f"{CUPS};2024/01/01;{minute // 60:02d}:{minute % 60:02d};0,1;{'ESTIMADA' if minute == 75 else 'REAL'};0,01;;"
        for minute in range(15, 181, 15)
        if minute != 150
    ]
    curve = parse(DATADIS, *rows)
    assert kwh_by_start(curve) == [("31 23", "0.4"), ("01 00", "0.4")]
    assert [reading.method for reading in curve.readings] == [ReadingMethod.REAL, ReadingMethod.ESTIMATED]
    assert curve.readings[0].surplus_kwh == Decimal("0.04")
    assert [row.reason for row in curve.rejected] == ["its hour has only 3 of 4 quarters"] * 3
    assert len(rows) == curve.rows_read


def test_quarters_of_the_autumn_day_are_25_hours() -> None:
    """A day of 100 quarters, counted by the clock with 2:15..3:00 twice, is 25 hours."""
    first, second = list(range(15, 181, 15)), list(range(135, 1441, 15))
    rows = [
        f"{CUPS};2022/10/30;{minute // 60:02d}:{minute % 60:02d};0,{index:03d};REAL;;;"
        for index, minute in enumerate(first + second)
    ]
    curve = parse(DATADIS, *rows)
    assert len(curve.readings) == 25
    assert curve.rejected == ()
    assert str(curve.readings[2].energy_kwh) == "0.038"


def test_a_stray_quarter_does_not_make_a_file_of_quarters() -> None:
    """In a file of hours a label on the quarter is one bad row."""
    rows = [f"{CUPS};2024/01/01;{label:02d}:00;0,1;REAL;;;" for label in (1, 2, 3)]
    curve = parse(DATADIS, *rows, f"{CUPS};2024/01/01;03:15;0,1;REAL;;;")
    assert len(curve.readings) == 3
    assert (RejectedRow(5, "hora 03:15 does not exist on 2024-01-01, a day of 24 hours"),) == curve.rejected


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        pytest.param(["0.350"], [DATADIS, f"{CUPS};01/01/2024;01:00;0,350;REAL;;;"], id="nothing in the panels' columns"),
        pytest.param(["0.350"], [DATADIS, f"{CUPS};2024/01/01;01:00;0.350;;;;"], id="no method, year first, point"),
        pytest.param(["0.350"], ["fecha;x;y", "z", EDISTRIBUCION, f"{CUPS};01/01/2024;1;0,350;;;R"], id="header later"),
        pytest.param(["0.350"], [CNMC.replace(";", "\t"), f"{CUPS}\t01/01/2024\t1\t0,350\tR"], id="tabs"),
        pytest.param(["0.350"], [CNMC.replace(";", ","), f'{CUPS},01/01/2024,1,"0,350",R'], id="commas and quotes"),
        pytest.param(["0.35"], ["\ufeff" + I_DE, f"{CUPS};2024-01-01T00:00:00;350;0".replace("350", "350.0")[:-4] + ";0"], id="byte order mark, T, seconds"),
        pytest.param(["0.350"], [EDISTRIBUCION + ";R1_kVARh;R2_kVARh", f"{CUPS};01/01/2024;1;0,350;;;R;0,1;0,2"], id="columns nobody reads"),
        pytest.param(["0.350"], ["CUPS;Fecha;Hora;Consumo;Método_obtención", f"{CUPS};1/1/2024;1;0,350;r"], id="accents, short date"),
    ],
)  # fmt: skip
def test_harmless_differences_are_read_the_same(expected: list[str], lines: list[str]) -> None:
    """Separators, decimals, date order, columns that are empty or not known change nothing."""
    curve = parse(*lines)
    assert [Decimal(text) for text in expected] == [reading.energy_kwh for reading in curve.readings]
    assert datetime(2023, 12, 31, 23, tzinfo=UTC) == curve.readings[0].starts_at
    assert curve.rejected == ()


def test_a_header_in_latin_1_is_read() -> None:
    """Old programs write Método with one byte."""
    content = f"CUPS;Fecha;Hora;Consumo;Método_obtención\n{CUPS};01/01/2024;1;0,350;R\n"
    assert parse_curve([content.encode("latin-1")]).readings == parse_curve([content.encode()]).readings


def test_panels_are_read_from_their_columns() -> None:
    """Fed in, made, and used at once; what i-DE calls generation passed the meter, so it was fed in."""
    web = parse(DATADIS, f"{CUPS};01/01/2024;13:00;0,1;REAL;0,2;0,5;0,3").readings[0]
    assert [Decimal(text) for text in ("0.2", "0.5", "0.3")] == [
        web.surplus_kwh,
        web.generation_kwh,
        web.self_consumption_kwh,
    ]
    endesa = parse(EDISTRIBUCION, f"{CUPS};01/01/2024;13;0,1;0,2;0,3;R").readings[0]
    assert (Decimal("0.2"), None, Decimal("0.3")) == (
        endesa.surplus_kwh,
        endesa.generation_kwh,
        endesa.self_consumption_kwh,
    )
    ide = parse(I_DE, f"{CUPS};01/01/2024 12:00;100;200").readings[0]
    assert (Decimal("0.200"), None) == (ide.surplus_kwh, ide.generation_kwh)


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        pytest.param("Fecha '32/01/2024' is not a date YYYY/MM/DD or DD/MM/YYYY", f"{CUPS};32/01/2024;1;0,1;R", id="date"),
        pytest.param("Fecha 'mañana' is not a date YYYY/MM/DD or DD/MM/YYYY".replace("ñ", "\\xf1"), f"{CUPS};mañana;1;0,1;R", id="no date"),
        pytest.param("Hora '26' is not a whole number 1..25", f"{CUPS};01/01/2024;26;0,1;R", id="label"),
        pytest.param("Hora '01:07' is not a time 00:00..25:00 on the hour or a quarter of it", f"{CUPS};01/01/2024;01:07;0,1;R", id="minute"),
        pytest.param("Hora '25:15' is not a time 00:00..25:00 on the hour or a quarter of it", f"{CUPS};01/01/2024;25:15;0,1;R", id="late"),
        pytest.param("Consumo '' is not a number of kWh such as 0.123 or 0,123", f"{CUPS};01/01/2024;2;;R", id="null"),
        pytest.param("Consumo '-0,1' is negative: 0..1000 kWh are possible", f"{CUPS};01/01/2024;2;-0,1;R", id="negative"),
        pytest.param("Metodo_obtencion 'X' is not Real or Estimado", f"{CUPS};01/01/2024;2;0,1;X", id="method"),
        pytest.param("has 3 columns, not 5", f"{CUPS};01/01/2024;2", id="columns"),
        pytest.param("a row of totals, not of an hour", "Total;;;123,4;", id="totals"),
        pytest.param("the header again", CNMC, id="header"),
        pytest.param("conflicting: line 2 has the same hour with 0.1 kWh (Real), which is kept", f"{CUPS};01/01/2024;1;0,2;R", id="conflict"),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_with_its_line_and_reason(reason: str, row: str) -> None:
    """One bad row costs one row; its reason names the column as the file does."""
    curve = parse(CNMC, f"{CUPS};01/01/2024;1;0,1;R", row, f"{CUPS};01/01/2024;3;0,1;R")
    assert (RejectedRow(3, reason),) == curve.rejected
    assert len(curve.readings) == 2


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        pytest.param("FechaHora '01/01/2024' is not a date and a time", f"{CUPS};01/01/2024;1;0", id="no time"),
        pytest.param("CONSUMO Wh '1e3' is not a number of Wh such as 123", f"{CUPS};01/01/2024 01:00;1e3;0", id="exponent"),
        pytest.param("CONSUMO Wh '0.1234567' has more than 6 decimals", f"{CUPS};01/01/2024 01:00;0.1234567;0", id="decimals"),
        pytest.param("CONSUMO Wh '1000001' is more than 1000 kWh in one hour", f"{CUPS};01/01/2024 01:00;1000001;0", id="much"),
    ],
)  # fmt: skip
def test_a_bad_row_of_i_de_is_rejected(reason: str, row: str) -> None:
    """Stamps and Wh have reasons of their own."""
    curve = parse(I_DE, f"{CUPS};01/01/2024 00:00;1;0", row)
    assert (RejectedRow(3, reason),) == curve.rejected


def test_several_supply_points_are_refused_without_naming_them() -> None:
    """Hours of two homes are never mixed; the message says what to do and shows no whole CUPS."""
    other = "ES0031000000000002BZ0F"
    with pytest.raises(UsageError, match=r"holds 2 supply points .* make one file for each") as caught:
        parse(CNMC, f"{CUPS};01/01/2024;1;0,1;R", f"{other};01/01/2024;2;0,1;R")
    assert CUPS[:-2] not in str(caught.value)
    assert other[:-2] not in str(caught.value)


def test_one_supply_point_may_be_written_two_ways() -> None:
    """With blanks, in lower case and without the two characters of the meter it is the same point."""
    curve = parse(
        CNMC, f"{CUPS};01/01/2024;1;0,1;R", f"{CUPS[:-2].lower()};01/01/2024;2;0,1;R", ";01/01/2024;3;0,1;R"
    )
    assert (curve.cups, len(curve.readings)) == (CUPS, 3)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        pytest.param(r"seen: 2 columns separated by ';', none with a known name\); known layouts: Datadis", b"Ana Garcia;12345678Z\n", id="a person"),
        pytest.param("among them fecha, hora", b"fecha;hora;valor\n1;2;3\n", id="no energy"),
        pytest.param("no header", b"CUPS;Fecha;Hora;Consumo;Consumo_kWh\n", id="two energies"),
        pytest.param("no header", b"CUPS;FechaHora;Fecha;Hora;Consumo\n", id="two times"),
        pytest.param("no header", b"x\n" * 51 + CNMC.encode(), id="header too late"),
        pytest.param("a bill's QR code is for `expert-bot check-bill`", b"https://comparador.cnmc.gob.es/x", id="QR"),
        pytest.param("begins like JSON, but is not: .* line 1 column 2", b"{nonsense", id="no JSON"),
        pytest.param("NaN is not a number", b'{"timeCurve": [{"consumptionKWh": NaN}]}', id="NaN"),
        pytest.param("nested too deeply", b"[" * 100_000, id="nesting"),
        pytest.param("no answer of the Datadis API", b'{"PVPC": []}', id="other JSON"),
        pytest.param("no answer of the Datadis API", b"[1, 2]", id="list of numbers"),
        pytest.param("the file is empty", b" \r\n", id="blank"),
    ],
)  # fmt: skip
def test_an_unknown_file_is_refused(message: str, content: bytes) -> None:
    """The message lists the known layouts and says what was seen, without a word that may be about a person."""
    with pytest.raises(UsageError, match=message) as caught:
        parse_curve([content])
    assert "Garcia" not in str(caught.value)


def datadis(**members: Any) -> dict[str, Any]:
    """Return an element of the API."""
    return {"cups": CUPS, "date": "2024/01/01", "time": "01:00", "consumptionKWh": 0.1, **members}


@pytest.mark.parametrize(
    ("reason", "element"),
    [
        pytest.param("consumptionKWh null is not a number", datadis(consumptionKWh=None), id="null"),
        pytest.param("consumptionKWh bool is not a number", datadis(consumptionKWh=True), id="true"),
        pytest.param("consumptionKWh '1e+99' is not a plausible number", datadis(consumptionKWh=1e99), id="exponent"),
        pytest.param("consumptionKWh '-1' is negative: 0..1000 kWh are possible", datadis(consumptionKWh=-1), id="negative"),
        pytest.param("date 'null' is not a text", datadis(date=None), id="no date"),
        pytest.param("time '[\"7\"]' is not a text", datadis(time=["7"]), id="list for a time"),
        pytest.param("obtainMethod 'Inventada' is not Real or Estimado", datadis(obtainMethod="Inventada"), id="method"),
        pytest.param("is not an object with consumptionKWh or maxPower", "text", id="no object"),
        pytest.param("period '' is not a period such as PUNTA or VALLE", {"date": "2024/01/01", "maxPower": 1}, id="no period"),
        pytest.param("maxPower '-5' is not a power in W, 0 or more, such as 3008", {"date": "2024/01/01", "maxPower": -5, "period": "P1"}, id="negative power"),
        pytest.param("time '25:00' is not a time 00:00..24:00", {"date": "2024/01/01", "time": "25:00", "maxPower": 5, "period": "P1"}, id="time of a maximum"),
    ],
)  # fmt: skip
def test_a_bad_element_is_rejected_with_its_number(reason: str, element: object) -> None:
    """In JSON the number of the element in its list takes the place of the line."""
    elements = [datadis(), element, datadis(time="02:00")]
    curve = parse_curve([json.dumps({"timeCurve": elements}).encode()])
    assert (RejectedRow(2, reason),) == curve.rejected
    assert (len(curve.readings), curve.rows_read) == (2, 3)


def test_numbers_of_json_keep_their_digits() -> None:
    """What the document writes is read as decimals; small exponents and texts too."""
    content = b"""[{"cups": "", "date": "2024/01/01", "time": "01:00", "consumptionKWh": 0.1234567},
        {"date": "2024/01/01", "time": "02:00", "consumptionKWh": 5E-3, "obtainMethod": ""},
        {"date": "2024/01/01", "time": "03:00", "consumptionKWh": "0,25", "surplusEnergyKWh": ""}]"""
    curve = parse_curve([content])
    assert [f"{reading.energy_kwh:f}" for reading in curve.readings] == ["0.1234567", "0.005", "0.25"]
    assert (None, curve.readings[2].surplus_kwh) == (curve.cups, None)


def test_maxima_and_contract_are_read_with_the_curve() -> None:
    """Watts become kW; what a contract leaves out, or writes oddly, is left out."""
    maximum = {"cups": CUPS, "date": "2024/01/14", "time": "13:15", "maxPower": 3008, "period": "punta"}
    contract = {
        "cups": CUPS,
        "distributor": "E-DISTRIBUCION",
        "contractedPowerkW": [4.6, "3,45"],
        "timeDiscrimination": "2.0TD",
        "accessFare": "",
        "startDate": "2020/02/30",
    }
    document = {"timeCurve": [datadis()], "maxPower": [maximum], "contract": [contract]}
    curve = parse_curve([json.dumps(document).encode()])
    assert (
        Maximum(
            month=Month(2024, 1), period="PUNTA", power_kw=Decimal("3.008"), day=date(2024, 1, 14), minute=795
        ),
    ) == curve.maxima
    assert curve.contract is not None
    assert (Decimal("4.6"), Decimal("3.45")) == curve.contract.power_kw
    assert (
        curve.contract.distributor,
        curve.contract.time_discrimination,
        curve.contract.access_fare,
        curve.contract.starts_on,
    ) == ("E-DISTRIBUCION", "2.0TD", None, None)
    assert parse_curve([json.dumps([maximum]).encode()]).maxima == curve.maxima
    odd = parse_curve([json.dumps([{**contract, "contractedPowerkW": ["?"]}]).encode()]).contract
    assert odd is not None
    assert odd.power_kw == ()


def test_an_answer_without_elements_is_a_file_without_rows() -> None:
    """A month without data is not an error of the file."""
    curve = parse_curve([b'\xef\xbb\xbf {"timeCurve": [], "distributorError": []}'])
    assert ParsedCurve(layout=Layout.DATADIS_API, readings=(), rejected=(), rows_read=0) == curve


@pytest.mark.parametrize("size", [1, 7, 4096], ids=str)
def test_a_file_may_come_in_any_pieces(size: int) -> None:
    """Pieces that cut lines, or hold many, give the same readings."""
    content = i_de(
        labelled(readings_of(*DAYS["autumn"]), lambda day, _: [f"{r.local_hour:02d}:00" for r in day], CANARY)
    )
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    assert parse_curve([content]) == parse_curve(pieces)


@given(st.lists(st.text(alphabet="ES0291;/:,.0123456789RE\n\"'áñ {}[]", max_size=60), max_size=12))
def test_any_text_is_accounted_for(lines: list[str]) -> None:
    """Whatever stands under a header, every row is used or rejected, and nothing but UsageError is raised."""
    try:
        curve = parse(EDISTRIBUCION, *lines)
    except UsageError as error:
        assert "supply points" in str(error)  # noqa: PT017 # the other outcome that is allowed
    else:
        assert curve.rows_read == len(curve.readings) + len(curve.rejected)


def test_a_rejected_cell_is_not_remembered_as_good() -> None:
    """A memo of cells holds no failure: the second bad cell is rejected as the first."""
    calls: list[str] = []

    def parse_strictly(text: str) -> str:
        calls.append(text)
        if text == "bad":
            raise RowError("bad")
        return text

    once = csv_rows.memoised(parse_strictly)
    assert once(" good ") == once(" good ") == "good"
    for _ in range(2):
        with pytest.raises(RowError):
            once("bad")
    assert calls == ["good", "bad", "bad"]
