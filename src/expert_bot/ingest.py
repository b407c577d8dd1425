"""Consumption in: one file of hourly readings becomes stored hours and refreshed monthly figures in the profile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.formats import ParsedCurve, RejectedRow, parse_curve
from expert_bot.errors import PreconditionFailedError, StoreUnavailableError, UsageError
from expert_bot.intake import AlsoRead, also_read, profile_write, zone_of
from expert_bot.ports import Analytics, Clock, Documents, Identity, StoreReport
from expert_bot.schemas.identifiers import USER_ID_PATTERN

_MAX_TRIES: Final = 10
_NOTHING_STORED: Final = StoreReport(inserted=0, changed=0, unchanged=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. `accepted` = inserted + changed + unchanged hours.

    `rows_read`: used and rejected rows together (four rows make an hour of a quarter-hour file). `also_read`: what it told
    besides hours. `notes`: what is odd about it and how it was read. `first_day`, `last_day`: local days of the accepted
    rows, None if there were none (then no hour was stored).
    `profile_changed`: whether the user's monthly figures are different now.
    """

    rows_read: int
    accepted: int
    rejected: tuple[RejectedRow, ...]
    also_read: tuple[AlsoRead, ...]
    notes: tuple[str, ...]
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
    *,
    zone: TariffZone | None = None,
) -> ImportReport:
    """Import a consumption file for a user. Importing the same file again changes nothing, in no document.

    `source`: a binary stream or its lines, read in a thread. `zone`: whose clock labels its hours; None: the profile's, else the peninsula's. `identity` names a new profile (`Usuario` without one).
    Safe to repeat after any failure: the profile is refreshed from what is stored, not from this file.
    Raises UsageError (user id or file unusable as a whole) or StoreUnavailableError.
    """
    if not re.fullmatch(USER_ID_PATTERN, user_id):
        raise UsageError(f"user id {user_id[:40]!a} must match {USER_ID_PATTERN}")
    zone = await zone_of(user_id, zone, documents)
    curve = await asyncio.to_thread(parse_curve, source, zone=zone)
    stored = _NOTHING_STORED
    if curve.readings:
        try:
            stored = await analytics.store_readings(user_id, curve.readings, as_of=clock.now())
        except ValueError as error:  # more days than one load may have
            raise UsageError(str(error)) from error
    profile_changed = await refresh_profile(
        user_id, analytics, documents, clock, identity, parsed=curve, zone=zone
    )
    return _report(curve, stored, profile_changed=profile_changed)


async def refresh_profile(
    user_id: str,
    analytics: Analytics,
    documents: Documents,
    clock: Clock,
    identity: Identity | None = None,
    *,
    parsed: ParsedCurve | None = None,
    zone: TariffZone = TariffZone.PENINSULA,
) -> bool:
    """Bring the profile up to what is stored and what a document says; return whether that changed anything.

    Raises StoreUnavailableError, also if the profile kept changing under it.
    """
    for _ in range(_MAX_TRIES):
        write = await profile_write(
            user_id,
            parsed=parsed,
            zone=zone,
            analytics=analytics,
            documents=documents,
            identity=identity,
            at=clock.now(),
        )
        if write is None:
            return False
        try:
            await documents.commit([write])
        except PreconditionFailedError:
            continue  # someone else wrote the profile since it was read: look again
        return True
    raise StoreUnavailableError(f"the profile was changed by others {_MAX_TRIES} times in a row; try again")


def _report(curve: ParsedCurve, stored: StoreReport, *, profile_changed: bool) -> ImportReport:
    readings = curve.readings
    return ImportReport(
        rows_read=curve.rows_read,
        accepted=len(readings),
        rejected=curve.rejected,
        also_read=tuple(also_read(curve)),
        notes=curve.notes,
        inserted=stored.inserted,
        changed=stored.changed,
        unchanged=stored.unchanged,
        first_day=readings[0].local_date if readings else None,
        last_day=readings[-1].local_date if readings else None,
        profile_changed=profile_changed,
    )
