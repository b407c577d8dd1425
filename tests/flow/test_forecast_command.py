"""`expert-bot forecast` and `expert-bot anomalies` as people and scripts run them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from expert_bot.__main__ import main
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household

PNG_START = b"\x89PNG\r\n\x1a\n"
Run = Callable[..., str]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command within this process, which saves its start, and return what it printed."""

    def run_command(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["expert-bot", *arguments])
        monkeypatch.setenv("COLUMNS", "140")
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        assert code == (stop.value.code or 0), printed.err
        assert code == 0 or printed.out == ""
        return printed.err if code else printed.out

    return run_command


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write half a year of a simulated home to a file."""
    file = tmp_path_factory.mktemp("homes") / "home.csv"
    file.write_bytes(b"".join(write_household_csv(simulate_household(until=date(2023, 6, 30), months=6))))
    return str(file)


def test_a_forecast_is_json_for_scripts(run_here: Run, home: str) -> None:
    """The next day's hours with their interval, the month with EUR, and the scores of a backtest, as decimal text."""
    shown = json.loads(run_here("forecast", home, "--backtest-days", "60", "--price", "0.15", "--json"))
    forecast = shown["forecast"]
    assert (forecast["from"], forecast["day"]["start"], forecast["month"]["month"]) == (
        "2023-07-01",
        "2023-07-01",
        "2023-07",
    )
    assert len(forecast["day"]["hours"]) == 24
    assert set(forecast["day"]["hours"][0]) == {
        "starts_at",
        "local_hour",
        "period",
        "kwh",
        "low_kwh",
        "high_kwh",
    }
    assert forecast["day"]["hours"][0]["starts_at"] == "2023-07-01T00:00:00+02:00"
    assert 0 < float(forecast["month"]["low_eur"]) < float(forecast["month"]["eur"])
    assert float(shown["mase_168"]) < float(shown["baselines"]["naive_168"]["mase_168"])
    assert 0 < float(shown["wape"]) < 1
    assert isinstance(shown["month_total_error_pct"], str)
    assert 70 < float(shown["interval_coverage_pct"]) < 90
    assert shown["backtest_window"] == {
        "start": "2023-05-02",
        "end": "2023-07-01",
        "days": 60,
        "requested_days": 60,
    }
    assert shown["data_quality"]["coverage_pct"] == "100.0"


def test_without_a_backtest_there_are_no_scores(run_here: Run, home: str) -> None:
    """The forecast of a day in the past uses what was known then, and holds no scores nobody asked for."""
    shown = json.loads(run_here("forecast", home, "--from", "2023-05-10", "--json"))
    assert set(shown) == {"forecast", "facts", "data_quality"}
    assert (shown["forecast"]["from"], shown["data_quality"]["data_until"]) == ("2023-05-10", "2023-05-09")


def test_a_forecast_is_a_picture_for_people(run_here: Run, home: str, tmp_path: Path) -> None:
    """A line per hour with its band, the totals, how good it was; and a PNG."""
    picture = tmp_path / "forecast.png"
    shown = run_here(
        "forecast", home, "--backtest-days", "60", "--price", "0.2,0.15,0.1", "--plot", str(picture)
    )
    assert sum("█" in line for line in shown.splitlines()) == 24
    assert "░" in shown
    assert "MASE(168)" in shown
    assert "80 % intervals held" in shown
    assert picture.read_bytes().startswith(PNG_START)


def test_anomalies_are_json_for_scripts_and_a_table_for_people(
    run_here: Run, home: str, tmp_path: Path
) -> None:
    """A day with a heater left on is told with its cost; people get the sentence and a PNG, scripts the numbers."""
    lines = Path(home).read_text().splitlines()
    hot = [
        ",".join([*(row := line.split(","))[:2], str(float(row[2]) + 1), *row[3:]])
        if line.startswith("2023-06-20")
        else line
        for line in lines
    ]
    file, picture = tmp_path / "hot.csv", tmp_path / "anomalies.png"
    file.write_text("\n".join(hot))
    arguments = ("anomalies", str(file), "--from", "2023-06-19", "--to", "2023-07-01", "--price", "0.2")
    shown = json.loads(run_here(*arguments, "--json"))
    (alert,) = shown["alerts"]
    assert (alert["kind"], alert["start"], alert["lasting"]) == ("high_day", "2023-06-20", False)
    assert float(alert["excess_eur"]) == pytest.approx(24 * 0.2, abs=0.8)
    assert {
        "alert_1_kind",
        "alert_1_actual",
        "alert_1_usual",
        "alert_1_excess_kwh",
        "alert_1_excess_eur",
    } == {fact["id"] for fact in shown["facts"]}
    text = run_here(*arguments, "--plot", str(picture))
    assert "high day" in text
    assert f"+{alert['excess_eur']}" in text
    assert picture.read_bytes().startswith(PNG_START)


def test_a_quiet_time_has_no_alert(run_here: Run, home: str) -> None:
    """Nothing unusual is said in one line."""
    assert run_here("anomalies", home, "--from", "2023-06-26") == "2023-06-26 .. 2023-07-01: 0 alerts\n"


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        pytest.param("a backtest covers 7..366 days, not 5", ["forecast", "--backtest-days", "5"], id="days"),
        pytest.param("--from 'May' is not a date YYYY-MM-DD", ["forecast", "--from", "May"], id="date"),
        pytest.param("needs 28 days of readings before it: there are 3", ["forecast", "--from", "2023-01-04"], id="history"),
        pytest.param("--price 'x': write EUR/kWh such as 0.15", ["forecast", "--price", "x"], id="price"),
        pytest.param("one or three prices of 0..10 EUR/kWh", ["anomalies", "--price", "1,2"], id="two prices"),
        pytest.param("one or three prices of 0..10 EUR/kWh", ["anomalies", "--price", "NaN"], id="NaN"),
        pytest.param("until 2023-01-10 there are 9", ["anomalies", "--to", "2023-01-10"], id="anomalies' history"),
        pytest.param("must end in .png", ["forecast", "--plot", "x.svg"], id="picture"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_one_line(run_here: Run, home: str, said: str, arguments: list[str]) -> None:
    """Exit code 2 and one line that says what is allowed."""
    error = run_here(arguments[0], home, *arguments[1:], "--json", code=2)
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
