"""Bills, rules and comparisons on the command line: real processes, their JSON, their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from expert_bot.__main__ import main
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
EXAMPLE: dict[str, Any] = {
    "contract": {
        "zone": "peninsula",
        "power_kw": {"P1": 4.6, "P2": 4.6},
        "tariff": {"kind": "pvpc", "mean_prices": {"P1": 0.2, "P2": 0.15, "P3": 0.1}},
        "discounts": [],
        "bono_social": None,
    },
    "period": {"start": "2026-05-31", "end": "2026-06-30", "days": 30, "due": "2026-07-07"},
    "consumption": {"kwh": {"P1": 60, "P2": 70, "P3": 120}},
    "meter_rental_days": None,
    "financing_eur_per_day": None,
    "services": [],
}
OFFERS = {
    "offers": [
        {
            "id": "one",
            "name": "One price",
            "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.02},
            "energy_eur_per_kwh": 0.14,
            "promotion": {"label": "Welcome", "eur": 20},
        },
        {
            "id": "three",
            "name": "Three prices",
            "power_eur_per_kw_day": {"P1": 0.09, "P2": 0.01},
            "energy_eur_per_kwh": {"P1": 0.2, "P2": 0.13, "P3": 0.09},
        },
        {"id": "broken", "name": "No prices"},
    ]
}


@dataclass(frozen=True)
class Ran:
    """What a command printed."""

    stdout: str
    stderr: str


class Command:
    """The command line in this process: what it prints and how it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Run with the test's own arguments and streams."""
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        """Run a command to its end, which must have this exit code."""
        self._monkeypatch.setattr(sys, "argv", ["expert-bot", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        assert code == (ended.value.code or 0), printed.err
        return Ran(printed.out, printed.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command line."""
    return Command(monkeypatch, capsys)


def written(folder: Path, document: object, name: str = "input.json") -> str:
    """Write JSON and return its path."""
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)


def household(folder: Path, until: date, months: int) -> str:
    """Write a household's file and return its name."""
    (folder / "curve.csv").write_bytes(
        b"".join(write_household_csv(simulate_household(until=until, months=months)))
    )
    return "curve.csv"


def hourly_prices(folder: Path, until: date, months: int) -> str:
    """Write a file with a price for each hour of the same months."""
    readings = simulate_household(until=until, months=months)
    rows = [f"{each.local_date} {each.local_hour:02d}:00:00,0.1" for each in readings]
    (folder / "prices.csv").write_text("\n".join(["datetime,price", *rows]) + "\n")
    return "prices.csv"


def test_the_command_is_a_process(tmp_path: Path) -> None:
    """As people start it: exit code 0 and JSON on standard output alone."""
    ran = subprocess.run(
        [sys.executable, "-m", "expert_bot", "bill", written(tmp_path, EXAMPLE), "--json"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (json.loads(ran.stdout)["total"], ran.stderr) == ("60.77", "")


def test_a_bill_is_printed_to_the_cent(run: Command, tmp_path: Path) -> None:
    """The JSON has every line, base, tax and the total as text; people see a table."""
    file = written(tmp_path, EXAMPLE)
    bill = json.loads(run("bill", file, "--json").stdout)
    assert bill["lines"][0] == {"id": "power_p1", "label": "Potencia punta (P1)", "eur": "11.65"}
    assert tuple(
        bill[key]
        for key in ("electricity_tax_base", "electricity_tax", "vat_base", "vat", "total", "readings")
    ) == ("47.02", "2.40", "50.22", "10.55", "60.77", [])
    assert Decimal(bill["total"]) == sum(Decimal(line["eur"]) for line in bill["lines"])
    assert "60.77" in run("bill", file).stdout


def test_a_bill_of_unsettled_law_has_two_readings(run: Command, tmp_path: Path) -> None:
    """A bill due in November 2026 has no total but two readings, for people too."""
    file = written(tmp_path, {**EXAMPLE, "period": {**EXAMPLE["period"], "due": "2026-11-10"}})
    bill = json.loads(run("bill", file, "--json").stdout)
    assert (bill["total"], [each["total"] for each in bill["readings"]]) == (None, ["52.88", "60.77"])
    shown = run("bill", file).stdout
    assert "52.88" in shown
    assert "60.77" in shown


def test_files_are_found_beside_the_input(run: Command, tmp_path: Path) -> None:
    """Curve and prices are relative to the input's folder; missing hours are said."""
    document = {
        **EXAMPLE,
        "contract": {
            **EXAMPLE["contract"],
            "tariff": {"kind": "pvpc", "prices_file": hourly_prices(tmp_path, date(2023, 4, 30), 1)},
        },
        "period": {"start": "2023-04-01", "end": "2023-04-30", "days": 30},
        "consumption": {"curve_file": household(tmp_path, date(2023, 4, 30), 1)},
    }
    bill = json.loads(run("bill", written(tmp_path, document), "--json").stdout)
    energy = next(line["eur"] for line in bill["lines"] if line["id"] == "energy")
    total_kwh = next(fact["value"] for fact in bill["facts"] if fact["id"] == "consumption_total")
    assert abs(Decimal(energy) - Decimal(total_kwh) / 10) <= Decimal("0.005")
    assert bill["data_quality"]["coverage_pct"] == "100.0"
    document["consumption"] = {"curve_file": household(tmp_path, date(2023, 4, 15), 1)}
    assert "Only 50.0 %" in run("bill", written(tmp_path, document)).stdout


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        pytest.param("period.days: ", {"period": {**EXAMPLE["period"], "days": 0}}, id="field"),
        pytest.param("days is 9, but", {"period": {**EXAMPLE["period"], "days": 9}}, id="days"),
        pytest.param(
            "the energy blocks add up to 3 kWh, the consumption to 250 kWh",
            {
                "contract": {
                    **EXAMPLE["contract"],
                    "tariff": {
                        "kind": "fixed",
                        "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.02},
                        "energy_eur_per_kwh": [{"kwh": 3, "price": 0.1}],
                    },
                }
            },
            id="blocks",
        ),
        pytest.param("nowhere.csv: No such file", {"consumption": {"curve_file": "nowhere.csv"}}, id="curve"),
        pytest.param(
            "nowhere.csv: No such file",
            {
                "contract": {**EXAMPLE["contract"], "tariff": {"kind": "pvpc", "prices_file": "nowhere.csv"}},
                "consumption": {"curve_file": "curve.csv"},
            },
            id="prices",
        ),
    ],
)
def test_wrong_use_is_told(run: Command, tmp_path: Path, expected: str, changes: dict[str, object]) -> None:
    """Exit code 2 and one line that names the file and the field."""
    household(tmp_path, date(2026, 6, 30), 1)
    ran = run("bill", written(tmp_path, {**EXAMPLE, **changes}), code=2)
    assert expected in ran.stderr
    assert ran.stderr.strip().startswith("error: ")


def test_a_day_without_official_values_fails(run: Command, tmp_path: Path) -> None:
    """Exit code 1: nothing is wrong with the input, but there is no value to compute with."""
    period = {"start": "2031-01-01", "end": "2031-01-31", "days": 31}
    ran = run("bill", written(tmp_path, {**EXAMPLE, "period": period}), code=1)
    assert "no official value loaded for" in ran.stderr


def test_rules_are_listed_and_checked(run: Command) -> None:
    """All values with their norm; a day beyond them is exit code 1."""
    listed = json.loads(run("rules", "list", "--on", "2026-05-01", "--json").stdout)
    tables = {table["name"]: table["rows"] for table in listed["tables"]}
    assert [row["values"]["percent"] for row in tables["electricity_tax"]] == ["0.5"]
    assert "RDL 7/2026" in tables["electricity_tax"][0]["norm"]
    checked = json.loads(run("rules", "check", "--on", "2026-12-01", "--json").stdout)
    assert (checked["ok"], checked["expiring"][0]["until"]) == (True, "2027-01-01")
    assert not json.loads(run("rules", "check", "--on", "2031-01-01", "--json", code=1).stdout)["ok"]
    assert "ends 2027-01-01" in run("rules", "check", "--on", "2026-12-01").stdout
    assert "conditional electricity_tax" in run("rules", "check", "--on", "2026-12-01").stdout
    assert "missing" in run("rules", "check", "--on", "2031-01-01", code=1).stdout
    assert "Tolls and charges" in run("rules", "list").stdout


def test_offers_are_compared(run: Command, tmp_path: Path) -> None:
    """Ranked with savings, the PVPC among them, the broken offer apart; a picture if asked for."""
    until = date(2023, 12, 31)
    curve = str(tmp_path / household(tmp_path, until, 12))
    arguments = ["compare", curve, "--offers", written(tmp_path, OFFERS, "offers.json"), "--power", "4.6,4.6"]
    arguments += ["--prices", str(tmp_path / hourly_prices(tmp_path, until, 12)), "--current", "one"]
    compared = json.loads(run(*arguments, "--json").stdout)
    assert ({"one", "three", "pvpc"}, ["broken"]) == (
        {each["id"] for each in compared["offers"]},
        [each["id"] for each in compared["rejected"]],
    )
    totals = [Decimal(each["total_eur"]) for each in compared["offers"]]
    assert sorted(totals) == totals
    picture = tmp_path / "compared.png"
    shown = re.sub(r"\s+", " ", run(*arguments, "--plot", str(picture)).stdout)
    assert f"{totals[0]}" in shown
    assert "Welcome" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_input_that_is_not_there_is_told(run: Command, tmp_path: Path) -> None:
    """Exit code 2 and the file's name."""
    assert "nowhere.json: No such file" in run("bill", str(tmp_path / "nowhere.json"), code=2).stderr


def test_a_long_ranking_is_cut_for_people(run: Command, tmp_path: Path) -> None:
    """People see the cheapest 60, scripts all; under unsettled law both totals stand."""
    curve = str(tmp_path / household(tmp_path, date(2026, 11, 30), 1))
    offers = [{**OFFERS["offers"][0], "id": f"offer {number}"} for number in range(70)]
    arguments = ["compare", curve, "--offers", written(tmp_path, offers, "offers.json"), "--power", "4.6,4.6"]
    shown = run(*arguments).stdout
    assert "and 10 more" in shown
    assert " or " in shown
    assert len(json.loads(run(*arguments, "--json").stdout)["offers"]) == 70


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        pytest.param("--power: ", ["--power", "4.6,x"], id="power"),
        pytest.param("3 numbers", ["--power", "1,2,3"], id="three"),
        pytest.param(
            "none of the offers: one, three, pvpc", ["--power", "4.6", "--current", "z"], id="current"
        ),
    ],
)
def test_wrong_comparisons_are_told(run: Command, tmp_path: Path, expected: str, options: list[str]) -> None:
    """Exit code 2 and what is allowed."""
    curve = str(tmp_path / household(tmp_path, date(2023, 12, 31), 1))
    ran = run("compare", curve, "--offers", written(tmp_path, OFFERS, "offers.json"), *options, code=2)
    assert expected in ran.stderr
