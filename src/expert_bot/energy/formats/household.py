"""Writing the household layout: `fecha,hora,consumo,met_obtencion,datetime`, END-of-hour labels by the clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from expert_bot.energy.calendar import madrid
from expert_bot.energy.formats.rows import METHOD_NAMES
from expert_bot.energy.readings import HourlyReading

COLUMNS: Final = ("fecha", "hora", "consumo", "met_obtencion", "datetime")


def write_household_csv(readings: Iterable[HourlyReading]) -> Iterator[bytes]:
    """Yield the lines of a file that `parse_curve` reads back exactly.

    Readings must be in order of time and of whole days in autumn: there the order tells the two hours 2 apart.
    """
    yield (",".join(COLUMNS) + "\n").encode()
    for reading in readings:
        end = (reading.starts_at + timedelta(hours=1)).astimezone(madrid())
        yield (
            f"{reading.local_date},{end.hour or 24},{reading.energy_kwh:f},"
            f"{METHOD_NAMES[reading.method]},{end:%Y-%m-%d %H:%M:%S}\n"
        ).encode()
