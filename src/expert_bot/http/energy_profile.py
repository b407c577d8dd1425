"""A user's profile as he sees it himself: who, which months, which supply."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from expert_bot.assistant.facts import USAGE_SOURCE
from expert_bot.assistant.numbers import decimal_text
from expert_bot.assistant.profile import DEFAULT_USER_NAME, Profile, read_profile
from expert_bot.assistant.supply import Supply, read_supply
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import expected_hours
from expert_bot.energy.usage import MonthUsage
from expert_bot.http.firebase_tokens import Caller
from expert_bot.ports import Document
from expert_bot.schemas.fact import DataQuality

_ONE_DECIMAL: Final = Decimal("0.1")


def profile_body(caller: Caller, document: Document | None) -> dict[str, Any]:
    """Return the profile of a caller as JSON, decimals as text; what is not known is null, without a profile all of it.

    Raises PermanentError(`profile-unreadable`).
    """
    if document is None:
        profile = Profile(user_name=caller.display_name or DEFAULT_USER_NAME)
    else:
        profile = read_profile(document)
    supply = read_supply(document)
    quality = _quality(profile, supply.zone or TariffZone.PENINSULA)
    return {
        "user_id": caller.user_id,
        "user_name": profile.user_name,
        "home_type": profile.home_type,
        "data_from": None if profile.data_from is None else profile.data_from.isoformat(),
        "data_until": None if profile.data_until is None else profile.data_until.isoformat(),
        "months": [_month(usage) for _, usage in sorted(profile.months.items())],
        "supply": _supply(supply),
        "data_quality": None if quality is None else quality.model_dump(mode="json"),
        "source": USAGE_SOURCE,
    }


def _month(usage: MonthUsage) -> dict[str, Any]:
    return {
        "month": usage.month,
        "kwh": {period.value: decimal_text(energy) for period, energy in usage.energy_kwh.items()},
        "total_kwh": decimal_text(usage.total_kwh),
        "hours": usage.hours,
        "hours_expected": usage.expected_hours,
        "estimated_hours": usage.estimated_hours,
        "first_day": usage.first_day,
        "last_day": usage.last_day,
    }


def _supply(supply: Supply) -> dict[str, Any]:
    power = [decimal_text(power_kw) for power_kw in supply.power_kw]
    return {
        "zone": None if supply.zone is None else supply.zone.value,
        "power_kw": {"P1": power[0], "P2": power[-1]} if power else None,
        "province": supply.province,
    }


def _quality(profile: Profile, zone: TariffZone) -> DataQuality | None:
    """Return how complete the data are from their first day to their last; None without data."""
    first, last = profile.data_from, profile.data_until
    if first is None or last is None:
        return None
    hours = sum(usage.hours for usage in profile.months.values())
    estimated = sum(usage.estimated_hours for usage in profile.months.values())
    expected = expected_hours(first, last + timedelta(days=1), zone)
    return DataQuality(
        coverage_pct=_percent(min(hours, expected), expected),
        estimated_pct=_percent(estimated, hours),
        data_until=last.isoformat(),
    )


def _percent(part: int, whole: int) -> str:
    """Return a share in percent, one decimal, rounded down: 100.0 means all of it."""
    share_pct = Decimal(100 * part) / whole if whole else Decimal(0)
    return str(share_pct.quantize(_ONE_DECIMAL, ROUND_DOWN))
