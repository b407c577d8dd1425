"""document.uploaded: read a household's document, store its hours, and bring the profile up to them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from typing import Final

from expert_bot.assistant.numbers import decimal_text
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import MAX_BYTES, ParsedCurve, parse_curve
from expert_bot.energy.quality import quality_of
from expert_bot.errors import PermanentError, UsageError
from expert_bot.handlers import Context, Reply, Result
from expert_bot.intake import also_read, profile_write, zone_of
from expert_bot.ports import DocKey, Put, StoreReport, Value, Write
from expert_bot.ports_analytics import UploadedDocumentRow
from expert_bot.records import record
from expert_bot.schemas.events.document import (
    FAMILY,
    MAX_REJECTED_LISTED,
    DocumentProcessed,
    DocumentUploaded,
    RejectedRow,
)
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

HANDLES: Final = FAMILY.requested
PROCESSED: Final = FAMILY.replies[0]
DOCUMENTS: Final = "documents"
_SOURCE: Final = "consumption_hourly"
_NOTHING_STORED: Final = StoreReport(inserted=0, changed=0, unchanged=0)


@record(kw_only=True)
class _Loaded:
    """A document as read, and what storing its hours changed."""

    parsed: ParsedCurve
    curve: Curve
    stored: StoreReport
    size_bytes: int


async def handle(request: DocumentUploaded, context: Context) -> Result:
    """Read one document. What it stores in Analytics is idempotent: after a death in the middle it is done again.

    Writes: the profile (from the state it was read in) and the document's record. Raises StoreUnavailableError, or
    PermanentError (`document-unreadable` and those of Files).
    """
    content = await _content(request, context)
    asked = None if request.zone is None else TariffZone(request.zone)
    zone = await zone_of(request.user_id, asked, context.documents)
    parsed = await _parse(content, request, zone)
    loaded = await _store(request, context, parsed, zone, len(content))
    profile = await profile_write(
        request.user_id,
        parsed=parsed,
        zone=zone,
        analytics=context.analytics,
        documents=context.documents,
        identity=context.identity,
        at=context.asked_at,
    )

    processed = _processed(request, loaded)

    await context.analytics.append([_log_row(request, context, loaded, processed)])
    record_write = Put(
        document_key(request.user_id, request.document_id), _record(request, context, processed)
    )
    writes: tuple[Write, ...] = (record_write,) if profile is None else (record_write, profile)
    return Result(replies=(Reply(PROCESSED, processed),), writes=writes)


def document_key(user_id: str, document_id: str) -> DocKey:
    """Return where the record of a user's document is: one user's ids never lead to another user's document."""
    return DocKey(DOCUMENTS, hashlib.sha256(f"{user_id}\n{document_id}".encode()).hexdigest())


async def _content(request: DocumentUploaded, context: Context) -> bytes:
    if request.uri is not None:
        return await context.files.fetch(request.uri, max_bytes=MAX_BYTES)
    content = request.content or ""
    if request.content_encoding == "text":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:  # binascii.Error is one; text that is not ASCII another
        raise PermanentError(
            "document-unreadable", "content is not base64, as content_encoding says"
        ) from error


async def _parse(content: bytes, request: DocumentUploaded, zone: TariffZone) -> ParsedCurve:
    try:
        parsed = await asyncio.to_thread(parse_curve, BytesIO(content), zone=zone)
    except UsageError as error:
        raise PermanentError("document-unreadable", str(error)) from error
    if request.format is not None and request.format != parsed.layout:
        raise PermanentError(
            "document-unreadable",
            f"the document is {parsed.layout}, not what format says; leave format out to have it found",
        )
    return parsed


async def _store(
    request: DocumentUploaded, context: Context, parsed: ParsedCurve, zone: TariffZone, size_bytes: int
) -> _Loaded:
    # a publisher's clock in the future must not shield these hours from the corrections to come
    uploaded_at = min(context.asked_at, context.received_at)
    stored = _NOTHING_STORED
    if parsed.readings:
        try:
            stored = await context.analytics.store_readings(
                request.user_id, parsed.readings, as_of=uploaded_at
            )
        except ValueError as error:  # more days than one load may have
            raise PermanentError("document-unreadable", str(error)) from error
    curve = Curve.from_readings(parsed.readings, zone=zone)
    return _Loaded(parsed=parsed, curve=curve, stored=stored, size_bytes=size_bytes)


def _processed(request: DocumentUploaded, loaded: _Loaded) -> DocumentProcessed:
    parsed, curve = loaded.parsed, loaded.curve
    also_told = also_read(parsed)
    first, last = curve.first_day, curve.last_day
    return DocumentProcessed(
        document_id=request.document_id,
        status="processed" if parsed.readings or also_told else "unusable",
        layout=parsed.layout,
        rows_read=parsed.rows_read,
        rows_accepted=len(parsed.readings),
        rows_rejected=len(parsed.rejected),
        rejected=[
            RejectedRow(line=row.line, reason=row.reason) for row in parsed.rejected[:MAX_REJECTED_LISTED]
        ],
        hours_inserted=loaded.stored.inserted,
        hours_changed=loaded.stored.changed,
        first_day=first.isoformat() if first else None,
        last_day=last.isoformat() if last else None,
        energy_kwh=decimal_text(curve.total_kwh()),
        also_read=also_told,
        notes=list(parsed.notes),
        facts=_facts(curve),
        data_quality=_quality(curve),
    )


def _quality(curve: Curve) -> DataQuality | None:
    return quality_of(curve).as_data_quality() if len(curve) else None


def _facts(curve: Curve) -> list[Fact]:
    first, last = curve.first_day, curve.last_day
    if first is None or last is None:
        return []
    period = FactPeriod(start=first.isoformat(), end=(last + timedelta(days=1)).isoformat())
    values: dict[str, Decimal] = {"consumption_total": curve.total_kwh()}
    values |= {f"consumption_{name.value.lower()}": energy for name, energy in curve.kwh_by_period().items()}
    quality = _quality(curve)
    return [
        Fact(
            id=name,
            value=decimal_text(energy),
            unit="kWh",
            period=period,
            source=_SOURCE,
            data_quality=quality,
        )
        for name, energy in values.items()
    ]


def _record(request: DocumentUploaded, context: Context, processed: DocumentProcessed) -> dict[str, Value]:
    return {
        "user_id": request.user_id,
        "document_id": request.document_id,
        "uploaded_at": context.asked_at,
        "event_source": context.event.source,
        "event_id": context.event.id,
        "uri": request.uri,
        "status": processed.status,
        "layout": processed.layout,
        "rows_read": processed.rows_read,
        "rows_accepted": processed.rows_accepted,
        "rows_rejected": processed.rows_rejected,
        "first_day": processed.first_day,
        "last_day": processed.last_day,
    }


def _log_row(
    request: DocumentUploaded, context: Context, loaded: _Loaded, processed: DocumentProcessed
) -> UploadedDocumentRow:
    curve = loaded.curve
    name = hashlib.sha256(f"{context.event.source}\n{context.event.id}".encode()).hexdigest()
    return UploadedDocumentRow(
        row_id=name,
        recorded_at=context.asked_at,
        document_id=request.document_id,
        user_id=request.user_id,
        status=processed.status,
        layout=processed.layout,
        size_bytes=loaded.size_bytes,
        rows_read=processed.rows_read,
        accepted=processed.rows_accepted,
        rejected=processed.rows_rejected,
        inserted=processed.hours_inserted,
        changed=processed.hours_changed,
        first_day=curve.first_day,
        last_day=curve.last_day,
    )
