"""A household as an analysis needs it, loaded from the stores: readings, supply, offers, prices."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from expert_bot.assistant.profile import profile_key
from expert_bot.assistant.supply import Supply, read_supply
from expert_bot.energy.analyses.catalogue import AnalysisInputs, exact_json
from expert_bot.energy.bill.offers import ParsedOffers, parse_offers
from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR, Month, TariffZone, time_zone_of
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError
from expert_bot.ports import Analytics, DocKey, Document, DocumentReader, Fields
from expert_bot.schemas.events.analysis import AnalysisRequested, PowerKw
from expert_bot.schemas.fact import FactPeriod

OFFERS: Final = "tariff_offers"
MAX_OFFERS: Final = 500
_NEEDS_OFFERS: Final = frozenset({"tariff_comparison", "recommendations"})
_NEEDS_PRICES: Final = frozenset(
    {"tariff_comparison", "recommendations", "solar", "contracted_power", "bill_check"}
)


async def load_household(
    request: AnalysisRequested,
    *,
    asked_at: datetime,
    analytics: Analytics,
    documents: DocumentReader,
    confirmed: Mapping[Month, bool],
) -> AnalysisInputs:
    """Return what an analysis needs: what the request says, else what is stored.

    Raises StoreUnavailableError, UsageError (parameters that cannot be) or PermanentError(`profile-unreadable`).
    """
    parameters = request.parameters
    supply = read_supply(await documents.get(profile_key(request.user_id)))
    zone = TariffZone(parameters.zone) if parameters.zone else supply.zone or TariffZone.PENINSULA
    curve, offers = await asyncio.gather(
        analytics.hourly_curve(request.user_id, zone=zone), _offers(request, documents)
    )
    surplus = parameters.surplus_price_eur_per_kwh
    first, until = _period(request.period)
    return AnalysisInputs(
        curve=curve,
        on=asked_at.astimezone(time_zone_of(zone)).date(),
        zone=zone,
        first=first,
        until=until,
        power_kw=_power_kw(parameters.power_kw, supply),
        tariff=_exact_object(parameters.tariff),
        offers=offers,
        current_offer_id=parameters.current_offer_id,
        prices=await _prices(request.kind, curve, zone, analytics),
        maxima=supply.maxima,
        province=parameters.province or supply.province,
        surplus_eur_per_kwh=None if surplus is None else Decimal(surplus),
        backtest_days=parameters.backtest_days,
        bill=_exact_object(parameters.bill),
        confirmed=confirmed,
    )


def offer_key(offer_id: str) -> DocKey:
    """Return where an offer is stored."""
    return DocKey(OFFERS, hashlib.sha256(offer_id.encode()).hexdigest())


def offer_fields(offer: Mapping[str, object]) -> Fields:
    """Return an offer's document: as JSON text, so that every price stays as it was written."""
    return {"id": str(offer["id"]), "offer_json": json.dumps(offer, default=str, ensure_ascii=False)}


async def _offers(request: AnalysisRequested, documents: DocumentReader) -> ParsedOffers:
    if request.kind not in _NEEDS_OFFERS:
        return ParsedOffers(offers=(), rejected=())
    listed: Sequence[object] | None = request.parameters.offers
    if listed is None:
        stored = await documents.find(OFFERS, [], limit=MAX_OFFERS)
        listed = [_stored_offer(document) for document in sorted(stored, key=lambda document: document.key)]
    return parse_offers(exact_json(listed))


def _stored_offer(document: Document) -> object:
    """Return an offer as `offer_fields` wrote it, or as someone wrote it by hand, field by field."""
    text = document.fields.get("offer_json")
    if not isinstance(text, str):
        return document.fields
    try:
        return json.loads(text)
    except ValueError:
        return {"id": document.key.id}  # rejected as an offer, beside the good ones


async def _prices(kind: str, curve: Curve, zone: TariffZone, analytics: Analytics) -> HourlyPrices | None:
    first, last = curve.first_day, curve.last_day
    if kind not in _NEEDS_PRICES or first is None or last is None:
        return None
    prices = await analytics.hourly_prices(zone, first=first, until=last + timedelta(days=1))
    return prices if len(prices.start_hours) else None


def _power_kw(given: PowerKw | None, supply: Supply) -> Mapping[PowerPeriod, Decimal] | None:
    if given is not None:
        return {PowerPeriod.P1: Decimal(given.P1), PowerPeriod.P2: Decimal(given.P2)}
    if not supply.power_kw:
        return None
    return {PowerPeriod.P1: supply.power_kw[0], PowerPeriod.P2: supply.power_kw[-1]}


def _exact_object(value: Mapping[str, object] | None) -> Mapping[str, object] | None:
    exact = None if value is None else exact_json(value)
    return exact if isinstance(exact, dict) else None


def _period(period: FactPeriod | None) -> tuple[date | None, date | None]:
    if period is None:
        return None, None
    first, until = _day("start", period.start), _day("end", period.end)
    if until <= first:
        raise UsageError("period.end must be after period.start: it is the first day after the period")
    return first, until


def _day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:  # 2023-02-30 has the right shape
        raise UsageError(f"period.{name} is not a date that exists") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise UsageError(f"period.{name} must be in the years {FIRST_YEAR}..{LAST_YEAR}")
    return day
