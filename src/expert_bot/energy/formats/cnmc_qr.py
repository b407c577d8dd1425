"""The QR code on a Spanish electricity bill: one address of CNMC's comparator that holds the whole bill.

Source: Resolución de la CNMC of 6 October 2022 (BOE-A-2022-16989), annex I; only for 2.0TD.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from expert_bot.energy.cups import CupsError, normalise_cups
from expert_bot.energy.formats.cells import shown
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError

MAX_CHARS: Final = 4096
_HOST: Final = "comparador.cnmc.gob.es"
_PATH: Final = re.compile(r"/comparador/QRE\d?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?\d{1,9}(?:[.,]\d{1,9})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_POSTCODE: Final = re.compile(r"\d{5}", re.ASCII)
_NO_DATE: Final = "0000-00-00"
_REQUIRED: Final = ("cups", "pP1", "pP2", "cfP1", "cfP2", "cfP3", "iniF", "finF", "imp")


@dataclass(frozen=True, slots=True, kw_only=True)
class QrBill:
    """A bill as its QR code tells it; what the code leaves out is None.

    Money is EUR before taxes and after discounts, but `total_eur` is what was to pay. Energies by period of the 2.0TD,
    powers by P1, P2. `start` is not part of the billing period, `end` is: `days` = end - start. `is_cups_valid`: the
    check letters. `power_eur_per_kw_year`, `energy_eur_per_kwh`: before discounts. `bono_social_financing_eur`: None
    also where it is in the PVPC's prices (the code then says -1).
    """

    cups: str
    is_cups_valid: bool
    postcode: str | None
    retailer: str | None
    contract_kind: str | None
    invoice_kind: str | None
    start: date
    end: date
    issued_on: date | None
    contract_ends_on: date | None
    total_eur: Decimal
    contracted_kw: Mapping[str, Decimal]
    maximum_kw: Mapping[str, Decimal]
    energy_kwh: Mapping[Period, Decimal]
    year_kwh: Mapping[Period, Decimal]
    year_start: date | None
    power_eur: Decimal | None
    energy_eur: Decimal | None
    surplus_eur: Decimal | None
    discount_eur: Decimal | None
    services_eur: Decimal | None
    bono_social_discount_eur: Decimal | None
    bono_social_financing_eur: Decimal | None
    adjustment_eur: Decimal | None
    other_with_electricity_tax_eur: Decimal | None
    other_without_electricity_tax_eur: Decimal | None
    power_eur_per_kw_year: Mapping[str, Decimal]
    energy_eur_per_kwh: Mapping[Period, Decimal]

    @property
    def days(self) -> int:
        """Days the bill is for."""
        return (self.end - self.start).days

    @property
    def is_pvpc(self) -> bool:
        """Whether the contract is the regulated tariff."""
        return (self.contract_kind or "").upper().startswith("A")


def is_qr(text: str) -> bool:
    """Tell whether a text is the address of a bill's QR code."""
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return False
    return parts.scheme == "https" and parts.hostname == _HOST and bool(_PATH.fullmatch(parts.path))


def parse_qr(text: str) -> QrBill:
    """Read the address in a bill's QR code; the order of its fields and their case do not matter.

    Raises UsageError: not such an address, a field missing, twice or not as the resolution says.
    """
    if len(text) > MAX_CHARS or not is_qr(text):
        raise UsageError(
            f"not the address of a bill's QR code: it begins with https://{_HOST}/comparador/QRE?"
        )
    fields = _Fields(urlsplit(text.strip().replace("&amp;", "&")).query)
    cups, is_valid = _cups(fields.text("cups") or "")
    bill = QrBill(
        cups=cups,
        is_cups_valid=is_valid,
        postcode=fields.matching("cp", _POSTCODE),
        retailer=fields.text("com"),
        contract_kind=fields.text("tc"),
        invoice_kind=fields.text("tf"),
        start=fields.needed_day("iniF"),
        end=fields.needed_day("finF"),
        issued_on=fields.day("fFact"),
        contract_ends_on=fields.day("finContrato"),
        total_eur=fields.needed_number("imp"),
        contracted_kw=fields.powers("pP"),
        maximum_kw=fields.powers("pmaxP"),
        energy_kwh=fields.periods("cfP"),
        year_kwh=fields.periods("caP"),
        year_start=fields.day("iniA"),
        power_eur=fields.number("impPot"),
        energy_eur=fields.number("impEner"),
        surplus_eur=fields.number("exc"),
        discount_eur=fields.number("dto"),
        services_eur=fields.number("impSA"),
        bono_social_discount_eur=fields.number("dtoBS"),
        bono_social_financing_eur=fields.not_minus_one("finBS"),
        adjustment_eur=fields.not_minus_one("ajuste"),
        other_with_electricity_tax_eur=fields.number("impOtrosConIE"),
        other_without_electricity_tax_eur=fields.number("impOtrosSinIE"),
        power_eur_per_kw_year=fields.powers("prP"),
        energy_eur_per_kwh=fields.periods("prE"),
    )
    if bill.days <= 0:
        raise UsageError(f"the QR code's period ends on {bill.end}, not after its start {bill.start}")
    return bill


class _Fields:
    def __init__(self, query: str) -> None:
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(query, max_num_fields=200):
            if self._values.setdefault(name.lower(), value.strip()) != value.strip():
                raise UsageError(f"the QR code has the field {shown(name)} twice")
        missing = [name for name in _REQUIRED if name.lower() not in self._values]
        if missing:
            raise UsageError(f"the QR code lacks {', '.join(missing)}")

    def text(self, name: str) -> str | None:
        return self._values.get(name.lower()) or None

    def matching(self, name: str, pattern: re.Pattern[str]) -> str | None:
        text = self.text(name)
        if text is not None and not pattern.fullmatch(text):
            raise UsageError(f"the QR code's {name} is {shown(text)}, which is not {pattern.pattern}")
        return text

    def number(self, name: str) -> Decimal | None:
        text = self.text(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise UsageError(f"the QR code's {name} is {shown(text)}, not a number such as 60.77")
        return Decimal(text.replace(",", "."))

    def needed_number(self, name: str) -> Decimal:
        return self.number(name) or Decimal(0)  # it is there: `_REQUIRED`

    def not_minus_one(self, name: str) -> Decimal | None:
        number = self.number(name)
        return None if number == -1 else number

    def day(self, name: str) -> date | None:
        text = self.text(name)
        if text is None or text == _NO_DATE:
            return None
        try:
            if _DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass  # 2026-02-30 has the right shape
        raise UsageError(f"the QR code's {name} is {shown(text)}, not a date YYYY-MM-DD")

    def needed_day(self, name: str) -> date:
        day = self.day(name)
        if day is None:
            raise UsageError(f"the QR code lacks {name}")
        return day

    def powers(self, prefix: str) -> dict[str, Decimal]:
        return self._several(prefix, ("1", "2"), "P")

    def periods(self, prefix: str) -> dict[Period, Decimal]:
        return {Period(name): value for name, value in self._several(prefix, ("1", "2", "3"), "P").items()}

    def _several(self, prefix: str, numbers: tuple[str, ...], key: str) -> dict[str, Decimal]:
        found = {f"{key}{number}": self.number(f"{prefix}{number}") for number in numbers}
        return {name: value for name, value in found.items() if value is not None}


def _cups(text: str) -> tuple[str, bool]:
    try:
        return normalise_cups(text), True
    except CupsError:
        return text.upper(), False
