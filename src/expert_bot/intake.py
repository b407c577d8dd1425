"""Intake: what a document's readings change in a profile. Shared by the import command and the handler of documents."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from expert_bot.assistant.profile import (
    USAGE_FIELD,
    display_name,
    new_profile_fields,
    profile_key,
    usage_fields,
)
from expert_bot.assistant.supply import SUPPLY_FIELD, merged_supply, read_supply
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats import ParsedCurve
from expert_bot.ports import Analytics, Create, DocumentReader, Fields, Identity, Update, Write

AlsoRead = Literal["contract", "power_maxima"]


def also_read(parsed: ParsedCurve) -> list[AlsoRead]:
    """Return what a document told besides hours."""
    told: list[tuple[AlsoRead, bool]] = [
        ("contract", parsed.contract is not None),
        ("power_maxima", bool(parsed.maxima)),
    ]
    return [name for name, is_told in told if is_told]


async def zone_of(user_id: str, asked: TariffZone | None, documents: DocumentReader) -> TariffZone:
    """Return the zone that was asked for, else the one the profile knows, else the peninsula.

    Raises StoreUnavailableError or PermanentError(`profile-unreadable`).
    """
    if asked is not None:
        return asked
    known = read_supply(await documents.get(profile_key(user_id))).zone
    return known or TariffZone.PENINSULA


async def profile_write(
    user_id: str,
    *,
    parsed: ParsedCurve | None,
    zone: TariffZone,
    analytics: Analytics,
    documents: DocumentReader,
    identity: Identity | None,
    at: datetime,
) -> Write | None:
    """Return the write that brings a profile up to a document (if any) and to what is stored; None if it is already.

    The profile is read before the figures: whoever stores hours later also writes the profile later, so figures that
    are already old fail on the version instead of replacing newer ones. Raises StoreUnavailableError, or
    PermanentError(`profile-unreadable`).
    """
    key = profile_key(user_id)
    document = await documents.get(key)
    months = await analytics.monthly_usage(user_id)
    wanted: Fields = {USAGE_FIELD: usage_fields(months)} if months else {}
    supply = merged_supply(read_supply(document), parsed, zone) if parsed else None
    if supply is not None:
        wanted[SUPPLY_FIELD] = supply
    if document is None:
        if not wanted:
            return None
        user_name = await display_name(identity, user_id)
        return Create(
            key, {**new_profile_fields(user_id=user_id, user_name=user_name, created_at=at), **wanted}
        )
    changed = {name: value for name, value in wanted.items() if document.fields.get(name) != value}
    if not changed:
        return None
    return Update(key, {**changed, "updated_at": at}, if_version=document.version)
