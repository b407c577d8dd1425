"""`expert-bot consumption` and `expert-bot prices` as people and scripts run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from expert_bot.__main__ import main
from expert_bot.config import Settings, variable_name

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "expert_bot"]
PATIENCE_S = 60.0  # only a broken command ever takes this long
PNG_START = b"\x89PNG\r\n\x1a\n"


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must have this exit code and never a traceback."""
    settings = {variable_name(name) for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    ran = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**inherited, "EXPERT_BOT_DATA_DIR": str(folder / "data"), "COLUMNS": "120"},
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "Traceback" not in ran.stderr
    assert code == ran.returncode, ran.stderr
    return ran


Run = Callable[..., str]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command within this process, which saves its start, and return what it printed."""

    def run_command(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["expert-bot", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as stop:
            main()
        assert code == (stop.value.code or 0)
        printed = capsys.readouterr()
        assert code == 0 or printed.out == ""
        return printed.err if code else printed.out

    return run_command


@pytest.fixture
def home(shared_data: Path) -> str:
    """Return a real home's file."""
    return str(shared_data / "energy" / "households_es" / "home_4.csv")


def test_a_split_in_json_is_right_to_the_watt_hour(tmp_path: Path, shared_data: Path, home: str) -> None:
    """Rows, kWh by period and cost of October 2022 are exact decimals as text."""
    prices = str(shared_data / "energy" / "pvpc_es" / "2022_costs.csv")
    picture = tmp_path / "split.png"
    period = ["--from", "2022-10-01", "--to", "2022-11-01"]
    ran = run(
        tmp_path, "consumption", "split", home, *period, "--prices", prices, "--plot", str(picture), "--json"
    )
    split: dict[str, Any] = json.loads(ran.stdout)
    assert ran.stderr == ""
    assert (
        split["rows"],
        split["kwh"],
        split["pvpc_energy_eur"],
    ) == (745, {"P1": "47.546", "P2": "70.249", "P3": "140.319"}, "58.36301355")
    assert split["data_quality"] == {
        "coverage_pct": "100.0",
        "estimated_pct": "0.0",
        "data_until": "2022-10-31",
    }
    assert picture.read_bytes()[:8] == PNG_START


def test_a_split_for_people_has_a_line_and_a_bar_per_month(run_here: Run, home: str) -> None:
    """Months, totals and quality; without prices no cost is shown."""
    shown = run_here("consumption", "split", home, "--from", "2022-07-01", "--to", "2023-07-01")
    assert "2022-10    745   47.546   70.249  140.319  ███" in shown
    assert "3576.857" in shown
    assert "8760 of 8760 hours (100.0 %), 39.0 % of them estimated" in shown
    assert "EUR" not in shown


def test_hours_without_a_price_are_said(run_here: Run, shared_data: Path, home: str) -> None:
    """Prices that end too early give no total, and say how many hours they lack."""
    arguments = [home, "--from", "2022-12-31", "--to", "2023-01-02", "--prices"]
    arguments.append(str(shared_data / "energy" / "pvpc_es" / "2022_costs.csv"))
    assert "24 hours have no price" in run_here("consumption", "split", *arguments)
    split = json.loads(run_here("consumption", "split", *arguments, "--json"))
    assert (
        split["pvpc_energy_eur"],
        split["pvpc"]["priced_hours"],
        split["pvpc"]["missing_hours"],
    ) == (None, 24, 24)


def test_a_week_is_a_heat_map(run_here: Run, tmp_path: Path, home: str) -> None:
    """Seven lines on the terminal, a picture, and 24 means a weekday in JSON."""
    picture = tmp_path / "week.png"
    lines = run_here("consumption", "week", home, "--plot", str(picture)).splitlines()
    assert [line[:3] for line in lines[1:8]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert picture.read_bytes()[:8] == PNG_START
    week = json.loads(run_here("consumption", "week", home, "--json"))
    assert {"thursday", 7, "1.004"} == {week["peak"][key] for key in ("weekday", "hour", "mean_kwh")}
    assert [len(means) for means in week["mean_kwh"].values()] == [24] * 7


def test_quality_shows_what_is_wrong_and_no_whole_cups(run_here: Run, tmp_path: Path) -> None:
    """Layout, gaps and rejected rows are listed; the supply point is masked."""
    file = tmp_path / "curve.csv"
    rows = [f"ES0291000000000001DN0F;01/01/2024;{hour};0;R" for hour in range(1, 25)]
    file.write_text(
        "\n".join(
            [
                "CUPS;Fecha;Hora;Consumo;Metodo_obtencion",
                *rows,
                rows[0],
                "x",
                rows[2].replace("01/", "03/", 1),
            ]
        )
    )
    shown = run_here("consumption", "quality", str(file))
    for text in (
        "layout cnmc_csv, 27 rows, 25 hours",
        "CUPS ES0291**********01DN",
        "25 of 72 hours (34.7 %)",
        "fewer than 90 %",
        "hours missing: 47 in 2 runs",
        "hours of 0 kWh: 24 in 1 runs",
        "line 27: has 1 columns, not 5",
    ):
        assert text in shown
    report = json.loads(run_here("consumption", "quality", str(file), "--json"))
    assert (
        report["is_enough"],
        report["duplicates"],
        [row["line"] for row in report["rejected"]],
        report["cups"],
    ) == (False, 1, [26, 27], "ES0291**********01DN")
    assert report["gaps"][0] == {
        "starts_at": "2024-01-01T23:00:00Z",
        "ends_at": "2024-01-03T01:00:00Z",
        "hours": 26,
    }


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        pytest.param("No such file", ["split", "/nowhere.csv"], id="no file"),
        pytest.param("has no day: its end must be later", ["split", "HOME", "--from", "2023-02-01", "--to", "2023-01-01"], id="no day"),
        pytest.param("has no day: its end must be later", ["week", "HOME", "--from", "2033-02-01"], id="no day of a week"),
        pytest.param("has no day: its end must be later", ["quality", "HOME", "--from", "2033-02-01"], id="no day of quality"),
        pytest.param("must end in .png", ["split", "HOME", "--plot", "x.jpg"], id="not PNG"),
        pytest.param("no file of prices", ["split", "HOME", "--prices", "HOME"], id="no prices"),
        pytest.param("no hour in its 1 rows can be used; line 2: has 1", ["split", "BAD"], id="nothing usable"),
        pytest.param("known layouts: Datadis", ["quality", "README.md"], id="no curve"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_exit_code_2(
    run_here: Run, tmp_path: Path, home: str, message: str, arguments: list[str]
) -> None:
    """The message says what was wrong and what is allowed."""
    bad = tmp_path / "bad.csv"
    bad.write_text("fecha,hora,consumo,met_obtencion\nx\n")
    filled = [{"HOME": home, "BAD": str(bad)}.get(argument, argument) for argument in arguments]
    error = run_here("consumption", *filled, code=2).strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error


def test_prices_are_imported_once(tmp_path: Path, shared_data: Path) -> None:
    """The second import finds every hour unchanged; a file with nothing usable fails."""
    file = str(shared_data / "energy" / "pvpc_es" / "2024_costs.csv")
    first = json.loads(run(tmp_path, "prices", "import", file, "--json").stdout)
    assert (
        first["accepted"],
        first["inserted"],
        first["rejected"],
        first["first_day"],
        first["last_day"],
        first["zone"],
    ) == (1152, 1152, [], "2024-01-01", "2024-02-17", "peninsula")
    assert (
        "1152 hours with a price: 0 new, 0 changed, 1152 unchanged"
        in run(tmp_path, "prices", "import", file).stdout
    )
    bad = tmp_path / "bad.csv"
    bad.write_text("datetime,price\n2024-01-01 00:00:00,much\n")
    shown = run(tmp_path, "prices", "import", str(bad), code=1).stdout
    assert "nothing usable" in shown
    assert "line 2: price 'much' is not a number" in shown


@pytest.fixture
def price_api(shared_data: Path) -> Iterator[str]:
    """Serve one day of prices."""
    body = (shared_data / "energy" / "esios_samples" / "PVPC_CURV_DD_2021_10_31.json").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = "date=2021-10-31" in self.path
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_prices_are_synced_from_the_api(tmp_path: Path, price_api: str) -> None:
    """A day of 25 hours is stored, and stays when the next day turns out not to be published."""
    arguments = ["prices", "sync", "--from", "2021-10-31", "--url", price_api]
    error = run(tmp_path, *arguments, "--to", "2021-11-02", code=2).stderr
    assert "has no prices for 2021-11-01 (yet)" in error
    again = json.loads(run(tmp_path, *arguments, "--to", "2021-11-01", "--json").stdout)
    assert again == {
        "zone": "peninsula",
        "hours": 25,
        "hours_missing": 0,
        "inserted": 0,
        "changed": 0,
        "unchanged": 25,
    }
