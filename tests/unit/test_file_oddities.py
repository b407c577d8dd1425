"""Consumption files that are odd or hostile: what is mended, what is noted, and what is refused before it costs much."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from expert_bot.energy.formats import MAX_ROWS, ParsedCurve, RejectedRow, SupplyContract, edges, parse_curve
from expert_bot.energy.formats.datadis_json import MAX_VALUES
from expert_bot.energy.formats.lines import MAX_LINE_BYTES
from expert_bot.energy.formats.rows import Energies
from expert_bot.errors import UsageError
from tests.unit.curve_files import CUPS, MADRID, clock_at_end, datadis_json, labelled, readings_of

DATADIS = "CUPS;Fecha;Hora;consumo_kWh;metodoObtencion;energiaVertida_kWh;energiaGenerada_kWh;energiaAutoconsumida_kWh"
CNMC = "CUPS;Fecha;Hora;Consumo;Metodo_obtencion"
I_DE = "CUPS;FechaHora;CONSUMO Wh;GENERACION Wh"
HOURS = range(24)


def parse(*lines: str) -> ParsedCurve:
    """Parse lines of text."""
    return parse_curve(["\n".join(lines).encode()])


def by_start(curve: ParsedCurve) -> list[tuple[str, str]]:
    """Return UTC day and hour, and kWh, of each reading."""
    return [(f"{reading.starts_at:%d %H}", str(reading.energy_kwh)) for reading in curve.readings]


def hours_of(day: int, labels: range) -> list[str]:
    """Write rows of January 2024 whose kWh tell their labels."""
    return [f"{CUPS};{day:02d}/01/2024;{label:02d}:00;0,{label:03d};R" for label in labels]


# Which end a label names


def check_start_labels() -> None:
    """Check that whole days 00:00..23:00 in a layout of END labels begin at the first day's midnight."""
    curve = parse(CNMC, *hours_of(2, HOURS), *hours_of(3, HOURS))
    assert by_start(curve)[:2] == [("01 23", "0.000"), ("02 00", "0.001")]
    assert by_start(curve)[-1] == ("03 22", "0.023")
    assert curve.notes == (edges.READ_AS_START,)


def test_whole_days_from_midnight_are_labelled_by_their_start() -> None:
    """Read as ENDs they would begin with an hour of the day before and lack the last one of the last day."""
    check_start_labels()


def test_whole_days_of_the_service_are_labelled_by_their_start() -> None:
    """JSON is no other case, and the order of elements does not matter."""
    rows = [datadis(time=f"{label:02d}:00", consumptionKWh=label) for label in reversed(HOURS)]
    curve = parse_json({"timeCurve": rows})
    assert by_start(curve)[::23] == [("31 23", "0"), ("01 22", "23")]
    assert curve.notes == (edges.READ_AS_START,)


def test_whole_days_of_quarters_are_labelled_by_their_start() -> None:
    """Quarters from 00:00 to 23:45 are 24 hours of one day."""
    rows = [f"{CUPS};02/01/2024;{m // 60:02d}:{m % 60:02d};0,1;R" for m in range(0, 1440, 15)]
    curve = parse(CNMC, *rows)
    assert (len(curve.readings), curve.rejected, curve.readings[0].local_date.day) == (24, (), 2)
    assert curve.notes == (edges.READ_AS_START,)


@pytest.mark.parametrize("clock", ["02", "24"], ids=["by the clock", "counted through"])
def test_whole_days_over_the_autumn_change_are_labelled_by_their_start(clock: str) -> None:
    """The last day has 25 hours, with 02:00 twice or with 24:00, which on that day alone is no sign of ENDs."""
    labels = [*range(24), 24] if clock == "24" else [0, 1, 2, 2, *range(3, 24)]
    days = {29: list(HOURS), 30: labels}
    rows = [f"{CUPS};{day}/10/2022;{label:02d}:00;0,{label};R" for day in days for label in days[day]]
    curve = parse(CNMC, *rows)
    assert (len(curve.readings), curve.rejected, curve.notes) == (49, (), (edges.READ_AS_START,))
    assert (curve.readings[0].local_date.day, curve.readings[-1].local_date.day) == (29, 30)


@pytest.mark.parametrize(
    ("notes", "rows"),
    [
        pytest.param((), [*hours_of(2, range(1, 24)), *hours_of(3, HOURS), *hours_of(4, range(1))], id="last midnight alone"),
        pytest.param((), [*hours_of(2, range(1, 24)), *hours_of(3, range(10))], id="ends in the middle of a day"),
        pytest.param((), [*hours_of(3, HOURS), *hours_of(4, range(25))], id="24:00 as well"),
        pytest.param((edges.NOT_TOLD,), [*hours_of(2, HOURS), *hours_of(3, range(10))], id="midnight, then half a day"),
        pytest.param((edges.NOT_TOLD,), [*hours_of(2, range(1, 24)), *hours_of(3, HOURS)], id="neither first nor last midnight"),
        pytest.param((edges.NOT_TOLD,), hours_of(3, range(1)), id="one midnight"),
    ],
)  # fmt: skip
def test_midnight_is_the_end_of_the_day_before_unless_all_days_are_whole(
    notes: tuple[str, ...], rows: list[str]
) -> None:
    """What the first and the last day do not tell is read as the layout means it, with a note."""
    curve = parse(CNMC, *rows)
    assert notes == curve.notes
    assert ("02 22", "0.000") in by_start(curve)
    assert ("02 23", "0.000") not in by_start(curve)


def test_of_a_midnight_written_twice_the_first_row_is_kept() -> None:
    """24:00 and 00:00 of the next day are one hour, whichever stands first."""
    curve = parse(CNMC, f"{CUPS};03/01/2024;00:00;0,1;R", f"{CUPS};02/01/2024;24:00;0,2;R")
    assert by_start(curve) == [("02 22", "0.1")]
    assert (curve.rejected[0].line, curve.rejected[0].reason[:11]) == (3, "conflicting")


# The hour that spring leaves out


def check_spring(filled: int = 3, cell: str = "0") -> None:
    """Check that of 24 rows of a spring day the filled one is lost."""
    cells = {label: cell if label == filled else "0,5" for label in range(1, 25)}
    curve = parse(CNMC, *(f"{CUPS};26/03/2023;{label:02d}:00;{cells[label]};R" for label in cells))
    assert Decimal("11.5") == sum(reading.energy_kwh for reading in curve.readings)
    assert [filled + 1] == [row.line for row in curve.rejected]


@pytest.mark.parametrize("cell", ["0", "0,000", "-"], ids=["0", "decimals", "no number"])
@pytest.mark.parametrize("filled", [2, 3, 24], ids=str)
def test_the_filled_hour_of_spring_is_the_one_to_lose(filled: int, cell: str) -> None:
    """Whichever of the three ways of counting a program filled with nothing, the 23 real hours are kept."""
    check_spring(filled, cell)


MUTANTS: dict[str, tuple[object, str, object, Any]] = {
    "END layouts never hold STARTs": (edges, "_is_whole", lambda *_: False, check_start_labels),
    "what a lost row holds is no matter": (Energies, "is_nothing", False, check_spring),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_rule_is_noticed(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    """Each rule, turned wrong, gives other readings."""
    owner, name, wrong, check = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        check()


# Cells and lines


@pytest.mark.parametrize("cell", ["-", "null", "?", "-0,1", "1001"])
def test_a_bad_cell_about_panels_costs_no_hour(cell: str) -> None:
    """The consumption is good: what is fed in counts as not known, and one note says so."""
    hours = [f"{CUPS};02/01/2024;{label:02d}:00;0,5;R;{cell};0,2;" for label in (1, 2, 3)]
    curve = parse(DATADIS, *hours, f"{CUPS};02/01/2024;04:00;0,5;R;0,1;0,2;")
    assert [None, None, None, Decimal("0.1")] == [reading.surplus_kwh for reading in curve.readings]
    assert [Decimal("0.2")] * 4 == [reading.generation_kwh for reading in curve.readings]
    assert curve.rejected == ()
    assert len(curve.notes) == 1
    assert curve.notes[0].startswith(f"energiaVertida_kWh '{cell}' ")


def test_a_bad_cell_about_panels_of_i_de_costs_no_hour() -> None:
    """Wh of the layout with stamps are no other case."""
    curve = parse(I_DE, f"{CUPS};02/01/2024 00:00;500;?")
    assert by_start(curve) == [("01 23", "0.500")]
    assert curve.notes[0].startswith(
        "GENERACION Wh '?' is not a number of Wh such as 123: such cells count as not known"
    )


@pytest.mark.parametrize("value", ["-", "null", [1], True, 1e99, -1], ids=repr)
def test_a_bad_member_about_panels_costs_no_hour(value: object) -> None:
    """In JSON too; an empty text and null are no fault and need no note."""
    good = datadis(time="02:00", surplusEnergyKWh=None, generationEnergyKWh="")
    curve = parse_json([datadis(surplusEnergyKWh=value, selfConsumptionEnergyKWh=0.3), good])
    assert by_start(curve) == [("31 23", "0.1"), ("01 00", "0.1")]
    assert (None, Decimal("0.3")) == (
        curve.readings[0].surplus_kwh,
        curve.readings[0].self_consumption_kwh,
    )
    assert curve.rejected == ()
    assert [note.startswith("surplusEnergyKWh ") for note in curve.notes] == [True]
    assert parse_json([good]).notes == ()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        pytest.param("", ";;", id="rows"),
        pytest.param(";;", "", id="header"),
        pytest.param(";;", ";", id="more in the header"),
        pytest.param(";", "; ;;", id="more in rows, blanks"),
    ],
)
def test_separators_at_the_end_of_a_line_do_no_harm(header: str, row: str) -> None:
    """Columns without a name and without content are none."""
    curve = parse(CNMC + header, f"{CUPS};02/01/2024;01:00;0,5;R{row}", f"{CUPS};02/01/2024;02:00;0,5;R;;x")
    assert by_start(curve) == [("01 23", "0.5")]
    assert (RejectedRow(3, "has 7 columns, not 5"),) == curve.rejected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 4096], ids=str)
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"], ids=["CR", "CRLF", "LF"])
def test_any_line_end_gives_the_same_lines(end: str, size: int) -> None:
    """Rows and the numbers of their lines do not depend on how lines end, or on where the file is cut into pieces."""
    text = end.join([CNMC, f"{CUPS};02/01/2024;01:00;0,5;R", "", "bad", *hours_of(2, range(2, 4)), ""])
    content = text.encode()
    curve = parse_curve(content[at : at + size] for at in range(0, len(content), size))
    assert by_start(curve) == [("01 23", "0.5"), ("02 00", "0.002"), ("02 01", "0.003")]
    assert (RejectedRow(4, "has 1 columns, not 5"),) == curve.rejected


# Nothing unbounded


def test_reasons_stay_short_however_long_a_column_is_named() -> None:
    """Signs count as nothing in a name, so that it may be of any length; a reason shows 40 characters of it."""
    curve = parse(f"CUPS;Fecha{'.' * 5000};Hora;Consumo;Metodo_obtencion", *["E;x;1;0,1;R"] * 3)
    assert [len(row.reason) < 120 for row in curve.rejected] == [True] * 3


@pytest.mark.parametrize("line", [2, 3], ids=["header", "row"])
def test_a_line_that_is_too_long_is_refused(line: int) -> None:
    """A name of 20,000 characters, or a row, is no part of a file of hours."""
    lines = ["Curva de consumo", CNMC, f"{CUPS};02/01/2024;01:00;0,5;R;"]
    assert MAX_LINE_BYTES == 8192
    parse(*(text.ljust(8192, ";") if number == line else text for number, text in enumerate(lines, 1)))
    lines[line - 1] = lines[line - 1].ljust(20_000, ";")
    with pytest.raises(UsageError, match=f"line {line} has more than 8192 bytes"):
        parse(*lines)


@pytest.mark.parametrize("sign", [",", "{", "["], ids=["commas", "objects", "lists"])
def test_json_of_too_many_values_is_refused_before_it_is_read(sign: str) -> None:
    """A tree of a file of nothing but `{},` would take a gigabyte; here not even the syntax is looked at."""
    with pytest.raises(
        UsageError, match=f"more than {MAX_VALUES} values, more than 5 years of quarters have: split it"
    ):
        parse_curve([b"[" + sign.encode() * MAX_VALUES])
    hours = readings_of(date(2024, 1, 1), date(2024, 1, 1), with_panels=True)
    answer = datadis_json(labelled(hours, clock_at_end, MADRID))
    assert (answer.count(b",") + answer.count(b"{")) * 4 * MAX_ROWS // 24 <= MAX_VALUES


def test_a_number_beyond_all_exponents_is_one_bad_element() -> None:
    """It costs its own hour, not the file."""
    curve = parse_curve(
        [
            b'[{"date": "2024/01/01", "time": "01:00", "consumptionKWh": 1e999999999999999999999},'
            b'{"date": "2024/01/01", "time": "02:00", "consumptionKWh": 0.1}]'
        ]
    )
    reason = "consumptionKWh '1e999999999999999999999' is not a plausible number"
    assert (RejectedRow(1, reason),) == curve.rejected
    assert len(curve.readings) == 1


# Contracts


def contract_of(*members: str) -> SupplyContract:
    """Return the contract that counts of those in an answer."""
    contract = parse_curve([f'{{"contract": [{", ".join(members)}]}}'.encode()]).contract
    assert contract is not None
    return contract


@pytest.mark.parametrize(
    "power",
    [
        pytest.param('["NaN", 3.45]', id="NaN"),
        pytest.param('["Infinity"]', id="Infinity"),
        pytest.param("[1E30]", id="1E30"),
        pytest.param('["1E30"]', id="1E30 as text"),
        pytest.param("[1E99999999]", id="1E99999999"),
        pytest.param('["1E99999999"]', id="1E99999999 as text"),
        pytest.param("[1E999999999999999999999]", id="beyond decimals"),
        pytest.param("[-3]", id="negative"),
        pytest.param("[3.45, 0]", id="0"),
        pytest.param(f"[{', '.join(['3.45'] * 300_000)}]", id="300,000 powers"),
        pytest.param("[3.45, 3.45, 3.45, 3.45, 3.45, 3.45, 3.45]", id="seven powers"),
    ],
)
def test_a_contracted_power_that_cannot_be_is_none(power: str) -> None:
    """Nothing is guessed of powers: one that is impossible makes all of them unknown."""
    assert contract_of(f'{{"contractedPowerkW": {power}}}').power_kw == ()


def test_six_powers_are_known() -> None:
    """Supplies above 15 kW have six periods."""
    known = contract_of('{"contractedPowerkW": [15.1, 15.1, 15.1, 15.1, "15,1", 20]}').power_kw
    assert (*[Decimal("15.1")] * 5, Decimal(20)) == known


def test_names_of_a_contract_have_an_end() -> None:
    """A province of a megabyte is kept as 100 characters; half a character is dropped, for nothing can store it."""
    long, odd = '"x' + "y" * 1_000_000 + '"', r'"\ud800 Soria "'
    assert contract_of(f'{{"contractedPowerkW": [3], "province": {long}}}').province == "x" + "y" * 99
    assert contract_of(f'{{"contractedPowerkW": [3], "province": {odd}}}').province == "Soria"


@pytest.mark.parametrize("newest", [0, 1, 2], ids=["first", "middle", "last"])
def test_of_several_contracts_the_newest_counts(newest: int) -> None:
    """The service lists a supply's contracts in any order; one without a start is older than all."""
    members = ['{"contractedPowerkW": [3.45], "startDate": "2019/12/31"}', '{"contractedPowerkW": [4.6]}']
    members.insert(newest, '{"contractedPowerkW": [5.75], "startDate": "2024/01/01"}')
    assert (Decimal("5.75"),) == contract_of(*members).power_kw


def datadis(**members: Any) -> dict[str, Any]:
    """Return an element of the service's answer."""
    return {"cups": CUPS, "date": "2024/01/01", "time": "01:00", "consumptionKWh": 0.1, **members}


def parse_json(document: object) -> ParsedCurve:
    """Parse an answer."""
    return parse_curve([json.dumps(document).encode()])
