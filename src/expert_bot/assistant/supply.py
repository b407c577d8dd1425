"""What a user's profile knows of their supply: zone, contracted power, monthly maxima. The one place that knows these fields.

`user_profiles_enriched/{user_id}.supply` {zone, power_kw [kW as text, first P1], province, maxima [{month, period,
power_kw, day, minute}, oldest first]}; each may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from expert_bot.assistant.numbers import decimal_text
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.formats import Maximum, ParsedCurve
from expert_bot.errors import PermanentError
from expert_bot.ports import Document, Value

SUPPLY_FIELD: Final = "supply"
MAX_MAXIMA: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """A supply as far as it is known. `power_kw`: contracted, first P1, empty if unknown. `maxima`: oldest first."""

    zone: TariffZone | None = None
    power_kw: tuple[Decimal, ...] = ()
    province: str | None = None
    maxima: tuple[Maximum, ...] = ()


def read_supply(document: Document | None) -> Supply:
    """Read a profile's supply; nothing is known without a profile.

    Raises PermanentError(`profile-unreadable`) if it is not what `merged_supply` writes.
    """
    fields = document.fields.get(SUPPLY_FIELD) if document else None
    try:
        return _read(fields) if isinstance(fields, dict) else Supply()
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise PermanentError(
            "profile-unreadable", "the profile's supply is not in the layout that imports write"
        ) from error


def merged_supply(known: Supply, parsed: ParsedCurve, zone: TariffZone) -> Value:
    """Return the `supply` field after a document: what it says replaces what was known, and maxima are added.

    None if a document says nothing of the supply that is not known.
    """
    contract = parsed.contract
    power_kw = contract.power_kw if contract and contract.power_kw else known.power_kw
    province = contract.province if contract and contract.province else known.province
    tells = bool(parsed.readings or parsed.maxima or contract)
    merged = Supply(
        zone=zone if tells else known.zone,
        power_kw=power_kw,
        province=province,
        maxima=_merged_maxima(known.maxima, parsed.maxima),
    )
    return None if merged == known else _fields(merged)


def _merged_maxima(known: Sequence[Maximum], new: Sequence[Maximum]) -> tuple[Maximum, ...]:
    by_month = {(maximum.month, maximum.period): maximum for maximum in (*known, *new)}
    return tuple(by_month[key] for key in sorted(by_month))[-MAX_MAXIMA:]


def _fields(supply: Supply) -> Value:
    maxima: list[Value] = [
        {
            "month": str(maximum.month),
            "period": maximum.period,
            "power_kw": decimal_text(maximum.power_kw),
            "day": maximum.day.isoformat(),
            "minute": maximum.minute,
        }
        for maximum in supply.maxima
    ]
    return {
        "zone": supply.zone.value if supply.zone else None,
        "power_kw": [decimal_text(power) for power in supply.power_kw],
        "province": supply.province,
        "maxima": maxima,
    }


def _read(fields: Mapping[str, Value]) -> Supply:
    zone, power, province, maxima = (fields.get(name) for name in ("zone", "power_kw", "province", "maxima"))
    return Supply(
        zone=TariffZone(_text(zone)) if zone is not None else None,
        power_kw=tuple(Decimal(_text(value)) for value in _list(power)),
        province=_text(province) if province is not None else None,
        maxima=tuple(_read_maximum(value) for value in _list(maxima)),
    )


def _read_maximum(value: Value) -> Maximum:
    if not isinstance(value, dict) or not isinstance(minute := value["minute"], int):
        raise TypeError("a maximum is a map with a whole minute")
    return Maximum(
        month=Month.parse(_text(value["month"])),
        period=_text(value["period"]),
        power_kw=Decimal(_text(value["power_kw"])),
        day=date.fromisoformat(_text(value["day"])),
        minute=minute,
    )


def _list(value: Value) -> list[Value]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value
