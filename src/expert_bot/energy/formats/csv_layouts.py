"""The CSV layouts: which column means what, found by the names in the header, wherever that stands in the file."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from expert_bot.energy.formats.cells import RowError
from expert_bot.energy.formats.days import Edge
from expert_bot.energy.formats.parsed import Layout
from expert_bot.errors import UsageError

_MAX_PREAMBLE: Final = 50
_SHOWN_NAME: Final = 40
_SEPARATORS: Final = (";", ",", "\t")

_ROLES: Final[Mapping[str, str]] = {
    "cups": "cups",
    "fecha": "date",
    "hora": "hour",
    "fechahora": "start",
    "consumo": "energy",
    "consumokwh": "energy",
    "aekwh": "energy",
    "consumowh": "energy_wh",
    "metobtencion": "method",
    "metodoobtencion": "method",
    "metodoobt": "method",
    "realestimado": "method",
    "estado": "method",
    "askwh": "surplus",
    "energiavertidakwh": "surplus",
    "generacionwh": "surplus_wh",
    "generacionkwh": "surplus",
    "energiageneradakwh": "generation",
    "aeautoconskwh": "self_consumption",
    "energiaautoconsumidakwh": "self_consumption",
    "invver": "season",
}
"""What a column holds, by its name without accents, blanks and signs. Other columns are not read.

The meter stands between home and grid, so what i-DE calls generation is what was fed into the grid: surplus.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvLayout:
    """How the rows of a file are read. `columns`: position of each column that is read; `names`: as the file has them."""

    layout: Layout
    separator: str
    width: int
    columns: Mapping[str, int]
    names: Mapping[str, str]

    @property
    def edge(self) -> Edge:
        """Which end of the hour a label names."""
        return Edge.START if "start" in self.columns else Edge.END


def find_header(lines: Iterator[tuple[int, bytes]]) -> CsvLayout:
    """Read lines up to the header. Raises UsageError if none of the first 50 is the header of a known layout."""
    seen: list[bytes] = []
    for _, line in islice(lines, _MAX_PREAMBLE):
        layout = layout_of(line)
        if layout is not None:
            return layout
        seen.append(line)
    raise UsageError(_unknown(seen))


def layout_of(line: bytes) -> CsvLayout | None:
    """Return the layout whose header a line is, or None."""
    for separator in _SEPARATORS:
        try:
            names = [name.strip() for name in split_columns(line, separator)]
        except RowError:
            return None
        if len(names) > 1:
            return _match(without_trailing(names), separator)
    return None


def split_columns(content: bytes, separator: str) -> list[str]:
    """Split one line into its columns, quotes removed. Raises RowError if it is not text or a quote stays open."""
    if b"\0" in content:
        raise RowError("holds a NUL byte: the file must be text, UTF-8 or Latin-1")
    text = decode(content)
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as error:
        raise RowError("quotes are not closed, or a column is too long") from error


def without_trailing(names: Sequence[str]) -> list[str]:
    """Return a header's names without the empty ones at its end: separators that close the line."""
    width = max((position for position, name in enumerate(names, start=1) if name), default=0)
    return list(names[:width])


def check_width(cells: Sequence[str], width: int) -> None:
    """Raise RowError unless a row has the header's columns; empty ones behind them do no harm."""
    if len(cells) < width or any(cell.strip() for cell in cells[width:]):
        raise RowError(f"has {len(cells)} columns, not {width}")


def decode(content: bytes) -> str:
    """Return a line as text: UTF-8, or else Latin-1, in which any bytes are text."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _match(names: list[str], separator: str) -> CsvLayout | None:
    plain = [_plain(name) for name in names]
    columns: dict[str, int] = {}
    for position, name in enumerate(plain):
        role = _ROLES.get(name)
        if role is not None and columns.setdefault(role, position) != position:
            return None  # two columns of one meaning: nobody knows which counts
    layout = _layout(columns, plain)
    if layout is None:
        return None
    return CsvLayout(
        layout=layout,
        separator=separator,
        width=len(names),
        columns=columns,
        names={role: names[position][:_SHOWN_NAME] for role, position in columns.items()},
    )


def _layout(columns: Mapping[str, int], plain: list[str]) -> Layout | None:
    has_energy = ("energy" in columns) != ("energy_wh" in columns)
    if not has_energy or ("surplus" in columns and "surplus_wh" in columns):
        return None
    if "start" in columns:
        return None if {"date", "hour"} & columns.keys() else Layout.I_DE
    return _layout_by_hour(columns, plain) if {"date", "hour", "energy"} <= columns.keys() else None


def _layout_by_hour(columns: Mapping[str, int], plain: list[str]) -> Layout | None:
    if plain[:3] == ["fecha", "hora", "consumo"] and "metobtencion" in plain:
        return Layout.HOUSEHOLD
    if "aekwh" in plain:
        return Layout.E_DISTRIBUCION
    if "cups" not in columns:
        return None
    return Layout.DATADIS_WEB if {"energiavertidakwh", "metodoobtencion"} <= set(plain) else Layout.CNMC


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(each for each in decomposed if each.isascii() and each.isalnum())


KNOWN: Final = (
    "known layouts: Datadis (JSON of the API, CSV of the web), e-distribucion CSV "
    "(CUPS;Fecha;Hora;AE_kWh;...), i-DE CSV (CUPS;FechaHora;CONSUMO Wh;...), CNMC CSV "
    "(CUPS;Fecha;Hora;Consumo;Metodo_obtencion), household CSV (fecha,hora,consumo,met_obtencion)"
)


def _unknown(seen: list[bytes]) -> str:
    if not seen:
        return f"the file is empty; {KNOWN}"
    if seen[0].lower().startswith(b"https://"):
        return "the file holds an address: a bill's QR code is for `expert-bot check-bill`, a curve is a file of hours"
    return f"the file has no header of a known layout ({_described(seen)}); {KNOWN}"


def _described(seen: list[bytes]) -> str:
    """Say what was seen without a word of it that is not a column's name: it may be about a person."""
    best: tuple[list[str], int, str] = ([], 1, "")
    for line in seen:
        text = decode(line)
        for separator in _SEPARATORS:
            cells = text.split(separator)
            known = [_plain(cell) for cell in cells if _plain(cell) in _ROLES]
            best = max(best, (known, len(cells), separator), key=lambda each: (len(each[0]), each[1]))
    known, width, separator = best
    separated = f" separated by {separator!r}" if separator else ""
    among = f", among them {', '.join(known)}" if known else ", none with a known name"
    return f"seen: {width} columns{separated}{among}"
