"""The user's profile document: the one place that knows its fields.

`user_profiles_enriched/{user_id}`: user_id, user_name, created_at, updated_at, home_type (may be missing) and
`usage` {months: {"2023-04": {P1, P2, P3 (kWh, decimal text), hours, estimated_hours, first_day, last_day}}, data_from,
data_until}, missing until the first data arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from expert_bot.assistant.numbers import decimal_text
from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import MonthUsage
from expert_bot.errors import PermanentError
from expert_bot.ports import DocKey, Document, Fields, Identity, Value

COLLECTION: Final = "user_profiles_enriched"
USAGE_FIELD: Final = "usage"
DEFAULT_USER_NAME: Final = "Usuario"
MAX_USER_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of a user. `months`: usage by month; `data_from`, `data_until`: first and last local day with data."""

    user_name: str
    home_type: str | None = None
    months: Mapping[Month, MonthUsage] = field(default_factory=dict)
    data_from: date | None = None
    data_until: date | None = None


def profile_key(user_id: str) -> DocKey:
    """Return where a user's profile is."""
    return DocKey(COLLECTION, user_id)


async def display_name(identity: Identity | None, user_id: str) -> str:
    """Return the name a new profile gets: the account's, or `Usuario` if it has none.

    Raises StoreUnavailableError.
    """
    name = await identity.display_name(user_id) if identity is not None else None
    return " ".join((name or "").split())[:MAX_USER_NAME_CHARS] or DEFAULT_USER_NAME


def new_profile_fields(*, user_id: str, user_name: str, created_at: datetime) -> Fields:
    """Return the minimal profile: who, and since when."""
    return {"user_id": user_id, "user_name": user_name, "created_at": created_at, "updated_at": created_at}


def usage_fields(months: Sequence[MonthUsage]) -> dict[str, Value]:
    """Return the value of the `usage` field, the same for the same figures; `months` must not be empty."""
    return {
        "months": {
            usage.month: _month_fields(usage) for usage in sorted(months, key=lambda usage: usage.month)
        },
        "data_from": min(usage.first_day for usage in months),
        "data_until": max(usage.last_day for usage in months),
    }


def read_profile(document: Document) -> Profile:
    """Read a profile; fields it does not know are ignored.

    Raises PermanentError(`profile-unreadable`) if `usage` is not what `usage_fields` writes: figures are never guessed.
    """
    fields = document.fields
    name, home_type = fields.get("user_name"), fields.get("home_type")
    try:
        usage = _mapping(fields.get(USAGE_FIELD, {}))
        return Profile(
            user_name=name if isinstance(name, str) and name else DEFAULT_USER_NAME,
            home_type=home_type if isinstance(home_type, str) else None,
            months={
                Month.parse(month): _read_month(month, _mapping(value))
                for month, value in _mapping(usage.get("months", {})).items()
            },
            data_from=date.fromisoformat(_text(usage["data_from"])) if usage else None,
            data_until=date.fromisoformat(_text(usage["data_until"])) if usage else None,
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise PermanentError(
            "profile-unreadable",
            "the profile's usage is not in the layout that imports write; import the consumption file again",
        ) from error


def _month_fields(usage: MonthUsage) -> Value:
    energy: dict[str, Value] = {
        period.value: decimal_text(usage.energy_kwh.get(period, Decimal(0))) for period in Period
    }
    return {
        **energy,
        "hours": usage.hours,
        "estimated_hours": usage.estimated_hours,
        "first_day": usage.first_day,
        "last_day": usage.last_day,
    }


def _read_month(month: str, fields: Mapping[str, Value]) -> MonthUsage:
    return MonthUsage(
        month=month,
        energy_kwh={period: _energy_kwh(fields[period.value]) for period in Period},
        hours=_count(fields["hours"]),
        estimated_hours=_count(fields["estimated_hours"]),
        first_day=date.fromisoformat(_text(fields["first_day"])).isoformat(),
        last_day=date.fromisoformat(_text(fields["last_day"])).isoformat(),
    )


def _mapping(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a map, not {type(value).__name__}")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


def _energy_kwh(value: Value) -> Decimal:
    energy_kwh = Decimal(_text(value))
    if not energy_kwh.is_finite() or energy_kwh < 0:
        raise ValueError("expected kWh, 0 or more")
    return energy_kwh


def _count(value: Value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a whole number, 0 or more")
    return value
