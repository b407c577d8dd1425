"""Curves written in every known layout, with each way to label the hours where the clock changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from expert_bot.energy.calendar import TariffZone, period_of
from expert_bot.energy.readings import HourlyReading, ReadingMethod

CUPS = "ES0291000000000001DN0F"
MADRID = ZoneInfo("Europe/Madrid")
CANARY = ZoneInfo("Atlantic/Canary")
DAYS = {
    "autumn": (date(2022, 10, 29), date(2022, 10, 31)),
    "spring": (date(2023, 3, 25), date(2023, 3, 27)),
    "new year": (date(2023, 12, 30), date(2024, 1, 2)),
}

Labels = Callable[[Sequence[HourlyReading], ZoneInfo], list[str]]
"""Clock labels `HH:MM` of a day's readings."""


def readings_of(
    first: date,
    last: date,
    *,
    seed: int = 1,
    zone: TariffZone = TariffZone.PENINSULA,
    with_panels: bool = False,
) -> list[HourlyReading]:
    """Return an invented reading for every hour of the local days, counted through UTC, independent of the parser."""
    clock = CANARY if zone is TariffZone.CANARIAS else MADRID
    random = Random(seed)
    utc = ZoneInfo("UTC")
    start = _midnight(first, clock).astimezone(utc)
    end = _midnight(last + timedelta(days=1), clock).astimezone(utc)
    readings = []
    while start < end:
        local = start.astimezone(clock)
        readings.append(
            HourlyReading(
                starts_at=start,
                energy_kwh=Decimal(random.randrange(5000)).scaleb(-3),
                method=random.choice(list(ReadingMethod)),
                local_date=local.date(),
                local_hour=local.hour,
                period=period_of(local.date(), local.hour, zone),
                surplus_kwh=Decimal(random.randrange(900)).scaleb(-3) if with_panels else None,
            )
        )
        start += timedelta(hours=1)
    return readings


def clock_at_end(day: Sequence[HourlyReading], clock: ZoneInfo) -> list[str]:
    """Label by the clock at the END; midnight is 24:00."""
    ends = [(reading.starts_at + timedelta(hours=1)).astimezone(clock) for reading in day]
    return [f"{end.hour or 24:02d}:00" for end in ends]


def through_the_day(day: Sequence[HourlyReading], _clock: ZoneInfo) -> list[str]:
    """Count the hours from 1."""
    return [f"{number:02d}:00" for number in range(1, len(day) + 1)]


def start_plus_one(day: Sequence[HourlyReading], _clock: ZoneInfo) -> list[str]:
    """Label by the clock at the START, plus one."""
    return [f"{reading.local_hour + 1:02d}:00" for reading in day]


def clock_at_start(day: Sequence[HourlyReading], _clock: ZoneInfo) -> list[str]:
    """Label by the clock at the START."""
    return [f"{reading.local_hour:02d}:00" for reading in day]


def through_from_zero(day: Sequence[HourlyReading], _clock: ZoneInfo) -> list[str]:
    """Count the hours from 0."""
    return [f"{number:02d}:00" for number in range(len(day))]


def labelled(
    readings: Iterable[HourlyReading], labels: Labels, clock: ZoneInfo
) -> list[tuple[str, HourlyReading]]:
    """Return each reading with its label, day by day."""
    days: dict[date, list[HourlyReading]] = {}
    for reading in readings:
        days.setdefault(reading.local_date, []).append(reading)
    return [pair for day in days.values() for pair in zip(labels(day, clock), day, strict=True)]


def datadis_json(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write an answer of the API."""
    curve = [
        {
            "cups": CUPS,
            "date": f"{reading.local_date:%Y/%m/%d}",
            "time": label,
            "consumptionKWh": float(reading.energy_kwh),
            "obtainMethod": "Real" if reading.method is ReadingMethod.REAL else "Estimada",
            "surplusEnergyKWh": None if reading.surplus_kwh is None else float(reading.surplus_kwh),
            "generationEnergyKWh": None,
            "selfConsumptionEnergyKWh": None,
        }
        for label, reading in rows
    ]
    return json.dumps({"timeCurve": curve, "distributorError": []}).encode()


def datadis_web(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write the CSV of the web: comma decimals, day first, clock labels."""
    return _csv(
        "CUPS;Fecha;Hora;consumo_kWh;metodoObtencion;energiaVertida_kWh;energiaGenerada_kWh;energiaAutoconsumida_kWh",
        (
            f"{CUPS};{r.local_date:%d/%m/%Y};{label};{_comma(r.energy_kwh)};"
            f"{'REAL' if r.method is ReadingMethod.REAL else 'ESTIMADA'};{_comma(r.surplus_kwh)};;"
            for label, r in rows
        ),
    )


def e_distribucion(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write the CSV of e-distribucion: a line before the header, whole hours, a row of totals."""
    total = sum((reading.energy_kwh for _, reading in rows), Decimal(0))
    return (
        _csv(
            "Curva de consumo horaria\n\nCUPS;Fecha;Hora;AE_kWh;AS_KWh;AE_AUTOCONS_kWh;REAL/ESTIMADO",
            (
                f"{CUPS};{r.local_date:%d/%m/%Y};{int(label[:2])};{_comma(r.energy_kwh)};{_comma(r.surplus_kwh)};;"
                f"{_letter(r)}"
                for label, r in rows
            ),
        )
        + f"TOTAL;;;{_comma(total)};;;\r\n".encode()
    )


def i_de(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write the CSV of i-DE: START stamps, Wh, a separator at the end of the line."""
    return _csv(
        "CUPS;FechaHora;CONSUMO Wh;GENERACION Wh;METODO OBT.;",
        (
            f"{CUPS};{r.local_date:%d/%m/%Y} {label};{_watt_hours(r.energy_kwh)};{_watt_hours(r.surplus_kwh)};"
            f"{_letter(r)};"
            for label, r in rows
        ),
    )


def cnmc(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write the CSV of CNMC's curve."""
    return _csv(
        "CUPS;Fecha;Hora;Consumo;Metodo_obtencion",
        (
            f"{CUPS};{r.local_date:%d/%m/%Y};{int(label[:2])};{_comma(r.energy_kwh)};{_letter(r)}"
            for label, r in rows
        ),
    )


def household(rows: list[tuple[str, HourlyReading]]) -> bytes:
    """Write the CSV of the households."""
    return _csv(
        "fecha,hora,consumo,met_obtencion",
        (
            f"{r.local_date},{int(label[:2])},{r.energy_kwh},{'Real' if _letter(r) == 'R' else 'Estimado'}"
            for label, r in rows
        ),
    )


END_WRITERS = {
    "datadis_json": datadis_json,
    "datadis_web_csv": datadis_web,
    "e_distribucion_csv": e_distribucion,
    "cnmc_csv": cnmc,
    "household_csv": household,
}
END_LABELS: dict[str, Labels] = {
    "clock": clock_at_end,
    "through": through_the_day,
    "start plus one": start_plus_one,
}
START_LABELS: dict[str, Labels] = {"clock": clock_at_start, "through": through_from_zero}


def every_file(
    readings: Sequence[HourlyReading], clock: ZoneInfo = MADRID
) -> Iterable[tuple[str, str, bytes]]:
    """Yield layout, way of labelling and file for each way that the readings may be written."""
    for layout, write in END_WRITERS.items():
        for way, labels in END_LABELS.items():
            yield layout, way, write(labelled(readings, labels, clock))
    for way, labels in START_LABELS.items():
        yield "i_de_csv", way, i_de(labelled(readings, labels, clock))


def _midnight(day: date, clock: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=clock)


def _csv(header: str, rows: Iterable[str]) -> bytes:
    return "\r\n".join([header, *rows, ""]).encode()


def _comma(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:.3f}".replace(".", ",")


def _watt_hours(amount: Decimal | None) -> str:
    return "" if amount is None else str(int(amount * 1000))


def _letter(reading: HourlyReading) -> str:
    return "R" if reading.method is ReadingMethod.REAL else "E"
