"""Offers of retailers as JSON: `{"offers": [...]}` or a bare list; bad ones are rejected one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field, ValidationError, model_validator

from expert_bot.energy.bill.bill_input import EnergyPriceInput, EnergyPrices, PowerPrices
from expert_bot.energy.bill.contract import (
    BonoSocial,
    Contract,
    ExtraLine,
    FixedTariff,
    PvpcTariff,
    SurplusTerms,
    Tariff,
)
from expert_bot.energy.bill.fields import Day, Document, Eur, Label, Number, describe
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError

MAX_OFFERS: Final = 2000
PVPC_ID: Final = "pvpc"
"""The id of the regulated tariff in a comparison; no offer may have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """EUR, taxes included, that a new customer gets off in the first year: shown, never ranked."""

    label: str
    eur: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A tariff that can be contracted. `services`: EUR per month without VAT, part of the price.

    `valid_from`, `valid_until` (exclusive): when it can be contracted; None leaves that end open.
    """

    id: str
    name: str
    tariff: Tariff
    retailer: str = ""
    valid_from: date | None = None
    valid_until: date | None = None
    surplus: SurplusTerms | None = None
    services: tuple[ExtraLine, ...] = ()
    promotion: Promotion | None = None

    def is_valid_on(self, day: date) -> bool:
        """Tell whether it can be contracted on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day < self.valid_until
        )

    def contract(
        self,
        zone: TariffZone,
        power_kw: Mapping[PowerPeriod, Decimal],
        *,
        bono_social: BonoSocial | None = None,
        is_home: bool = True,
    ) -> Contract:
        """Return the contract of a supply with this offer; the bono social goes with the PVPC only."""
        return Contract(
            zone=zone,
            power_kw=power_kw,
            tariff=self.tariff,
            surplus=self.surplus,
            bono_social=bono_social if isinstance(self.tariff, PvpcTariff) else None,
            is_home=is_home,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedOffer:
    """An offer that cannot be read: its place in the list from 0, its id if it has one, and why."""

    index: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOffers:
    """What a list of offers held, in its order."""

    offers: tuple[Offer, ...]
    rejected: tuple[RejectedOffer, ...]


class _Service(Document):
    label: Label
    eur_per_month: Annotated[Eur, Field(ge=0)]


class _Promotion(Document):
    label: Label
    eur: Annotated[Eur, Field(ge=0)]


class _Offer(Document):
    id: Annotated[str, Field(min_length=1, max_length=100)]
    name: Label
    retailer: Annotated[str, Field(max_length=200)] = ""
    valid_from: Day | None = None
    valid_until: Day | None = None
    power_eur_per_kw_day: PowerPrices
    energy_eur_per_kwh: EnergyPriceInput
    surplus_eur_per_kwh: Annotated[Number, Field(ge=0, le=10)] | None = None
    tolls_are_compensable: bool = True
    services: list[_Service] = Field(default_factory=list, max_length=20)
    promotion: _Promotion | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> _Offer:
        if isinstance(self.energy_eur_per_kwh, list):
            raise ValueError(  # noqa: TRY004 # pydantic reports ValueError
                "energy_eur_per_kwh must be one price or P1, P2, P3: blocks belong to a bill"
            )
        if self.id == PVPC_ID:
            raise ValueError(f"the id {PVPC_ID} means the regulated tariff, which is always compared")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise ValueError("valid_from must be before valid_until")
        return self


def parse_offers(document: object) -> ParsedOffers:
    """Read offers from a document that `parse_json` gave.

    Raises UsageError if it is neither a list nor an object with a list `offers`, or has more than 2,000.
    """
    listed = document.get("offers") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise UsageError('offers must be a list, or an object with a list "offers"')
    if len(listed) > MAX_OFFERS:
        raise UsageError(f"{len(listed)} offers; at most {MAX_OFFERS} are allowed")
    offers: dict[str, Offer] = {}
    rejected: list[RejectedOffer] = []
    for index, element in enumerate(listed):
        try:
            offer = _offer(_Offer.model_validate(element))
            reason = f"the id {offer.id} stands twice" if offer.id in offers else ""
        except ValidationError as error:
            reason = describe(error)
        if reason:
            rejected.append(RejectedOffer(index=index, id=_id_of(element), reason=reason))
        else:
            offers[offer.id] = offer
    return ParsedOffers(offers=tuple(offers.values()), rejected=tuple(rejected))


def _offer(document: _Offer) -> Offer:
    price, power, promotion = document.energy_eur_per_kwh, document.power_eur_per_kw_day, document.promotion
    surplus = document.surplus_eur_per_kwh
    tariff = FixedTariff(
        power_eur_per_kw_day={PowerPeriod.P1: power.p1, PowerPeriod.P2: power.p2},
        energy={Period.P1: price.p1, Period.P2: price.p2, Period.P3: price.p3}
        if isinstance(price, EnergyPrices)
        else Decimal(price),  # type: ignore[arg-type]  # blocks were refused above
    )
    return Offer(
        id=document.id,
        name=document.name,
        retailer=document.retailer,
        valid_from=document.valid_from,
        valid_until=document.valid_until,
        tariff=tariff,
        surplus=None
        if surplus is None
        else SurplusTerms(eur_per_kwh=surplus, tolls_are_compensable=document.tolls_are_compensable),
        services=tuple(ExtraLine(label=each.label, eur=each.eur_per_month) for each in document.services),
        promotion=None if promotion is None else Promotion(label=promotion.label, eur=promotion.eur),
    )


def _id_of(element: object) -> str:
    found = element.get("id") if isinstance(element, dict) else None
    return found[:100] if isinstance(found, str) else ""
