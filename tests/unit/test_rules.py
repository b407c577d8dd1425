"""Regulated values: what is loaded is what was published, nothing is reused beyond its dates."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from expert_bot.energy import rules
from expert_bot.energy.calendar import madrid
from expert_bot.energy.rules.report import rules_check, rules_list
from expert_bot.energy.rules.rows import Confidence, ElectricityTax, Row, TollsAndCharges, Vat, YearlyFee
from expert_bot.energy.rules.tables import Rules, Table
from expert_bot.errors import ExpertBotError

RULES = rules.load()
TABLES = {table.name: table for table in RULES.tables()}


def fees(*rows: tuple[str, str, str]) -> Table[YearlyFee]:
    """Read a table of yearly fees: from, until, status."""
    document = {
        "name": "fee",
        "title": "Fee",
        "unit": "EUR/year",
        "rows": [
            {
                "from": first,
                "until": until,
                "status": status,
                "norm": "a law",
                "confidence": "A",
                "eur_per_year": "1.5",
            }
            for first, until, status in rows
        ],
    }
    return Table[YearlyFee].model_validate_json(json.dumps(document))


def test_today_has_a_loaded_rule() -> None:
    """Every table covers today's date: when this fails, the new year's values must be loaded."""
    today = datetime.now(madrid()).date()
    assert RULES.missing_on(today) == (), f"load the official values that hold on {today}"


@pytest.mark.parametrize("name", TABLES)
def test_outside_the_loaded_range_is_refused(name: str) -> None:
    """The day before the first and the day after the last have no value; the message says what is loaded."""
    table = TABLES[name]
    for day in (table.first - timedelta(days=1), table.until):
        with pytest.raises(rules.RuleNotLoaded) as refused:
            table.on(day)
        assert (table.title, day, table.first, table.until) == (
            refused.value.name,
            refused.value.day,
            refused.value.first,
            refused.value.until,
        )
        assert str(refused.value) == (
            f"no official value loaded for {table.title} on {day}; "
            f"loaded: {table.first} to {table.until} (not included)"
        )
        assert isinstance(refused.value, ExpertBotError)
    assert table.first <= table.on(table.until - timedelta(days=1)).first


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_found_by_its_days(name: str) -> None:
    """From its first day to the day before its end a usable row is the one that is found."""
    for row in TABLES[name].rows:
        if row.status is not rules.Status.PENDING:
            found = [TABLES[name].on(day) for day in (row.first, row.until - timedelta(days=1))]
            assert [row, row] == found


def test_a_pending_row_is_never_used() -> None:
    """An announced value is shown, not computed with, and does not make the table longer."""
    table = fees(("2026-01-01", "2027-01-01", "in_force"), ("2027-01-01", "2028-01-01", "pending"))
    assert date(2027, 1, 1) == table.until
    with pytest.raises(rules.RuleNotLoaded):
        table.on(date(2027, 6, 1))
    assert rules.Status.PENDING is RULES.bono_social_percent.rows[-1].status


@pytest.mark.parametrize(
    ("expected", "rows"),
    [
        pytest.param(
            "gap between 2026-02-01 and 2026-03-01",
            [("2026-01-01", "2026-02-01", "in_force"), ("2026-03-01", "2026-04-01", "in_force")],
            id="gap",
        ),
        pytest.param(
            "overlap between 2026-02-02 and 2026-02-01",
            [("2026-01-01", "2026-02-02", "in_force"), ("2026-02-01", "2026-04-01", "in_force")],
            id="overlap",
        ),
        pytest.param(
            "from 2026-02-01 must be before", [("2026-02-01", "2026-02-01", "in_force")], id="empty"
        ),
        pytest.param("no row may be used", [("2026-01-01", "2026-02-01", "pending")], id="only pending"),
        pytest.param(
            "a pending row must be the last",
            [("2026-01-01", "2026-02-01", "pending"), ("2026-02-01", "2026-03-01", "in_force")],
            id="pending first",
        ),
        pytest.param("at least 1 item", [], id="none"),
        pytest.param("Input should be", [("2026-01-01", "2026-02-01", "maybe")], id="status"),
    ],
)
def test_a_table_must_be_whole(expected: str, rows: list[tuple[str, str, str]]) -> None:
    """Gaps, overlaps, empty ranges and unknown statuses are errors when a table is read."""
    with pytest.raises(ValidationError, match=expected):
        fees(*rows)


def row(kind: type[Row], **values: Any) -> Row:  # a row's values
    """Read one row."""
    frame = {
        "from": "2026-01-01",
        "until": "2026-02-01",
        "status": "in_force",
        "norm": "n",
        "confidence": "A",
    }
    return kind.model_validate_json(json.dumps({**frame, **values}))


@pytest.mark.parametrize(
    ("expected", "kind", "values"),
    [
        pytest.param("decimal text", YearlyFee, {"eur_per_year": 1.5}, id="number"),
        pytest.param("decimal text", YearlyFee, {"eur_per_year": "-1"}, id="negative"),
        pytest.param("Extra inputs", YearlyFee, {"eur_per_year": "1", "eur": "2"}, id="unknown member"),
        pytest.param(
            "has percent_if_met",
            ElectricityTax,
            {"status": "conditional", "percent": "5", "floor_eur_per_mwh": "1"},
            id="conditional without a second rate",
        ),
        pytest.param(
            "less than or equal to 100",
            ElectricityTax,
            {"percent": "101", "floor_eur_per_mwh": "1"},
            id="101 %",
        ),
        pytest.param(
            "needs a reduced rate", Vat, {"status": "conditional", "percent": "21"}, id="conditional VAT"
        ),
        pytest.param(
            "power needs P1 and P2",
            TollsAndCharges,
            {
                "toll_power": {"P1": "1"},
                "charge_power": {"P1": "1", "P2": "1"},
                "toll_energy": dict.fromkeys(("P1", "P2", "P3"), "1"),
                "charge_energy": dict.fromkeys(("P1", "P2", "P3"), "1"),
            },
            id="a period missing",
        ),
        pytest.param(
            "energy needs P1, P2 and P3",
            TollsAndCharges,
            {
                "toll_power": {"P1": "1", "P2": "1"},
                "charge_power": {"P1": "1", "P2": "1"},
                "toll_energy": dict.fromkeys(("P1", "P2"), "1"),
                "charge_energy": dict.fromkeys(("P1", "P2", "P3"), "1"),
            },
            id="an energy period missing",
        ),
    ],
)
def test_a_row_must_be_whole(expected: str, kind: type[Row], values: dict[str, Any]) -> None:
    """Numbers are decimal text, nothing is unknown or missing, both rates of a conditional law are there."""
    with pytest.raises(ValidationError, match=expected):
        row(kind, **values)


def test_tolls_are_the_published_ones(shared_data: Path) -> None:
    """Tolls plus charges are the totals that were checked against the price operator's archive, row by row."""
    published = read(shared_data / "energy" / "regulated" / "tolls_charges_2_0td.json")["rows"]
    loaded = RULES.tolls_charges.rows
    assert [(each["from"], each["until_exclusive"]) for each in published] == [
        (str(each.first), str(each.until)) for each in loaded
    ]
    for expected, each in zip(published, loaded, strict=True):
        assert expected["total_power"] == {p: each.power_eur_per_kw_year(p) for p in rules.PowerPeriod}
        assert expected["total_energy"] == {p: each.energy_eur_per_kwh(p) for p in each.toll_energy}


@pytest.mark.parametrize(("name", "table"), [("iee", "electricity_tax"), ("vat_peninsula_baleares", "vat")])
def test_taxes_have_the_published_dates(shared_data: Path, name: str, table: str) -> None:
    """Every published change of a tax is a row of its own; what was not settled is conditional."""
    published = read(shared_data / "energy" / "regulated" / "taxes_bono_meter.json")[name]["rows"]
    assert [(each["from"], each["until_exclusive"], each["percent"] is None) for each in published] == [
        (str(each.first), str(each.until), each.status is rules.Status.CONDITIONAL)
        for each in TABLES[table].rows
    ]


def test_other_values_are_the_published_ones(shared_data: Path) -> None:
    """Bono social, meter rental, margin and fees are those of the published tables."""
    published = read(shared_data / "energy" / "regulated" / "taxes_bono_meter.json")
    day = date(2026, 5, 1)
    assert (
        published["meter_rental_eur_month"]["single_phase_smart"] == RULES.meter_rental.on(day).eur_per_month
    )
    assert published["pvpc_margin_eur_kw_year"]["value"] == RULES.pvpc_margin.on(day).eur_per_kw_year
    assert [each["eur_year"] for each in published["bono_social_financing_eur_cups_year"]] == [
        each.eur_per_year for each in RULES.bono_social_financing.rows[1:]
    ]
    assert [(each["vulnerable"], each["severe"]) for each in published["bono_social_discount_pct"]] == [
        (each.vulnerable_percent, each.severe_percent) for each in RULES.bono_social_percent.rows
    ]
    limits = RULES.bono_social_limit.on(day)
    for household in ("no_minors", "one_minor", "two_minors", "large_family", "pensioner"):
        assert published["bono_social_kwh_year_limit"][household] == getattr(limits, household)
    fee, loaded = published["power_change_fees_eur"], RULES.power_change_fees.on(day)
    assert (fee["extension_per_kw"], fee["access_per_kw"], fee["hookup"], fee["step_kw"]) == (
        loaded.extension_eur_per_kw,
        loaded.access_eur_per_kw,
        loaded.hookup_eur,
        loaded.step_kw,
    )


def test_uncertain_rows_say_so() -> None:
    """A value from memory or from one source only has a note that says what is not confirmed."""
    unsure = [
        each
        for table in RULES.tables()
        for each in table.rows
        if each.confidence in (Confidence.C, Confidence.D)
    ]
    assert unsure
    assert all(each.note for each in unsure)


def test_a_list_shows_all_or_one_day() -> None:
    """`rules list` has every table; with a day only the rows that hold then, pending ones too."""
    everything, one_day = (
        rules_list(RULES).result["tables"],
        rules_list(RULES, date(2027, 5, 1)).result["tables"],
    )
    assert list(TABLES) == [table["name"] for table in everything]  # type: ignore[union-attr,index,call-overload]  # JSON
    rows = {table["name"]: table["rows"] for table in one_day}  # type: ignore[union-attr,index,call-overload]  # JSON
    assert [each["status"] for each in rows["bono_social_percent"]] == ["pending"]
    assert rows["vat"] == []


def test_a_check_names_what_is_missing_expiring_and_unsettled() -> None:
    """On a covered day `ok` is true; 60 days before the end a table is expiring; after it, missing."""
    middle = rules_check(RULES, date(2026, 7, 1)).result
    assert (middle["ok"], middle["missing"], middle["expiring"]) == (True, [], [])
    end = RULES.vat.until
    assert "vat" in names(rules_check(RULES, end - timedelta(days=60)).result["expiring"])
    assert "vat" not in names(rules_check(RULES, end - timedelta(days=61)).result["expiring"])
    after = rules_check(RULES, end).result
    assert (after["ok"], "vat" in names(after["missing"])) == (False, True)
    assert {"electricity_tax", "vat", "bono_social_percent"} == names(middle["unsettled"])


def test_stretches_cover_a_range_once() -> None:
    """`between` yields every day once, in order, cut where the row changes."""
    parts = list(RULES.bono_social_financing.between(date(2026, 6, 1), date(2026, 7, 1)))
    assert [(date(2026, 6, 1), date(2026, 6, 26)), (date(2026, 6, 26), date(2026, 7, 1))] == [
        part[1:] for part in parts
    ]
    assert [f"{part[0].eur_per_year}" for part in parts] == ["6.979247", "9.011295"]


def names(tables: Any) -> set[str]:  # JSON
    """Return the names in a list of tables."""
    return {table["name"] for table in tables}


def read(path: Path) -> Any:  # JSON
    """Read JSON with exact numbers."""
    return json.loads(path.read_text("utf-8"), parse_float=Decimal)


def test_all_tables_are_in_the_class() -> None:
    """Each file of the package is a table, and each table a file."""
    folder = Path(rules.__file__).parent / "data"
    assert {path.stem for path in folder.glob("*.json")} == set(TABLES) == set(Rules.__slots__)
