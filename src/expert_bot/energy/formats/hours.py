"""Collected rows become readings by the hour: placed, quarters added up, labelled in local time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.cups import CupsError, mask_cups, normalise_cups
from expert_bot.energy.formats.days import HOUR_MIN, Edge, local_day
from expert_bot.energy.formats.edges import put_midnights_last, shown_edge
from expert_bot.energy.formats.parsed import Layout, Maximum, ParsedCurve, RejectedRow, SupplyContract
from expert_bot.energy.formats.placing import QUARTER_MIN, Placed, Row, place, step_of
from expert_bot.energy.formats.rows import Energies, RowBook
from expert_bot.energy.readings import HourlyReading, ReadingMethod
from expert_bot.errors import UsageError

_QUARTERS: Final = HOUR_MIN // QUARTER_MIN
_SAME_POINT: Final = 20
"""Characters of a CUPS that name the supply point; the two that may follow name the meter."""


def parsed_curve(
    book: RowBook,
    *,
    layout: Layout,
    zone: TariffZone,
    edge: Edge,
    maxima: tuple[Maximum, ...] = (),
    contract: SupplyContract | None = None,
) -> ParsedCurve:
    """Return what the rows of a file say. Raises UsageError if they are of several supply points."""
    cups, notes = _supply_point(book.cups)
    step_min = step_of(book.rows_by_day)
    edge, odd_edge = shown_edge(book.rows_by_day, edge, zone=zone, step_min=step_min)
    if edge is Edge.END:
        put_midnights_last(book.rows_by_day)
    rejected = book.rejected
    readings: list[HourlyReading] = []
    for day in place(book.rows_by_day, zone=zone, edge=edge, step_min=step_min):
        rejected.extend(day.rejected)
        if step_min == HOUR_MIN:
            readings.extend(_readings(day, day.rows, zone))
        else:
            hours, incomplete = _add_quarters(day, zone)
            readings.extend(_readings(day, hours, zone))
            rejected.extend(incomplete)
    return ParsedCurve(
        layout=layout,
        readings=tuple(readings),
        rejected=tuple(sorted(rejected, key=lambda row: row.line)),
        rows_read=book.rows_read,
        cups=cups,
        maxima=maxima,
        contract=contract,
        notes=tuple(note for note in (*notes, *book.notes, odd_edge) if note),
    )


def _readings(
    placed: Placed[Energies], hours: Mapping[int, Row[Energies]], zone: TariffZone
) -> Iterable[HourlyReading]:
    day = local_day(placed.day, zone)
    for position, row in hours.items():
        value = row.value
        yield HourlyReading(
            starts_at=day.starts_at[position],
            energy_kwh=value.energy_kwh,
            method=value.method,
            local_date=placed.day,
            local_hour=day.local_hours[position],
            period=day.periods[position],
            surplus_kwh=value.surplus_kwh,
            generation_kwh=value.generation_kwh,
            self_consumption_kwh=value.self_consumption_kwh,
        )


def _add_quarters(
    placed: Placed[Energies], zone: TariffZone
) -> tuple[dict[int, Row[Energies]], list[RejectedRow]]:
    """Add four quarters up to an hour; quarters of an hour that is not complete are refused."""
    hours: dict[int, Row[Energies]] = {}
    refused: list[RejectedRow] = []
    for hour in range(len(local_day(placed.day, zone).starts_at)):
        quarters = [
            placed.rows[slot]
            for slot in range(hour * _QUARTERS, (hour + 1) * _QUARTERS)
            if slot in placed.rows
        ]
        if len(quarters) == _QUARTERS:
            hours[hour] = quarters[0]._replace(value=_sum([row.value for row in quarters]))
        else:
            refused.extend(
                RejectedRow(row.line, f"its hour has only {len(quarters)} of {_QUARTERS} quarters")
                for row in quarters
            )
    return hours, refused


def _sum(parts: list[Energies]) -> Energies:
    is_estimated = any(part.method is ReadingMethod.ESTIMATED for part in parts)
    return Energies(
        sum((part.energy_kwh for part in parts), Decimal(0)),
        ReadingMethod.ESTIMATED if is_estimated else ReadingMethod.REAL,
        _sum_known([part.surplus_kwh for part in parts]),
        _sum_known([part.generation_kwh for part in parts]),
        _sum_known([part.self_consumption_kwh for part in parts]),
    )


def _sum_known(parts: list[Decimal | None]) -> Decimal | None:
    known = [part for part in parts if part is not None]
    return sum(known, Decimal(0)) if known else None


def _supply_point(written: set[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the one supply point of a file, and what is odd about it."""
    points = {text.strip().replace(" ", "").upper() for text in written if text.strip()}
    if len({point[:_SAME_POINT] for point in points}) > 1:
        shown = ", ".join(sorted(mask_cups(point) for point in points)[:5])
        raise UsageError(
            f"the file holds {len(points)} supply points ({shown}): make one file for each, with its rows only"
        )
    if not points:
        return None, ()
    point = max(points, key=len)
    try:
        return normalise_cups(point), ()
    except CupsError as error:
        return point, (f"the CUPS of the file is not valid: {error}; its readings are used all the same",)
