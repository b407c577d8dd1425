"""The JSON of a bill: numbers stay exact, and every wrong field is named with what is allowed."""

from __future__ import annotations

import copy
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from expert_bot.energy.bill.bill_input import parse_bill_input
from expert_bot.energy.bill.contract import EnergyBlock, FixedTariff, PvpcTariff
from expert_bot.energy.bill.fields import parse_json
from expert_bot.energy.bill.request import BillRequest, bill_request
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.energy.simulation import simulate_household
from expert_bot.errors import UsageError
from tests.unit.bill_world import RULES, amounts

FIXED = {
    "contract": {
        "zone": "peninsula",
        "power_kw": {"P1": 3.45, "P2": 3.45},
        "tariff": {
            "kind": "fixed",
            "power_eur_per_kw_day": {"P1": 0.123, "P2": 0.03},
            "energy_eur_per_kwh": 0.1099,
        },
        "discounts": [{"label": "Descuento", "eur": -1.02}],
        "bono_social": None,
    },
    "period": {"start": "2026-08-13", "end": "2026-09-13", "days": 32, "due": None},
    "consumption": {"kwh": {"P1": 95, "P2": 110, "P3": 162}},
    "meter_rental_days": None,
    "financing_eur_per_day": None,
    "services": [{"label": "Mantenimiento", "eur": 8.30}],
}


def changed(path: str, value: Any) -> Any:  # JSON
    """Return the example with one member changed; the path is written with points."""
    document: Any = copy.deepcopy(FIXED)
    place = document
    *parents, last = path.split(".")
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return document


def read(document: Any, **files: Any) -> BillRequest:  # JSON
    """Read a document as the command line does; `curve` and `prices` are what its files hold."""
    parsed = parse_bill_input(parse_json(json.dumps(document).encode(), "x.json"), "x.json")
    return bill_request(parsed, open_curve=lambda *_: files["curve"], open_prices=lambda *_: files["prices"])


def test_numbers_stay_exact() -> None:
    """0.1099 is 0.1099, written as a number or as text."""
    for price in (0.1099, "0.1099"):
        tariff = read(changed("contract.tariff.energy_eur_per_kwh", price)).contract.tariff
        assert isinstance(tariff, FixedTariff)
        assert Decimal("0.1099") == tariff.energy


def test_every_member_arrives() -> None:
    """What the example says is what the bill is computed from."""
    request = read(FIXED)
    contract = request.contract
    assert (TariffZone.PENINSULA, {PowerPeriod.P1: Decimal("3.45"), PowerPeriod.P2: Decimal("3.45")}) == (
        contract.zone,
        contract.power_kw,
    )
    assert [("Descuento", Decimal("-1.02"))] == [(each.label, each.eur) for each in contract.discounts]
    assert [("Mantenimiento", Decimal("8.30"))] == [(each.label, each.eur) for each in request.services]
    assert (date(2026, 8, 13), date(2026, 9, 13), 32, None) == (
        request.period.start,
        request.period.end,
        request.period.days,
        request.period.due,
    )
    assert Decimal(367) == request.consumption.total_kwh
    assert (
        request.meter_rental_days,
        request.financing_eur_per_day,
        contract.bono_social,
        contract.surplus,
    ) == (None, None, None, None)


def test_a_request_computes_its_bill() -> None:
    """Services, financing and meter days of the input are in the bill."""
    document = {**FIXED, "meter_rental_days": 0, "financing_eur_per_day": "0.1"}
    found = amounts(read(document).compute(rules=RULES))
    assert (found["service_1"], found["bono_financing"], found["meter_rental"]) == ("8.30", "3.20", "0.00")


def test_optional_members_may_be_missing() -> None:
    """Only contract, period and consumption are needed; days are counted with both ends."""
    document = {
        "contract": {key: FIXED["contract"][key] for key in ("zone", "power_kw", "tariff")},  # type: ignore[index]  # JSON
        "period": {"start": "2026-08-13", "end": "2026-09-13"},
        "consumption": FIXED["consumption"],
    }
    request = read(document)
    assert (request.period.days, request.contract.discounts, request.services) == (32, (), ())


def test_prices_come_in_three_shapes() -> None:
    """One price, one of each period, or blocks."""
    three = read(
        changed("contract.tariff.energy_eur_per_kwh", {"P1": 0.3, "P2": 0.2, "P3": 0.1})
    ).contract.tariff
    blocks = read(
        changed(
            "contract.tariff.energy_eur_per_kwh", [{"kwh": 13, "price": 0.156125}, {"kwh": 354, "price": 0.1}]
        )
    ).contract.tariff
    assert isinstance(three, FixedTariff)
    assert isinstance(blocks, FixedTariff)
    assert {Period.P1: Decimal("0.3"), Period.P2: Decimal("0.2"), Period.P3: Decimal("0.1")} == three.energy
    assert (
        EnergyBlock(energy_kwh=Decimal(13), price_eur_per_kwh=Decimal("0.156125")),
        EnergyBlock(energy_kwh=Decimal(354), price_eur_per_kwh=Decimal("0.1")),
    ) == blocks.energy


def test_extras_arrive_too() -> None:
    """Bono social, surplus, due day, days of the year: all that a bill may say."""
    document = changed("contract.bono_social", {"category": "severe", "household": "large_family"})
    document["contract"]["surplus"] = {"eur_per_kwh": "0.06", "tolls_are_compensable": False}
    document["consumption"]["surplus_kwh"] = 12.5
    document["period"].update(due="2026-10-01", days_in_year=366)
    request = read(document)
    bono, surplus = request.contract.bono_social, request.contract.surplus
    assert bono is not None
    assert surplus is not None
    assert (bono.category, bono.household) == ("severe", "large_family")
    assert (Decimal("0.06"), False) == (surplus.eur_per_kwh, surplus.tolls_are_compensable)
    assert (Decimal("12.5"), date(2026, 10, 1), 366) == (
        request.consumption.surplus_kwh,
        request.period.due,
        request.period.days_in_year,
    )


def test_files_are_opened_for_the_zone() -> None:
    """Curve and prices come from the files that the input names."""
    curve = Curve.from_readings(simulate_household(until=date(2026, 9, 30), months=2))
    prices = HourlyPrices(zone=curve.zone, start_hours=curve.start_hours, price_neur=curve.start_hours)
    document = changed("contract.tariff", {"kind": "pvpc", "prices_file": "p.csv"})
    document["consumption"] = {"curve_file": "c.csv"}
    request = read(document, curve=curve, prices=prices)
    assert PvpcTariff(prices=prices) == request.contract.tariff
    assert curve.between(date(2026, 8, 13), date(2026, 9, 14)).total_kwh() == request.consumption.total_kwh
    means = read(
        changed("contract.tariff", {"kind": "pvpc", "mean_prices": {"P1": 0.2, "P2": 0.1, "P3": -0.01}})
    )
    assert isinstance(means.contract.tariff, PvpcTariff)
    assert Decimal("-0.01") == (means.contract.tariff.mean_prices or {})[Period.P3]


@pytest.mark.parametrize(
    ("expected", "path", "value"),
    [
        ("contract.zone: Input should be 'peninsula', 'baleares'", "contract.zone", "madrid"),
        ("contract.zone: is missing", "contract.zone", ...),
        ("contract.power_kw.P1: a 2.0TD supply has more than 0 and at most 15 kW, not 16", "contract.power_kw.P1", 16),
        ("contract.power_kw.P2: a 2.0TD supply", "contract.power_kw.P2", 0),
        ("contract.power_kw.P3: is unknown; allowed: P1, P2", "contract.power_kw.P3", 1),
        ("contract.power_kw: must be an object", "contract.power_kw", 4.6),
        ('contract.power_kw.P1: must be a number, such as 3.45 or "3.45"', "contract.power_kw.P1", True),
        ("contract.tariff: Input tag 'indexed' found using 'kind'", "contract.tariff.kind", "indexed"),
        ("contract.tariff.energy_eur_per_kwh: must be a number", "contract.tariff.energy_eur_per_kwh", "cheap"),
        ("contract.tariff.energy_eur_per_kwh.P3: is missing", "contract.tariff.energy_eur_per_kwh", {"P1": 1, "P2": 1}),
        ("contract.tariff.energy_eur_per_kwh.0.kwh: is missing", "contract.tariff.energy_eur_per_kwh", [{"price": 1}]),
        ("contract.tariff.energy_eur_per_kwh: List should have at least 1", "contract.tariff.energy_eur_per_kwh", []),
        ("contract.tariff: needs either mean_prices or prices_file", "contract.tariff", {"kind": "pvpc"}),
        ("contract.discounts.0.eur: Input should be less than or equal to 0", "contract.discounts.0.eur", 1.02),
        ("contract.bono_social.category: Input should be 'vulnerable' or 'severe'", "contract.bono_social", {"category": "x", "household": "no_minors"}),
        ("contract.bono_social.household: Input should be 'no_minors'", "contract.bono_social", {"category": "severe", "household": "x"}),
        ("period.start: must be a date YYYY-MM-DD", "period.start", "13/08/2026"),
        ("period.start: 2026-02-30 is not a date of the calendar", "period.start", "2026-02-30"),
        ("period.end: must be between the years 2000 and 2100", "period.end", "1999-01-01"),
        ("period.days: Input should be a valid integer", "period.days", "32"),
        ("period.days: Input should be less than or equal to 400", "period.days", 401),
        ("period.days_in_year: Input should be 365 or 366", "period.days_in_year", 360),
        ("period.due: must be a date", "period.due", "2026-05"),
        ("consumption: needs either kwh or curve_file", "consumption", {}),
        ("consumption: surplus_kwh stands beside kwh only", "consumption", {"curve_file": "c", "surplus_kwh": 1}),
        ("consumption.kwh.P1: Input should be greater than or equal to 0", "consumption.kwh.P1", -1),
        ("contract.tariff.prices_file needs consumption.curve_file", "contract.tariff", {"kind": "pvpc", "prices_file": "p"}),
        ("meter_rental_days: Input should be greater than or equal to 0", "meter_rental_days", -1),
        ("financing_eur_per_day: must be a number", "financing_eur_per_day", "free"),
        ("services.0.label: String should have at least 1", "services.0.label", ""),
        ("servicios: is unknown; allowed: contract, period, consumption", "servicios", []),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:30],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_is_allowed(expected: str, path: str, value: Any) -> None:
    """The message begins with the field's place and says what may stand there."""
    with pytest.raises(UsageError) as refused:
        read(changed(path, value))
    assert f"x.json: {expected}" in str(refused.value)


def test_all_wrong_fields_are_named_at_once() -> None:
    """One attempt tells everything."""
    document = changed("contract.zone", "madrid")
    document["period"].update(start="soon", days=0, x=1)
    del document["consumption"]["kwh"]["P2"]
    with pytest.raises(UsageError) as refused:
        read(document)
    for place in ("contract.zone", "period.start", "period.days", "period.x", "consumption.kwh.P2"):
        assert f"{place}: " in str(refused.value)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        pytest.param("Expecting", b"{", id="cut"),
        pytest.param("is not an allowed number", b'{"a": NaN}', id="NaN"),
        pytest.param("is not an allowed number", b"[" + b"9" * 5000 + b"]", id="long number"),
        pytest.param("twice", b'{"a": 1, "a": 2}', id="twice"),
        pytest.param("utf-8", b"\xff\xfe{}", id="encoding"),
        pytest.param("recursion", b"[" * 100_000, id="nested"),
    ],
)
def test_what_is_not_json_is_refused(expected: str, content: bytes) -> None:
    """Cut, ambiguous, endless or differently encoded documents are no input."""
    with pytest.raises(UsageError, match=rf"(?i)x\.json is not JSON: .*{expected}"):
        parse_json(content, "x.json")


@pytest.mark.parametrize("document", [None, 3, [], "text"], ids=str)
def test_an_input_is_an_object(document: Any) -> None:
    """Another JSON value is no bill."""
    with pytest.raises(UsageError, match="must be an object"):
        read(document)


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "1e41"])
def test_a_number_too_long_to_write_is_refused_unwritten(number: str) -> None:
    """A JSON number of ten characters may have a thousand million digits: the message does not show them."""
    content = json.dumps(changed("financing_eur_per_day", "?")).replace('"?"', number).encode()
    with pytest.raises(UsageError) as refused:
        parse_bill_input(parse_json(content, "x.json"), "x.json")
    assert str(refused.value).endswith(
        "financing_eur_per_day: must be a number with at most 9 digits before the point"
    )


@pytest.mark.parametrize("number", ["1e3", "0x1", "1,5", " 1", "1" * 10, "", "١"])
def test_a_number_is_plain_decimal(number: str) -> None:
    """Exponents, commas, blanks and other digits are not numbers of a bill."""
    with pytest.raises(UsageError, match="must be a number"):
        read(changed("financing_eur_per_day", number))
