"""Checking a printed bill: what agrees, what does not, and which rate, base or day count explains it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.bill_checking import bill_tax_causes
from expert_bot.energy.analyses.bill_checking.bill_causes import CauseCode
from expert_bot.energy.analyses.bill_checking.bill_check import check_bill
from expert_bot.energy.analyses.bill_checking.bill_check_report import bill_check_report
from expert_bot.energy.analyses.bill_checking.bill_checked import BillCheck, LineStatus
from expert_bot.energy.analyses.bill_checking.bill_printed import PrintedBill, parse_printed
from expert_bot.energy.analyses.bill_checking.bill_qr import bill_of_qr
from expert_bot.energy.bill.request import BillRequest
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.formats.cnmc_qr import parse_qr
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.advice_world import RULES
from tests.unit.bill_world import Case, amounts, by_period, fixed, pvpc

JULY_2024 = Case(start=date(2024, 7, 10), end=date(2024, 8, 12), days=34, power_kw=("5.5", "5.5"))
STALE = {
    CauseCode.TOLLS_OF_OTHER_DATE,
    CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE,
    CauseCode.VAT_OF_OTHER_DATE,
}


def request_of(case: Case) -> BillRequest:
    """Return what a case's bill is computed from."""
    return BillRequest(contract=case.contract, period=case.period, consumption=case.consumption)


def right(case: Case) -> dict[str, str]:
    """Return the right lines of a case and its total."""
    bill = case.bill()
    return {**amounts(bill), "total": f"{bill.total:f}"}


def check(case: Case, **printed: str) -> BillCheck:
    """Check a bill that is printed right but for these amounts; its total follows unless given."""
    lines = {**right(case), **printed}
    total = printed.get("total", str(sum(Decimal(eur) for name, eur in lines.items() if name != "total")))
    return check_bill(
        request_of(case),
        parse_printed(
            {"lines": {name: eur for name, eur in lines.items() if name != "total"}, "total": total}
        ),
        rules=RULES,
    )


def of(found: BillCheck, line_id: str) -> tuple[LineStatus, list[CauseCode]]:
    """Return the status of a line and its causes."""
    (line,) = (line for line in found.lines if line.id == line_id)
    return line.status, [cause.code for cause in line.causes]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(), id="pvpc"),
        pytest.param(Case(tariff=fixed(by_period("0.2", "0.15", "0.1"))), id="three-prices"),
        pytest.param(Case(bono=("vulnerable", "no_minors"), discounts=("-3.10",)), id="bono-and-discount"),
        pytest.param(JULY_2024, id="2024"),
    ],
)
def test_a_right_bill_matches(case: Case) -> None:
    """Every line and the total match, without a cause."""
    found = check(case)
    assert found.all_match
    assert found.causes == ()
    assert {LineStatus.MATCHES} == {line.status for line in found.lines}


def peer_sample(shared_data: Path) -> tuple[BillRequest, Decimal]:
    """Return the wrong sample of the reference bills, and its printed total."""
    cases = json.loads((shared_data / "energy" / "reference_bills.json").read_text(), parse_float=Decimal)[
        "cases"
    ]
    (sample,) = (case for case in cases if case["id"] == "B8-kwhmeter-2024-08")
    kwh, cost = sample["kwh"], sample["pvpc_energy_cost"]
    case = JULY_2024.but(
        kwh=tuple(kwh[each.value] for each in Period),
        tariff=pvpc(*(cost[each.value] / kwh[each.value] for each in Period)),
    )
    return request_of(case), sample["peer_total"]


def test_old_rates_are_named_line_by_line(shared_data: Path) -> None:
    """The wrong sample has the tolls of 2023, 0.5 % electricity tax without its floor, and 5 % VAT: each is named."""
    request, _ = peer_sample(shared_data)
    lines = {
        "power_p1": "14.56",  # 2023 and 2024 give the same cents
        "power_p2": "0.69",
        "energy": "55.51",
        "bono_financing": "0.21",
        "electricity_tax": "0.35",
        "meter_rental": "0.90",
        "vat": "3.61",
    }
    found = check_bill(request, parse_printed({"lines": lines, "total": "75.83"}), rules=RULES)
    assert of(found, "power_p2") == (LineStatus.WRONG_RATE, [CauseCode.TOLLS_OF_OTHER_DATE])
    assert of(found, "electricity_tax") == (
        LineStatus.WRONG_RATE,
        [CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE, CauseCode.FLOOR_NOT_APPLIED],
    )
    assert of(found, "vat") == (LineStatus.WRONG_RATE, [CauseCode.VAT_OF_OTHER_DATE])
    assert of(found, "total") == (LineStatus.DIFFERENT_BASE, [CauseCode.FOLLOWS_OTHER_LINES])
    assert {LineStatus.MATCHES} == {
        of(found, name)[0] for name in ("power_p1", "energy", "bono_financing", "meter_rental")
    }
    assert {*STALE, CauseCode.FLOOR_NOT_APPLIED} == {cause.code for cause in found.causes}
    texts = " ".join(cause.text for cause in found.causes)
    assert "of 2023-01-01 to 2024-01-01" in texts
    assert "0.5 %" in texts
    assert "5 %, a rate of 2022-07-01" in texts


def test_old_rates_are_named_from_the_total_alone(shared_data: Path) -> None:
    """75.66 EUR instead of 82.83 is what the rates of 2023 give; all three are named."""
    request, total = peer_sample(shared_data)
    found = check_bill(request, PrintedBill(lines={}, total=total), rules=RULES)
    assert LineStatus.WRONG_RATE is of(found, "total")[0]
    assert {cause.code for cause in found.causes} >= STALE
    assert bill_check_report(found).result["too_much_eur"] == "-7.17"


def test_another_length_of_the_year_is_a_different_base() -> None:
    """365 days in a leap year: 5.5 kW of P1 cost 14.60 EUR instead of 14.56."""
    found = check(JULY_2024, power_p1="14.60")
    assert of(found, "power_p1") == (LineStatus.DIFFERENT_BASE, [CauseCode.YEAR_LENGTH])


def test_another_day_count_is_a_different_base() -> None:
    """A meter rented for 31 days instead of 30."""
    expected = right(Case().but(start=date(2026, 5, 31), days=31))["meter_rental"]
    found = check(Case(), meter_rental=expected)
    assert of(found, "meter_rental") == (LineStatus.DIFFERENT_BASE, [CauseCode.DAY_COUNT])


def test_two_causes_may_come_together() -> None:
    """The tolls of 2023 and 365 days: both lines of power printed as one sum."""
    lines = {**right(JULY_2024), "power": "15.29"}
    del lines["power_p1"], lines["power_p2"], lines["total"]
    found = check_bill(request_of(JULY_2024), parse_printed({"lines": lines}), rules=RULES)
    assert of(found, "power") == (
        LineStatus.WRONG_RATE,
        [CauseCode.TOLLS_OF_OTHER_DATE, CauseCode.YEAR_LENGTH],
    )


@pytest.mark.parametrize(
    ("code", "line", "printed"),
    [
        pytest.param(CauseCode.MARGIN_LEFT_OUT, "power_p1", "10.47", id="no-margin"),
        pytest.param(CauseCode.FINANCING_OF_OTHER_DATE, "bono_financing", "0.38", id="financing-of-2025"),
        pytest.param(CauseCode.VAT_OF_OTHER_DATE, "vat", "5.02", id="vat-10"),
        pytest.param(CauseCode.ELECTRICITY_TAX_OF_OTHER_DATE, "electricity_tax", "1.79", id="tax-3.8"),
    ],
)
def test_a_wrong_rate_is_named(code: CauseCode, line: str, printed: str) -> None:
    """One line with a value of another date, all others right: only that one is a wrong rate."""
    found = check(Case(), **{line: printed})
    status, causes = of(found, line)
    assert (LineStatus.WRONG_RATE, [code]) == (status, causes)


JUNE_2021 = Case(start=date(2021, 6, 1), end=date(2021, 6, 30))


@pytest.mark.parametrize(
    ("expected", "line", "printed"),
    [
        pytest.param((LineStatus.DIFFERS, []), "power_p1", "12.00", id="nothing-explains-it"),
        pytest.param(
            (LineStatus.DIFFERENT_BASE, [CauseCode.DAY_COUNT]), "power_p1", "12.35", id="29-days-of-power"
        ),
        pytest.param(
            (LineStatus.DIFFERENT_BASE, [CauseCode.DAY_COUNT]), "meter_rental", "0.77", id="29-days-of-rental"
        ),
    ],
)
def test_the_first_bill_of_the_rules_is_checked(
    expected: tuple[LineStatus, list[CauseCode]], line: str, printed: str
) -> None:
    """A day more begins before the first loaded rule: it is not tried, and all the rest is."""
    assert expected == of(check(JUNE_2021, **{line: printed}), line)


NEW_YEARS = [
    pytest.param(
        "365 days, not 366",
        Case(start=date(2024, 12, 1), end=date(2024, 12, 31), due=date(2025, 1, 7)),
        365,
        id="billed-in-a-leap-year-due-in-the-next",
    ),
    pytest.param(
        "365 days, not 366 and 365",
        Case(start=date(2024, 12, 10), end=date(2025, 1, 9)),
        365,
        id="out-of-a-leap-year",
    ),
    pytest.param(
        "366 days, not 366 and 365",
        Case(start=date(2024, 12, 10), end=date(2025, 1, 9)),
        366,
        id="out-of-a-leap-year-as-if-in-it",
    ),
    pytest.param(
        "366 days, not 365 and 366",
        Case(start=date(2023, 12, 20), end=date(2024, 1, 19), power_kw=("5.5", "5.5")),
        366,
        id="into-a-leap-year",
    ),
]


@pytest.mark.parametrize(("expected", "case", "days_in_year"), NEW_YEARS)
def test_the_billed_days_say_how_long_the_year_is(expected: str, case: Case, days_in_year: int) -> None:
    """Neither the day of payment nor the last day alone: a line over New Year has two right lengths."""
    wrong = right(case.but(days_in_year=days_in_year))
    found = check(case, power_p1=wrong["power_p1"])
    assert of(found, "power_p1") == (LineStatus.DIFFERENT_BASE, [CauseCode.YEAR_LENGTH])
    total = check_bill(
        request_of(case), PrintedBill(lines={}, total=Decimal(wrong["total"])), rules=RULES
    ).lines[-1]
    for line in (found.lines[0], total):
        assert [f"yearly amounts divided by {expected}"] == [cause.text for cause in line.causes]


AUGUST_2026 = Case(start=date(2026, 8, 1), end=date(2026, 8, 31))


@pytest.mark.parametrize(
    ("expected", "case", "total"),
    [
        pytest.param(
            "tolls and charges of 2025-01-01 to 2026-01-01", AUGUST_2026, "61.14", id="taxes-were-the-same"
        ),
        pytest.param(
            "electricity tax of 2026-03-22 to 2026-06-01",
            AUGUST_2026.but(zone=TariffZone.CANARIAS),
            "48.73",
            id="no-VAT-in-Canarias",
        ),
    ],
)
def test_a_total_accuses_only_what_makes_it(expected: str, case: Case, total: str) -> None:
    """A row of another date with the same values, or a tax that the zone does not have, is no cause."""
    found = check_bill(request_of(case), PrintedBill(lines={}, total=Decimal(total)), rules=RULES)
    assert [f"{expected} (not included)"] == [cause.text for cause in found.causes]


def test_a_tax_on_wrong_lines_follows_them() -> None:
    """A power line 10 EUR too high makes the taxes higher at the right rate: they follow it."""
    power = Decimal(right(Case())["power_p1"]) + 10
    base = Case().bill().electricity_tax_base + 10
    tax = (base * Decimal("0.0511269632")).quantize(Decimal("0.01"))
    rental = Decimal(right(Case())["meter_rental"])
    vat = ((base + tax + rental) * Decimal("0.21")).quantize(Decimal("0.01"))
    found = check(Case(), power_p1=str(power), electricity_tax=str(tax), vat=str(vat))
    assert of(found, "power_p1") == (LineStatus.DIFFERS, [])
    for line in ("electricity_tax", "vat", "total"):
        assert of(found, line) == (LineStatus.DIFFERENT_BASE, [CauseCode.FOLLOWS_OTHER_LINES])
    assert found.causes == ()


def test_a_rental_under_the_electricity_tax_is_a_different_base() -> None:
    """The meter rental and services are outside the base of the electricity tax."""
    case = Case(kwh=(600, 700, 1200))
    bill = case.bill()
    base = bill.electricity_tax_base + bill.eur("meter_rental")
    tax = (base * Decimal("0.0511269632")).quantize(Decimal("0.01"))
    assert of(check(case, electricity_tax=str(tax)), "electricity_tax") == (
        LineStatus.DIFFERENT_BASE,
        [CauseCode.OTHER_BASE],
    )


def test_what_nothing_explains_differs() -> None:
    """An amount that no rule gives has no cause, and the difference is stated."""
    found = check(Case(), energy="99.99")
    (line,) = (line for line in found.lines if line.id == "energy")
    assert (line.status, line.causes) == (LineStatus.DIFFERS, ())
    assert Decimal("99.99") - Decimal(right(Case())["energy"]) == line.difference_eur


def test_energy_may_be_printed_by_period() -> None:
    """Three printed lines of the PVPC's energy are added up; a cent between them is rounding, not an error."""
    lines = {name: eur for name, eur in right(Case()).items() if name not in {"energy", "total"}}
    by_lines = {**lines, "energy_p1": "12.00", "energy_p2": "10.50", "energy_p3": "12.00"}
    found = check_bill(request_of(Case()), parse_printed({"lines": by_lines}), rules=RULES)
    assert found.all_match
    by_lines["energy_p3"] = "12.01"
    found = check_bill(request_of(Case()), parse_printed({"lines": by_lines}), rules=RULES)
    assert of(found, "energy") == (LineStatus.DIFFERENT_BASE, [CauseCode.ROUNDING])


def test_missing_and_unknown_lines_are_said() -> None:
    """A line that is not printed, one that no contract gives, and a total that is not their sum."""
    lines = right(Case())
    total = lines.pop("total")
    del lines["bono_financing"]
    found = check_bill(
        request_of(Case()),
        parse_printed({"lines": {**lines, "service_9": "1.00"}, "total": total}),
        rules=RULES,
    )
    assert of(found, "bono_financing") == (LineStatus.DIFFERS, [CauseCode.NOT_PRINTED])
    assert of(found, "service_9") == (LineStatus.DIFFERS, [CauseCode.NOT_IN_BILL])
    wrong_sum = check(Case(), total="1.00")
    assert of(wrong_sum, "total") == (LineStatus.DIFFERS, [CauseCode.DOES_NOT_ADD_UP])


NOVEMBER = Case(start=date(2026, 11, 1), end=date(2026, 11, 30))


def printed_under(condition: str) -> Mapping[str, str]:
    """Return the printed bill of November 2026 under one outcome of the law."""
    bill = NOVEMBER.bill()
    (reading,) = (each for each in bill.readings if each.condition == condition)
    return {
        **amounts(bill),
        "electricity_tax": f"{reading.electricity_tax:f}",
        "vat": f"{reading.vat:f}",
    }


@pytest.mark.parametrize("condition", ["condition_met_and_validated", "otherwise"])
def test_an_unsettled_law_accepts_either_reading(condition: str) -> None:
    """A bill of November 2026 matches if it follows one of the two readings."""
    lines = printed_under(condition)
    total = str(sum(map(Decimal, lines.values())))
    found = check_bill(
        request_of(NOVEMBER), parse_printed({"lines": dict(lines), "total": total}), rules=RULES
    )
    assert found.all_match
    assert of(found, "vat") == (LineStatus.MATCHES, [CauseCode.CONDITIONAL_LAW])


def test_an_unsettled_law_is_pending_for_anything_else() -> None:
    """Another tax than either reading cannot be judged before the law is settled."""
    lines = {**printed_under("otherwise"), "vat": "1.00"}
    found = check_bill(request_of(NOVEMBER), parse_printed({"lines": lines, "total": "50.00"}), rules=RULES)
    for line in ("vat", "total"):
        assert of(found, line) == (LineStatus.PENDING, [CauseCode.OFFICIAL_DATA_PENDING])


def test_a_confirmed_law_is_checked_like_any_other() -> None:
    """Once a setting says that November's condition was not met, a tax of the other reading is a wrong rate."""
    lines = {**printed_under("otherwise"), "vat": printed_under("condition_met_and_validated")["vat"]}
    confirmed = {Month(2026, 11): False}
    found = check_bill(
        request_of(NOVEMBER), parse_printed({"lines": lines}), rules=RULES, confirmed=confirmed
    )
    assert of(found, "electricity_tax") == (LineStatus.MATCHES, [])
    assert of(found, "vat")[0] is not LineStatus.MATCHES
    total = NOVEMBER.bill(confirmed=confirmed).total
    assert total is not None
    assert check_bill(
        request_of(NOVEMBER), PrintedBill(lines={}, total=total), rules=RULES, confirmed=confirmed
    ).all_match


def test_a_discount_of_the_bono_social_at_an_old_percentage() -> None:
    """In July 2026 the vulnerable get 42.5 %; 65 % is the percentage of 2024."""
    case = Case(bono=("vulnerable", "no_minors"))
    bill = case.bill()
    printed = (bill.eur("bono_discount") * Decimal(65) / Decimal("42.5")).quantize(Decimal("0.01"))
    assert of(check(case, bono_discount=str(printed)), "bono_discount") == (
        LineStatus.WRONG_RATE,
        [CauseCode.BONO_SOCIAL_OF_OTHER_DATE],
    )


@pytest.mark.parametrize(
    ("expected", "vat"),
    [
        pytest.param([CauseCode.OTHER_BASE], "0.00", id="rental-forgotten"),
        pytest.param([], "9.99", id="nothing"),
    ],
)
def test_canarias_has_its_own_tax(expected: list[CauseCode], vat: str) -> None:
    """IGIC: 0 % on a home's electricity, 7 % on the meter rental; rates of the mainland's VAT are not tried."""
    case = Case(zone=TariffZone.CANARIAS)
    assert right(case)["vat"] == "0.06"
    assert expected == of(check(case, vat=vat), "vat")[1]


def test_outside_the_loaded_rules_everything_is_pending() -> None:
    """For 2027 no official value is loaded: no line is judged with an old one."""
    case = Case(start=date(2027, 2, 1), end=date(2027, 2, 28))
    found = check_bill(
        request_of(case), parse_printed({"lines": {"power_p1": "11"}, "total": "60"}), rules=RULES
    )
    assert {LineStatus.PENDING} == {line.status for line in found.lines}
    assert "no official value loaded" in found.causes[0].text
    assert bill_check_report(found).result["too_much_eur"] is None


QR = Path("energy") / "formats" / "cnmc_qr.txt"


def test_a_qr_code_is_a_bill_to_check(shared_data: Path) -> None:
    """The sample code holds the PVPC bill of June 2026: its 60.77 EUR are right."""
    request, printed = bill_of_qr(parse_qr((shared_data / QR).read_text().strip()), rules=RULES)
    found = check_bill(request, printed, rules=RULES)
    assert found.all_match
    assert Decimal("60.77") == found.lines[-1].expected_eur


def test_a_qr_code_with_other_prices_is_a_fixed_tariff(shared_data: Path) -> None:
    """Prices that are not the regulated ones are the contract's own; services and discounts are taken as printed."""
    text = (shared_data / QR).read_text().strip().replace("prP1=30.817413", "prP1=36.5&impSA=5&dto=2")
    code = parse_qr(text)
    request, _ = bill_of_qr(replace(code, energy_eur_per_kwh=by_period("0.1", "0.1", "0.1")), rules=RULES)
    bill = amounts(request.compute(rules=RULES))
    assert (bill["power_p1"], bill["discount_1"], bill["service_1"]) == ("13.80", "-2.00", "5.00")
    with pytest.raises(UsageError, match="lacks contracted powers"):
        bill_of_qr(replace(code, energy_eur_per_kwh={}), rules=RULES)


def test_a_qr_code_of_days_without_rules_is_pending(shared_data: Path) -> None:
    """Whether its power price is the regulated one of 2027 is not known, nor is any line."""
    text = (shared_data / QR).read_text().strip()
    later = text.replace("iniF=2026-05-31&finF=2026-06-30", "iniF=2026-12-31&finF=2027-01-30")
    request, printed = bill_of_qr(parse_qr(later), rules=RULES)
    found = check_bill(request, printed, rules=RULES)
    assert {LineStatus.PENDING} == {line.status for line in found.lines}
    assert [cause.code for cause in found.causes] == [CauseCode.OFFICIAL_DATA_PENDING]


@pytest.mark.parametrize("lacking", ["&prP1=30.817413", "&prP2=0.725423", "&prP1=30.817413&prP2=0.725423"])
def test_a_qr_code_without_power_prices_is_that_of_the_pvpc_only_if_it_says_so(
    shared_data: Path, lacking: str
) -> None:
    """The PVPC's power prices are known; those of another contract are not, and are not guessed."""
    text = (shared_data / QR).read_text().strip().replace(lacking, "")
    with pytest.raises(UsageError, match=r"lacks power prices \(prP1, prP2\)"):
        bill_of_qr(parse_qr(text), rules=RULES)
    request, printed = bill_of_qr(parse_qr(f"{text}&tc=A"), rules=RULES)
    assert check_bill(request, printed, rules=RULES).all_match


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        pytest.param("printed must be", [], id="list"),
        pytest.param("printed must be", {"line": {}}, id="unknown-member"),
        pytest.param("printed.lines must be", {"lines": [1]}, id="lines-list"),
        pytest.param("printed.lines.vat must be a number", {"lines": {"vat": "x"}}, id="no-number"),
        pytest.param("printed.total must be a number", {"total": True}, id="boolean"),
    ],
)
def test_bad_input_is_named(expected: str, printed: object) -> None:
    """The wrong member and what is allowed."""
    with pytest.raises(UsageError, match=expected):
        parse_printed(printed)


def test_nothing_printed_is_nothing_to_check() -> None:
    """An empty bill is refused."""
    with pytest.raises(UsageError, match="nothing to check"):
        check_bill(request_of(Case()), PrintedBill(lines={}), rules=RULES)


@given(
    line=st.sampled_from(["power_p1", "energy", "bono_financing", "meter_rental"]), cents=st.integers(1, 900)
)
def test_a_changed_line_never_matches(line: str, cents: int) -> None:
    """Whatever a printed line is raised by, it is not said to match, and the difference is exact."""
    printed = Decimal(right(Case())[line]) + Decimal(cents).scaleb(-2)
    found = check(Case(), **{line: str(printed)})
    (checked,) = (each for each in found.lines if each.id == line)
    assert checked.status is not LineStatus.MATCHES
    assert Decimal(cents).scaleb(-2) == checked.difference_eur


def test_a_check_that_tries_no_other_rate_is_found(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeded mistake, that no other row is tried, leaves the wrong sample without its causes."""
    monkeypatch.setattr(bill_tax_causes, "other_rows", lambda *_: ())
    with pytest.raises(AssertionError):
        test_old_rates_are_named_line_by_line(shared_data)


def test_the_report_holds_lines_and_causes() -> None:
    """Amounts are text, a status is a word, a cause has its norm."""
    report = bill_check_report(check(Case(), vat="5.02"))
    (vat,) = (line for line in report.result["lines"] if line["id"] == "vat")  # type: ignore[union-attr,index,call-overload]  # nested JSON
    assert (vat["printed_eur"], vat["status"]) == ("5.02", "wrong_rate")  # type: ignore[index,call-overload]  # nested JSON
    assert vat["causes"][0]["norm"]  # type: ignore[index,call-overload]  # nested JSON
    assert "printed_vat" in {fact.id for fact in report.facts}
