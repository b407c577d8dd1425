"""Consumption in: one file of hourly readings becomes stored hours and refreshed monthly figures in the profile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from expert_bot.assistant.profile import (
    USAGE_FIELD,
    display_name,
    new_profile_fields,
    profile_key,
    usage_fields,
)
from expert_bot.energy.household_csv import ParsedCurve, RejectedRow, parse_household_csv
from expert_bot.errors import PreconditionFailedError, StoreUnavailableError, UsageError
from expert_bot.ports import Analytics, Clock, Create, Documents, Identity, StoreReport, Update, Write
from expert_bot.schemas.events.chat import USER_ID_PATTERN

_MAX_TRIES: Final = 10
_NOTHING_STORED: Final = StoreReport(inserted=0, changed=0, unchanged=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. `rows_read` = `accepted` + rejected rows; `accepted` = inserted + changed + unchanged hours.

    `first_day`, `last_day`: local days of the accepted rows, None if there were none (then nothing was stored).
    `profile_changed`: whether the user's monthly figures are different now.
    """

    rows_read: int
    accepted: int
    rejected: tuple[RejectedRow, ...]
    inserted: int
    changed: int
    unchanged: int
    first_day: date | None
    last_day: date | None
    profile_changed: bool


async def import_consumption(
    source: Iterable[bytes],
    user_id: str,
    analytics: Analytics,
    documents: Documents,
    clock: Clock,
    identity: Identity | None = None,
) -> ImportReport:
    """Import a household CSV for a user. Importing the same file again changes nothing, in no document.

    `source`: a binary stream or its lines, read in a thread. `identity` names a new profile (`Usuario` without one).
    Safe to repeat after any failure: the profile is refreshed from what is stored, not from this file.
    Raises UsageError (user id or file unusable as a whole) or StoreUnavailableError.
    """
    if not re.fullmatch(USER_ID_PATTERN, user_id):
        raise UsageError(f"user id {user_id[:40]!a} must match {USER_ID_PATTERN}")
    curve = await asyncio.to_thread(parse_household_csv, source)
    if not curve.readings:
        return _report(curve, _NOTHING_STORED, profile_changed=False)
    stored = await analytics.store_readings(user_id, curve.readings)
    profile_changed = await refresh_profile(user_id, analytics, documents, clock, identity)
    return _report(curve, stored, profile_changed=profile_changed)


async def refresh_profile(
    user_id: str,
    analytics: Analytics,
    documents: Documents,
    clock: Clock,
    identity: Identity | None = None,
) -> bool:
    """Bring the profile's monthly figures up to what is stored; return whether that changed anything.

    Raises StoreUnavailableError, also if the profile kept changing under it.
    """
    for _ in range(_MAX_TRIES):
        write = await _profile_write(user_id, analytics, documents, clock, identity)
        if write is None:
            return False
        try:
            await documents.commit([write])
        except PreconditionFailedError:
            continue  # someone else wrote the profile since it was read: look again
        return True
    raise StoreUnavailableError(f"the profile was changed by others {_MAX_TRIES} times in a row; try again")


async def _profile_write(
    user_id: str, analytics: Analytics, documents: Documents, clock: Clock, identity: Identity | None
) -> Write | None:
    """Return the write that refreshes the profile, or None if it is up to date.

    The profile is read before the figures: whoever stores hours later also writes the profile later, so figures that
    are already old fail on the version instead of replacing newer ones.
    """
    key = profile_key(user_id)
    document = await documents.get(key)
    months = await analytics.monthly_usage(user_id)
    if not months:
        return None
    usage = usage_fields(months)
    if document is None:
        user_name = await display_name(identity, user_id)
        fields = new_profile_fields(user_id=user_id, user_name=user_name, created_at=clock.now())
        return Create(key, {**fields, USAGE_FIELD: usage})
    if document.fields.get(USAGE_FIELD) == usage:
        return None
    return Update(key, {USAGE_FIELD: usage, "updated_at": clock.now()}, if_version=document.version)


def _report(curve: ParsedCurve, stored: StoreReport, *, profile_changed: bool) -> ImportReport:
    readings = curve.readings
    return ImportReport(
        rows_read=curve.rows_read,
        accepted=len(readings),
        rejected=curve.rejected,
        inserted=stored.inserted,
        changed=stored.changed,
        unchanged=stored.unchanged,
        first_day=readings[0].local_date if readings else None,
        last_day=readings[-1].local_date if readings else None,
        profile_changed=profile_changed,
    )
