"""Advice on the command line: JSON for scripts, tables for people, one line for wrong use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expert_bot.__main__ import main

JUNE = ("--on", "2026-07-01")
BILL: dict[str, Any] = {
    "contract": {
        "zone": "peninsula",
        "power_kw": {"P1": 4.6, "P2": 4.6},
        "tariff": {"kind": "pvpc", "mean_prices": {"P1": 0.2, "P2": 0.15, "P3": 0.1}},
    },
    "period": {"start": "2026-05-31", "end": "2026-06-30", "days": 30, "due": "2026-07-07"},
    "consumption": {"kwh": {"P1": 60, "P2": 70, "P3": 120}},
    "printed": {"lines": {"power_p1": "11.65", "vat": "5.02"}, "total": "60.77"},
}
TARIFF = {
    "kind": "fixed",
    "power_eur_per_kw_day": {"P1": 0.1, "P2": 0.02},
    "energy_eur_per_kwh": {"P1": 0.3, "P2": 0.2, "P3": 0.1},
}
OFFERS = [
    {
        "id": "cheap",
        "name": "Barata",
        "power_eur_per_kw_day": {"P1": 0.08, "P2": 0.01},
        "energy_eur_per_kwh": 0.09,
    },
    {"id": "broken"},
]

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command within this process; return what it printed to standard output and standard error."""

    def run_command(*arguments: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["expert-bot", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        assert code == (stop.value.code or 0), printed.err
        return printed.out, printed.err

    return run_command


@pytest.fixture
def home(shared_data: Path) -> str:
    """Return a real home's file."""
    return str(shared_data / "energy" / "households_es" / "home_4.csv")


def written(folder: Path, name: str, document: object) -> str:
    """Write JSON and return its path."""
    (folder / name).write_text(json.dumps(document))
    return str(folder / name)


def numbers(value: object) -> Iterator[object]:
    """Yield every JSON number below a value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


def read(printed: tuple[str, str]) -> dict[str, Any]:
    """Parse what a command printed; decimals must be text, and every fact has a source."""
    found: dict[str, Any] = json.loads(printed[0])
    assert not list(numbers(found))
    assert all(fact["source"] for fact in found["facts"])
    return found


def test_power(run: Run, home: str, shared_data: Path, tmp_path: Path) -> None:
    """P1 is lowered and P2 is not; with the meter's maximum of one month the hours still decide; a chart is drawn."""
    chart = tmp_path / "power.png"
    found = read(run("power", home, "--power", "6.9,6.9", *JUNE, "--plot", str(chart), "--json"))
    assert (found["advised_kw"], found["is_estimate"]) == ({"P1": "5.0", "P2": "6.9"}, True)
    assert chart.read_bytes()[:4] == b"\x89PNG"
    maxima = str(shared_data / "energy" / "formats" / "datadis_maxpower_v2.json")
    assert read(run("power", home, "--power", "6.9", "--maximeter", maxima, *JUNE, "--json"))[
        "advised_kw"
    ] == {"P1": "5.0", "P2": "6.9"}
    metered = read(run("power", maxima, "--power", "4.6", *JUNE, "--json"))
    assert (metered["advised_kw"], metered["is_estimate"]) == ({"P1": "3.4", "P2": "4.6"}, False)
    assert "keep the contracted power" in run("power", home, "--power", "4.6", *JUNE)[0]


def test_solar(run: Run, home: str, tmp_path: Path) -> None:
    """Sizes, the best one, and a chart; the table has a line per size."""
    chart = tmp_path / "solar.png"
    arguments = ("solar", home, "--province", "Madrid", "--price", "0.15", *JUNE)
    found = read(run(*arguments, "--json", "--plot", str(chart)))
    assert (found["province"], found["surplus_eur_per_kwh"], len(found["sizes"])) == ("Madrid", "0.06", 19)
    assert found["best"] in found["sizes"]
    assert chart.read_bytes()[:4] == b"\x89PNG"
    table = run(*arguments, "--kwp", "2,3.5", "--tilt", "10", "--azimuth", "-90")[0]
    assert "3.5" in table
    assert "EUR a year" in table
    assert "No size pays" in run(*arguments, "--kwp", "10", "--surplus-price", "0", "--azimuth", "180")[0]


def test_shift_and_benchmark(run: Run, home: str, tmp_path: Path) -> None:
    """A tariff file with three prices gives a range; the benchmark is a percentile with a range."""
    tariff = written(tmp_path, "tariff.json", TARIFF)
    shift = read(run("shift", home, "--tariff", tariff, *JUNE, "--json"))
    assert shift["gap_eur_per_kwh"] == "0.2"
    assert float(shift["saving_eur_per_year"]["low"]) < float(shift["saving_eur_per_year"]["high"])
    assert "EUR a year" in run("shift", home, "--tariff", tariff, *JUNE)[0]
    benchmark = read(run("benchmark", home, "--json"))
    assert 50 < float(benchmark["percentile"]["low"]) < float(benchmark["percentile"]["high"]) < 100
    assert "of 100 homes" in run("benchmark", home)[0]


def test_hourly_prices_give_the_gap(run: Run, home: str, shared_data: Path, tmp_path: Path) -> None:
    """A home with the PVPC: real prices, by option or by a tariff file that names them."""
    prices = shared_data / "energy" / "pvpc_es" / "2023_costs.csv"
    by_option = read(run("shift", home, "--prices", str(prices), *JUNE, "--json"))
    tariff = written(tmp_path, "pvpc.json", {"kind": "pvpc", "prices_file": str(prices)})
    by_file = read(run("shift", home, "--tariff", tariff, *JUNE, "--json"))
    assert by_option["gap_eur_per_kwh"] == by_file["gap_eur_per_kwh"]
    assert 0.02 < float(by_option["gap_eur_per_kwh"]) < 0.2
    means = written(
        tmp_path, "means.json", {"kind": "pvpc", "mean_prices": {"P1": 0.2, "P2": 0.15, "P3": 0.1}}
    )
    assert read(run("shift", home, "--tariff", means, *JUNE, "--json"))["gap_eur_per_kwh"] == "0.1"


def test_check_bill(run: Run, shared_data: Path, tmp_path: Path) -> None:
    """VAT at 10 % in June 2026 is named; a QR code is a bill too."""
    file = written(tmp_path, "printed.json", BILL)
    found = read(run("check-bill", file, "--json"))
    statuses = {line["id"]: line["status"] for line in found["lines"]}
    assert (statuses["power_p1"], statuses["vat"]) == ("matches", "wrong_rate")
    assert [cause["code"] for cause in found["causes"] if cause["code"] != "not_printed"][:1] == [
        "vat_of_other_date"
    ]
    assert "wrong rate" in run("check-bill", file)[0]
    code = str(shared_data / "energy" / "formats" / "cnmc_qr.txt")
    assert read(run("check-bill", code, "--json"))["all_match"]


def test_recommend(run: Run, home: str, tmp_path: Path) -> None:
    """Ranked, with a total that counts nothing twice; a broken offer is named on standard error."""
    offers = written(tmp_path, "offers.json", OFFERS)
    arguments = ("recommend", home, "--power", "6.9,6.9", "--offers", offers, "--price", "0.3,0.2,0.1", *JUNE)
    printed = run(*arguments, "--province", "Madrid", "--json")
    found = read(printed)
    assert {"power", "tariff", "solar"} <= {item["kind"] for item in found["recommendations"]}
    assert list(range(1, len(found["recommendations"]) + 1)) == [
        item["rank"] for item in found["recommendations"]
    ]
    assert "broken" in printed[1]
    shown = run(*arguments)[0].replace("\n", " ")
    assert "not added up" in shown
    assert "not looked at: solar" in shown


def test_the_pvpc_is_compared_by_the_hour(run: Run, home: str, shared_data: Path, tmp_path: Path) -> None:
    """With the prices of its months a dear tariff loses against the PVPC; with those of other months it says so."""
    years = [shared_data / "energy" / "pvpc_es" / f"{year}_costs.csv" for year in (2022, 2023)]
    all_years = tmp_path / "pvpc.csv"
    all_years.write_text(years[0].read_text() + "".join(years[1].read_text().splitlines(keepends=True)[1:]))
    arguments = ("recommend", home, "--power", "4.6", "--price", "0.5", *JUNE, "--json", "--prices")
    found = read(run(*arguments, str(all_years)))
    (tariff,) = (item for item in found["recommendations"] if item["kind"] == "tariff")
    assert "reference retailer for PVPC" in tariff["next_step"]
    (reason,) = (
        each["reason"] for each in read(run(*arguments, str(years[0])))["skipped"] if each["kind"] == "tariff"
    )
    assert "hours without a PVPC price" in reason


def test_the_current_offer_is_the_homes_tariff(run: Run, home: str, tmp_path: Path) -> None:
    """A home that has the dearer of two offers is sent to the other; one that has the cheaper stays."""
    dear = {**OFFERS[0], "id": "dear", "name": "Cara", "energy_eur_per_kwh": 0.3}
    offers = written(tmp_path, "offers.json", [OFFERS[0], dear])
    arguments = ("recommend", home, "--power", "4.6", "--offers", offers, *JUNE, "--json", "--current")
    kinds = {
        current: {item["kind"] for item in read(run(*arguments, current))["recommendations"]}
        for current in ("dear", "cheap")
    }
    assert "tariff" in kinds["dear"]
    assert "tariff" not in kinds["cheap"]
    assert "none of the offers: cheap, dear" in run(*arguments, "other", code=2)[1]
    assert "exclude each other" in run(*arguments, "dear", "--price", "0.1", code=2)[1]


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        pytest.param("--power: ", ("power", "HOME", "--power", "99,4"), id="power"),
        pytest.param("--power has 3 numbers", ("power", "HOME", "--power", "4,4,4"), id="three-powers"),
        pytest.param("no price of energy", ("shift", "HOME", *JUNE), id="no-price"),
        pytest.param(
            "exclude each other", ("shift", "HOME", "--price", "0.1", "--prices", "x"), id="two-prices"
        ),
        pytest.param("--on 'May'", ("shift", "HOME", "--price", "0.1", "--on", "May"), id="day"),
        pytest.param(
            "no province 'Narnia'", ("solar", "HOME", "--province", "Narnia", "--price", "0.1"), id="province"
        ),
        pytest.param(
            "--kwp", ("solar", "HOME", "--province", "Lugo", "--price", "0.1", "--kwp", "0"), id="kwp"
        ),
        pytest.param(
            "--surplus-price", ("solar", "HOME", "--province", "Lugo", "--surplus-price", "x"), id="surplus"
        ),
        pytest.param("tilt_deg must be", ("solar", "HOME", "--province", "Lugo", "--tilt", "91"), id="tilt"),
        pytest.param("printed", ("check-bill", "OFFERS"), id="not-a-bill"),
        pytest.param("No such file", ("check-bill", "nowhere.json"), id="no-file"),
        pytest.param("valid dictionary", ("shift", "HOME", "--tariff", "OFFERS"), id="not-a-tariff"),
        pytest.param(
            "no monthly maxima", ("power", "HOME", "--power", "4", "--maximeter", "HOME"), id="no-maxima"
        ),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    run: Run, home: str, tmp_path: Path, expected: str, arguments: tuple[str, ...]
) -> None:
    """What was wrong and what is allowed, nothing on standard output."""
    offers = written(tmp_path, "offers.json", OFFERS)
    printed = run(*({"HOME": home, "OFFERS": offers}.get(each, each) for each in arguments), code=2)
    assert printed[0] == ""
    assert expected in printed[1]
    assert printed[1].strip().count("error:") == 1


def test_a_day_without_rules_is_refused(run: Run, home: str) -> None:
    """For 2027 no official value is loaded: exit code 1, and the loaded range."""
    printed = run("power", home, "--power", "6.9", "--on", "2027-03-01", code=1)
    assert "no official value loaded" in printed[1]
