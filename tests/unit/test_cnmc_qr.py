"""The address in a bill's QR code."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from expert_bot.energy.formats.cnmc_qr import is_qr, parse_qr
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError

START = "https://comparador.cnmc.gob.es/comparador/QRE?"
NEEDED = "cups=ES0291000000000001DN0F&pP1=4.6&pP2=4.6&cfP1=60&cfP2=70&cfP3=120&iniF=2026-05-31&finF=2026-06-30&imp=60.77"


def test_the_sample_is_a_whole_bill(shared_data: Path) -> None:
    """Power, energy, prices, period and total of the sample are the bill B4: 30 days, 60.77 EUR."""
    bill = parse_qr((shared_data / "energy" / "formats" / "cnmc_qr.txt").read_text())
    assert (30, Decimal("60.77")) == (bill.days, bill.total_eur)
    assert (date(2026, 5, 31), date(2026, 6, 30), date(2026, 7, 2)) == (bill.start, bill.end, bill.issued_on)
    assert {"P1": Decimal("4.6"), "P2": Decimal("4.6")} == bill.contracted_kw
    assert [Decimal(kwh) for kwh in (60, 70, 120)] == [bill.energy_kwh[period] for period in Period]
    assert [Decimal(kwh) for kwh in (740, 640, 1220)] == [bill.year_kwh[period] for period in Period]
    assert [Decimal(price) for price in ("0.2", "0.15", "0.1")] == [
        bill.energy_eur_per_kwh[period] for period in Period
    ]
    assert {"P1": Decimal("30.817413"), "P2": Decimal("0.725423")} == bill.power_eur_per_kw_year
    assert ("ES0291000000000001DN0F", True, "28013", "R2-XXX", date(2025, 6, 30)) == (
        bill.cups,
        bill.is_cups_valid,
        bill.postcode,
        bill.retailer,
        bill.year_start,
    )
    assert bill.maximum_kw == {}
    assert not bill.is_pvpc


def test_amounts_that_do_not_apply_are_none() -> None:
    """-1 stands for a charge inside the PVPC's prices, 0000-00-00 for no date; the kind A is the PVPC."""
    bill = parse_qr(
        f"{START}{NEEDED}&tc=A0&tf=N&finBS=-1&ajuste=0&finContrato=0000-00-00&impPot=11.92&exc=-2.50&pmaxP1=3.2"
    )
    assert (True, None, Decimal(0), None) == (
        bill.is_pvpc,
        bill.bono_social_financing_eur,
        bill.adjustment_eur,
        bill.contract_ends_on,
    )
    assert (Decimal("11.92"), Decimal("-2.50"), {"P1": Decimal("3.2")}) == (
        bill.power_eur,
        bill.surplus_eur,
        bill.maximum_kw,
    )


def test_order_case_and_escapes_do_not_matter() -> None:
    """The resolution fixes none of them; printed addresses have `&amp;`, and some a second form QRE2."""
    turned = "&amp;".join(reversed(NEEDED.upper().split("&")))
    assert parse_qr(START + NEEDED) == parse_qr(START.replace("QRE", "QRE2") + turned + "\n")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param("not the address of a bill's QR", "http://comparador.cnmc.gob.es/comparador/QRE?" + NEEDED, id="http"),
        pytest.param("not the address of a bill's QR", "https://comparador.cnmc.gob.es.example/comparador/QRE?" + NEEDED, id="host"),
        pytest.param("not the address of a bill's QR", "https://comparador.cnmc.gob.es/comparador/QREX?" + NEEDED, id="path"),
        pytest.param("not the address of a bill's QR", "https://[", id="no address"),
        pytest.param("not the address of a bill's QR", START + NEEDED + "&x=" + "9" * 5000, id="too long"),
        pytest.param("lacks cups, pP1, pP2, cfP1", START, id="nothing"),
        pytest.param("lacks imp", START + NEEDED.replace("&imp=60.77", ""), id="no total"),
        pytest.param("has the field 'imp' twice", START + NEEDED + "&imp=60.78", id="twice"),
        pytest.param("imp is '1e9', not a number such as 60.77", START + NEEDED.replace("60.77", "1e9"), id="exponent"),
        pytest.param("iniF is '2026-02-30', not a date", START + NEEDED.replace("2026-05-31", "2026-02-30"), id="no such day"),
        pytest.param("finF is '30/06/2026', not a date", START + NEEDED.replace("2026-06-30", "30/06/2026"), id="date order"),
        pytest.param("lacks iniF", START + NEEDED.replace("2026-05-31", "0000-00-00"), id="no start"),
        pytest.param("ends on 2026-05-31, not after its start 2026-05-31", START + NEEDED.replace("2026-06-30", "2026-05-31"), id="no days"),
        pytest.param(r"cp is '1', which is not \\d\{5\}", START + NEEDED + "&cp=1", id="postcode"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_refused(message: str, text: str) -> None:
    """The message says which field is wrong and what is allowed."""
    with pytest.raises(UsageError, match=message):
        parse_qr(text)


def test_an_invalid_cups_is_said_and_the_bill_is_read() -> None:
    """A wrong check letter does not lose a bill."""
    bill = parse_qr(START + NEEDED.replace("DN0F", "dx0f"))
    assert (bill.cups, bill.is_cups_valid) == ("ES0291000000000001DX0F", False)


def test_only_addresses_of_the_comparator_are_qr_codes() -> None:
    """What else a file may hold is not taken for one."""
    assert is_qr(START + NEEDED)
    assert not is_qr("CUPS;Fecha;Hora")
