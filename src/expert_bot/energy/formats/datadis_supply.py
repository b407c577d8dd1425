"""What Datadis says of a supply besides its curve: monthly maximum power and the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.calendar import Month
from expert_bot.energy.formats.cells import RowError, parse_date, shown
from expert_bot.energy.formats.json_numbers import number_text
from expert_bot.energy.formats.parsed import Maximum, SupplyContract

_POWER: Final = "maxPower"
_CONTRACTED: Final = "contractedPowerkW"
_CLOCK: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)(?::\d{2})?", re.ASCII)
_PERIOD: Final = re.compile(r"[A-Z0-9]{1,10}", re.ASCII)
_WATTS: Final = re.compile(r"\d{1,9}(?:[.,]\d{1,9})?", re.ASCII)
_KILOWATTS: Final = re.compile(r"\d{1,6}(?:[.,]\d{1,9})?", re.ASCII)
_MAX_POWERS: Final = 6
_MAX_NAME: Final = 100
_DAY_MIN: Final = 24 * 60


def is_maximum(members: Mapping[str, object]) -> bool:
    """Tell whether an object is one month's maximum."""
    return _POWER in members and "date" in members and not isinstance(members[_POWER], list)


def parse_maximum(members: Mapping[str, object]) -> Maximum:
    """Read one maximum; the service writes watts. Raises RowError."""
    day = parse_date(str(members.get("date")), name="date")
    written = str(members.get("time") or "00:00")
    clock = _CLOCK.fullmatch(written)
    minute = int(clock[1]) * 60 + int(clock[2]) if clock else _DAY_MIN + 1
    if minute > _DAY_MIN:
        raise RowError(f"time {shown(written)} is not a time 00:00..24:00")
    text = number_text(members[_POWER], _POWER)
    if not _WATTS.fullmatch(text):
        raise RowError(f"{_POWER} {shown(text)} is not a power in W, 0 or more, such as 3008")
    period = str(members.get("period") or "").strip().upper()
    if not _PERIOD.fullmatch(period):
        raise RowError(f"period {shown(period)} is not a period such as PUNTA or VALLE")
    return Maximum(
        month=Month.of(day),
        period=period,
        power_kw=Decimal(text.replace(",", ".")).scaleb(-3),
        day=day,
        minute=minute,
    )


def is_contract(members: Mapping[str, object]) -> bool:
    """Tell whether an object is a contract's details."""
    return _CONTRACTED in members or {"accessFare", "timeDiscrimination"} <= members.keys()


def parse_contract(members: Mapping[str, object]) -> SupplyContract:
    """Read a contract, leaving out what is missing or not as expected."""
    return SupplyContract(
        distributor=_name(members.get("distributor")),
        marketer=_name(members.get("marketer")),
        access_fare=_name(members.get("accessFare") or members.get("codeFare")),
        time_discrimination=_name(members.get("timeDiscrimination")),
        power_kw=_powers(members.get(_CONTRACTED)),
        province=_name(members.get("province")),
        starts_on=_day(members.get("startDate")),
    )


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.encode(errors="ignore").decode()  # a lone surrogate of JSON is no text that can be stored
    return text.strip()[:_MAX_NAME] or None


def _powers(value: object) -> tuple[Decimal, ...]:
    listed = value if isinstance(value, list) else [value]
    if len(listed) > _MAX_POWERS:
        return ()
    try:
        powers = [number_text(each, _CONTRACTED) for each in listed]
    except RowError:
        return ()
    if not all(_KILOWATTS.fullmatch(power) for power in powers):
        return ()
    known = tuple(Decimal(power.replace(",", ".")) for power in powers)
    return known if all(known) else ()


def _day(value: object) -> date | None:
    try:
        return parse_date(str(value), name="startDate")
    except RowError:
        return None
