"""The household CSV layout: exact sums of real homes, clock changes, and what is rejected with which words."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.formats import MAX_ROWS, Layout, ParsedCurve, RejectedRow, parse_curve
from expert_bot.energy.readings import HourlyReading, ReadingMethod
from expert_bot.errors import UsageError

HEADER = "fecha,hora,consumo,met_obtencion"
HOMES = {0: 16824, 1: 8904, 2: 17112, 3: 16175, 4: 17088, 5: 16800, 6: 1968, 9: 16728}
GOOD_ROW = "2023-04-03,11,0.5,Real"


def parse(*rows: str, header: str = HEADER) -> ParsedCurve:
    """Parse rows under the header."""
    return parse_curve([f"{line}\n".encode() for line in (header, *rows)])


def sums(readings: Sequence[HourlyReading], first: date, end: date) -> tuple[int, list[str]]:
    """Return the hours and the kWh of P1, P2, P3 in a range of days."""
    within = [reading for reading in readings if first <= reading.local_date < end]
    totals: Counter[str] = Counter()
    for reading in within:
        totals[reading.period.value] += reading.energy_kwh  # type: ignore[assignment]  # counts decimals
    return len(within), [str(totals[period]) for period in ("P1", "P2", "P3")]


@pytest.mark.parametrize(
    ("expected", "first", "end"),
    [
        pytest.param(
            (8760, ["912.445", "1043.428", "1620.984"]), date(2022, 7, 1), date(2023, 7, 1), id="year"
        ),
        pytest.param(
            (745, ["47.546", "70.249", "140.319"]), date(2022, 10, 1), date(2022, 11, 1), id="October"
        ),
        pytest.param((720, ["74.435", "81.768", "137.113"]), date(2023, 4, 1), date(2023, 5, 1), id="April"),
    ],
)
def test_a_real_home_sums_to_the_watt_hour(
    shared_data: Path, expected: tuple[int, list[str]], first: date, end: date
) -> None:
    """Hours and kWh per period of home 4 are exact, over the autumn change and Good Friday too."""
    with (shared_data / "energy" / "households_es" / "home_4.csv").open("rb") as file:
        curve = parse_curve(file)
    assert expected == sums(curve.readings, first, end)


@pytest.mark.parametrize("home", HOMES, ids=lambda home: f"home_{home}")
def test_real_homes_are_read_without_rejects(shared_data: Path, home: int) -> None:
    """Every row of the eight real homes is an hour of its own; nothing is lost or invented."""
    path = shared_data / "energy" / "households_es" / f"home_{home}.csv"
    curve = parse_curve(path.read_bytes().splitlines(keepends=True))
    assert HOMES[home] == len(curve.readings) == curve.rows_read
    assert curve.rejected == ()
    exact = sum(Decimal(line.split(",")[2]) for line in path.read_text().splitlines()[1:])
    assert exact == sum(reading.energy_kwh for reading in curve.readings)
    starts = [reading.starts_at for reading in curve.readings]
    assert sorted(set(starts)) == starts


def test_a_row_becomes_the_hour_that_ends_at_its_label() -> None:
    """Label 11 is the hour from 10:00 to 11:00 by the local clock."""
    reading = HourlyReading(
        starts_at=datetime(2023, 4, 3, 8, tzinfo=UTC),
        energy_kwh=Decimal("0.5"),
        method=ReadingMethod.REAL,
        local_date=date(2023, 4, 3),
        local_hour=10,
        period="P1",  # type: ignore[arg-type]  # a period equals its code
    )
    assert (reading,) == parse(GOOD_ROW).readings


def autumn_clock(day: str = "2022-10-30") -> list[str]:
    """Write an autumn day by the clock; the hour at position n has 0.00n kWh."""
    return [f"{day},{label},0.{index:03d},Real" for index, label in enumerate((1, 2, 2, *range(3, 25)))]


def starts(curve: ParsedCurve) -> list[tuple[str, str]]:
    """Return UTC day and hour, and kWh, of each reading."""
    return [(f"{reading.starts_at:%d %H}", str(reading.energy_kwh)) for reading in curve.readings]


def test_the_autumn_day_has_two_hours_two() -> None:
    """The first row with label 2 ends at 02:00 summer time, the second an hour later: 25 hours, all different."""
    curve = parse(*autumn_clock())
    assert curve.rejected == ()
    assert starts(curve)[:4] == [
        ("29 22", "0.000"),
        ("29 23", "0.001"),
        ("30 00", "0.002"),
        ("30 01", "0.003"),
    ]
    assert [reading.local_hour for reading in curve.readings[:5]] == [0, 1, 2, 2, 3]
    assert starts(curve)[-1] == ("30 22", "0.024")


def test_a_day_that_counts_its_hours_is_read_by_counting() -> None:
    """Label 25 on the autumn day, or 2 without 24 on the spring day, means that labels are ordinals."""
    autumn = parse(*[f"2022-10-30,{label},0.{label - 1:03d},Real" for label in range(1, 26)])
    assert starts(parse(*autumn_clock())) == starts(autumn)
    spring = parse(*[f"2023-03-26,{label},0.{label:03d},Real" for label in range(1, 24)])
    assert spring.rejected == ()
    assert [0, 1, 3, *range(4, 24)] == [reading.local_hour for reading in spring.readings]


def test_the_spring_day_skips_label_two() -> None:
    """By the clock the hour from 01:00 ends at 03:00; label 2 does not exist and is rejected."""
    curve = parse(*[f"2023-03-26,{label},0.1,Real" for label in range(1, 25)])
    assert (RejectedRow(3, "hora 2 does not exist on 2023-03-26, a day of 23 hours"),) == curve.rejected
    assert [reading.local_hour for reading in curve.readings[:3]] == [0, 1, 3]
    assert len(curve.readings) == 23


def test_a_bad_value_still_shows_how_its_day_is_labelled() -> None:
    """A label 25 whose value is unreadable makes the day ordinal all the same: the other hours keep their place."""
    rows = [f"2022-10-30,{label},0.{label - 1:03d},Real" for label in range(1, 25)]
    curve = parse(*rows, "2022-10-30,25,?,Real")
    assert starts(parse(*autumn_clock()))[:24] == starts(curve)
    assert [row.line for row in curve.rejected] == [26]


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        pytest.param("fecha 'x' is not a date YYYY-MM-DD", "x,11,0.5,Real", id="no date"),
        pytest.param("fecha '2023-02-30' is not a date YYYY-MM-DD", "2023-02-30,11,0.5,Real", id="impossible date"),
        pytest.param("fecha '03/04/2023' is not a date YYYY-MM-DD", "03/04/2023,11,0.5,Real", id="other date order"),
        pytest.param("fecha 1999-12-31 is outside the years 2000..2100", "1999-12-31,1,0.5,Real", id="far past"),
        pytest.param("fecha 2101-01-01 is outside the years 2000..2100", "2101-01-01,1,0.5,Real", id="far future"),
        pytest.param("hora '0' is not a whole number 1..25", "2023-04-03,0,0.5,Real", id="label 0"),
        pytest.param("hora '26' is not a whole number 1..25", "2023-04-03,26,0.5,Real", id="label 26"),
        pytest.param("hora '-1' is not a whole number 1..25", "2023-04-03,-1,0.5,Real", id="negative label"),
        pytest.param("hora '1.5' is not a whole number 1..25", "2023-04-03,1.5,0.5,Real", id="fractional label"),
        pytest.param("hora '' is not a whole number 1..25", "2023-04-03,,0.5,Real", id="no label"),
        pytest.param("hora 25 does not exist on 2023-04-03, a day of 24 hours", "2023-04-03,25,0.5,Real", id="label 25"),
        pytest.param("consumo '' is not a number of kWh such as 0.123 or 0,123", "2023-04-03,11,,Real", id="no value"),
        pytest.param("consumo '1e3' is not a number of kWh such as 0.123 or 0,123", "2023-04-03,11,1e3,Real", id="exponent"),
        pytest.param("consumo '1.2.3' is not a number of kWh such as 0.123 or 0,123", "2023-04-03,11,1.2.3,Real", id="dots"),
        pytest.param("consumo '\\u0661' is not a number of kWh such as 0.123 or 0,123", "2023-04-03,11,١,Real", id="digits"),
        pytest.param("consumo 'NaN' is not a finite number", "2023-04-03,11,NaN,Real", id="NaN"),
        pytest.param("consumo '-inf' is not a finite number", "2023-04-03,11,-inf,Real", id="infinity"),
        pytest.param("consumo '-0.1' is negative: 0..1000 kWh are possible", "2023-04-03,11,-0.1,Real", id="negative"),
        pytest.param("consumo '1000.001' is more than 1000 kWh in one hour", "2023-04-03,11,1000.001,Real", id="too much"),
        pytest.param("consumo '0.1234567891' has more than 9 decimals", "2023-04-03,11,0.1234567891,Real", id="decimals"),
        pytest.param("met_obtencion 'Medido' is not Real or Estimado", "2023-04-03,11,0.5,Medido", id="method"),
        pytest.param("has 3 columns, not 4", "2023-04-03,11,0.5", id="too few columns"),
        pytest.param("has 5 columns, not 4", "2023-04-03,11,0,5,Real", id="decimal comma without quotes"),
        pytest.param("quotes are not closed, or a column is too long", '2023-04-03,11,"0.5,Real', id="open quote"),
        pytest.param("holds a NUL byte: the file must be text, UTF-8 or Latin-1", "2023-04-03,11,0.5,Re\0al", id="NUL"),
        pytest.param("consumo '" + "9" * 30 + "...' is more than 1000 kWh in one hour", "2023-04-03,11," + "9" * 5000 + ",Real", id="5000 digits"),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_with_its_line_and_reason(reason: str, row: str) -> None:
    """One bad row costs one row: its neighbours are read, and the reason says what was wrong and what is allowed."""
    curve = parse(GOOD_ROW, row, "2023-04-03,12,0.7,Estimado")
    assert (RejectedRow(3, reason),) == curve.rejected
    assert [str(reading.energy_kwh) for reading in curve.readings] == ["0.5", "0.7"]
    assert curve.rows_read == 3


def test_a_row_that_is_not_utf_8_is_read_as_latin_1() -> None:
    """Bytes that are not UTF-8 are Latin-1, in which old programs save; a cell they spoil costs one row."""
    curve = parse_curve([f"{HEADER}\n".encode(), b"2023-04-03,11,0.5,R\xe9al\n", f"{GOOD_ROW}\n".encode()])
    assert (RejectedRow(2, "met_obtencion 'R\\xe9al' is not Real or Estimado"),) == curve.rejected
    assert len(curve.readings) == 1


def test_the_first_row_for_an_hour_is_kept() -> None:
    """A repeated row is a duplicate, one with another value or method is conflicting; both name the first row."""
    curve = parse(
        GOOD_ROW, "2023-04-03,11,0.500,Real", "2023-04-03,11,0.6,Real", "2023-04-03,11,0.5,Estimado"
    )
    kept = "conflicting: line 2 has the same hour with 0.5 kWh (Real), which is kept"
    assert (
        RejectedRow(3, "duplicate: line 2 has the same hour with the same value"),
        RejectedRow(4, kept),
        RejectedRow(5, kept),
    ) == curve.rejected
    assert [Decimal("0.5")] == [reading.energy_kwh for reading in curve.readings]


def test_an_autumn_day_written_twice_is_all_duplicates() -> None:
    """Each of the two hours 2 recognises its own copy, so a file pasted twice keeps its 25 hours."""
    curve = parse(*autumn_clock(), *autumn_clock())
    assert starts(parse(*autumn_clock())) == starts(curve)
    assert len(curve.rejected) == 25
    assert curve.rejected[2].reason == "duplicate: line 4 has the same hour with the same value"


@given(st.randoms(use_true_random=False))
def test_the_order_of_days_and_labels_does_not_matter(random: Random) -> None:
    """Shuffled rows give the same hours, as long as the two hours 2 of autumn keep their order."""
    rows = [f"2022-10-29,{label},0.{label:03d},Real" for label in range(1, 25)] + autumn_clock()
    twins = [row for row in rows if row.startswith("2022-10-30,2,")]
    shuffled = [row for row in rows if row not in twins]
    random.shuffle(shuffled)
    places = sorted(random.sample(range(len(rows)), 2))
    for place, twin in zip(places, twins, strict=True):
        shuffled.insert(place, twin)
    assert parse(*rows).readings == parse(*shuffled).readings


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"\xef\xbb\xbffecha,hora,consumo,met_obtencion\n2023-04-03,11,0.5,Real\n", id="byte order mark"
        ),
        pytest.param(b"fecha,hora,consumo,met_obtencion\r\n2023-04-03,11,0.5,Real\r\n", id="CRLF"),
        pytest.param(b"\n\nfecha,hora,consumo,met_obtencion\n\n \n2023-04-03,11,0.5,Real", id="blank lines"),
        pytest.param(b"fecha;hora;consumo;met_obtencion\n2023-04-03;11;0,5;Real\n", id="semicolons"),
        pytest.param(b'fecha,hora,consumo,met_obtencion\n"2023-04-03","11","0,5","Real"\n', id="quotes"),
        pytest.param(
            b"FECHA, Hora,consumo ,met_obtencion\n2023-04-03, 11,.50,REAL\n",
            id="case",
        ),
        pytest.param(
            b"fecha,hora,consumo,met_obtencion,datetime\n2023-04-03,11,0.5,real,nonsense\n", id="datetime"
        ),
    ],
)
def test_harmless_differences_are_read_the_same(data: bytes) -> None:
    """Byte order mark, line ends, blank lines, separator, quotes, case and the datetime column change nothing."""
    curve = parse_curve(io.BytesIO(data))
    assert parse(GOOD_ROW).readings == curve.readings
    assert (curve.rows_read, curve.rejected) == (1, ())


@pytest.mark.parametrize(
    ("message", "data"),
    [
        pytest.param("the file is empty; known layouts: .*household CSV", b"", id="empty"),
        pytest.param("the file is empty", b"\xef\xbb\xbf\n \r\n", id="only blank lines"),
        pytest.param(
            r"no header of a known layout \(seen: 4 columns separated by ',', none with a known name\); known",
            b"2023-04-03,1,0.5,Real\n",
            id="data",
        ),
        pytest.param(
            "3 columns .* among them fecha, hora, consumo", b"fecha,hora,consumo\n", id="column missing"
        ),
        pytest.param("no header", "fecha,hora,consumo,met_obtencion\n".encode("utf-16"), id="UTF-16"),
    ],
)
def test_a_file_without_its_header_is_refused(message: str, data: bytes) -> None:
    """Without the header nobody knows what the columns are: the whole file is refused, known ones are named."""
    with pytest.raises(UsageError, match=message):
        parse_curve(io.BytesIO(data))


def test_a_header_alone_is_a_file_without_rows() -> None:
    """No rows is not an error of the file."""
    assert ParsedCurve(layout=Layout.HOUSEHOLD, readings=(), rejected=(), rows_read=0) == parse()


class Endless(io.RawIOBase):
    """A stream that never ends and has no line end: reads hand out zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_out = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0, "an unbounded read of an endless stream"
        self.handed_out += size
        return b"0" * size


def test_a_file_beyond_32_mib_is_refused_without_reading_on() -> None:
    """The limit holds for a single endless line as well: at most one piece more than it is read."""
    stream = Endless()
    with pytest.raises(UsageError, match="larger than 32 MiB"):
        parse_curve(stream)
    assert 32 * 1024 * 1024 < stream.handed_out <= 32 * 1024 * 1024 + 64 * 1024


def test_a_file_of_more_rows_than_five_years_have_hours_is_refused() -> None:
    """Rows are counted whether they are good or not, so that a hostile file cannot fill the memory with rejects."""
    rows = [f"{HEADER}\n".encode(), *([b"x\n"] * MAX_ROWS)]
    assert parse_curve(rows).rows_read == 43_848
    with pytest.raises(UsageError, match="more than 43848 rows"):
        parse_curve([*rows, b"x\n"])


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_accounted_for(lines: list[bytes]) -> None:
    """Whatever stands under the header, every row is either used or rejected, and nothing else is raised."""
    curve = parse_curve([f"{HEADER}\n".encode(), *(line.replace(b"\n", b" ") + b"\n" for line in lines)])
    assert curve.rows_read == len(curve.readings) + len(curve.rejected)
