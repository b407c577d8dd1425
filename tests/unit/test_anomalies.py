"""Anomalies: what is put into a home is found, with its cost; what is not there is not told; one alert a week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_bot.energy.analyses.anomaly_detection import anomalies, anomaly_days
from expert_bot.energy.analyses.anomaly_detection.anomalies import (
    Anomalies,
    find_anomalies,
    strongest_by_week,
)
from expert_bot.energy.analyses.anomaly_detection.anomalies_report import anomalies_report
from expert_bot.energy.analyses.anomaly_detection.anomaly import Anomaly, AnomalyKind
from expert_bot.energy.analyses.day_kinds import DayKind
from expert_bot.energy.curve import Curve, day_number
from expert_bot.energy.quality import quality_of
from expert_bot.energy.readings import Period
from expert_bot.errors import UsageError
from tests.unit.forecast_homes import REAL_HOMES, flat, real_home, simulated, with_energy

PRICES = dict.fromkeys(Period, Decimal("0.2"))
DAY = date(2023, 5, 10)  # a Wednesday
UNTIL = date(2023, 7, 1)

Change = Callable[[Curve], Curve]


def on_days(curve: Curve, first: date, days: int = 1) -> np.ndarray:
    """Return which hours lie on these local days."""
    number = day_number(first)
    return (curve.local_days >= number) & (curve.local_days < number + days)


def heater_left_on(curve: Curve) -> Curve:
    """Add 1 kW to each hour of a day and of the night after it."""
    return with_energy(curve, curve.energy_kwh + 1.0 * on_days(curve, DAY))


def heater_at_night(curve: Curve) -> Curve:
    """Add 0.9 kW from 2:00 to 5:00 of one night."""
    night = on_days(curve, DAY) & (curve.local_hours >= 2) & (curve.local_hours < 5)
    return with_energy(curve, curve.energy_kwh + 0.9 * night)


def failing_fridge(curve: Curve) -> Curve:
    """Let something run without a pause from a day on: 0.08 kW more."""
    return with_energy(curve, curve.energy_kwh + 0.08 * on_days(curve, DAY, 365))


def dead_fridge(curve: Curve) -> Curve:
    """Take 0.05 kW away from every hour from a day on."""
    return with_energy(curve, np.maximum(curve.energy_kwh - 0.05 * on_days(curve, DAY, 365), 0.02))


def away(curve: Curve) -> Curve:
    """Leave the base load alone for a week."""
    return with_energy(curve, np.where(on_days(curve, DAY, 7), 0.09, curve.energy_kwh))


def new_car(curve: Curve) -> Curve:
    """Charge for 3 h at 3 kW every evening from a day on."""
    evening = on_days(curve, DAY, 365) & (curve.local_hours >= 20) & (curve.local_hours < 23)
    return with_energy(curve, curve.energy_kwh + 3.0 * evening)


def meter_gap(curve: Curve) -> Curve:
    """Lose the readings of a day and a half."""
    hours = np.flatnonzero(on_days(curve, DAY, 2))[:36]
    return curve.where(~np.isin(np.arange(len(curve)), hours))


def silent_meter(curve: Curve) -> Curve:
    """Count nothing for 30 hours."""
    hours = np.flatnonzero(on_days(curve, DAY, 2))[:30]
    energy = curve.energy_kwh.copy()
    energy[hours] = 0.0
    return with_energy(curve, energy)


def long_estimate(curve: Curve) -> Curve:
    """Have eight days estimated."""
    return Curve.of(
        curve.start_hours, curve.energy_nkwh, curve.estimated | on_days(curve, DAY, 8), zone=curve.zone
    )


@pytest.mark.parametrize(
    ("kind", "told_within", "excess_kwh", "change"),
    [
        pytest.param(AnomalyKind.HIGH_DAY, 1, (22, 28), heater_left_on, id="a heater left on"),
        pytest.param(AnomalyKind.HIGH_NIGHT, 1, (2.6, 2.8), heater_at_night, id="a heater on at night"),
        pytest.param(AnomalyKind.BASE_UP, 8, (50, 65), failing_fridge, id="a fridge failing"),
        pytest.param(AnomalyKind.BASE_DOWN, 8, (-45, -25), dead_fridge, id="a fridge dead"),
        pytest.param(AnomalyKind.VACANCY, 3, (-40, -15), away, id="a vacancy"),
        pytest.param(AnomalyKind.LEVEL_UP, 15, (200, 300), new_car, id="a car charged every day"),
        pytest.param(AnomalyKind.MISSING, 2, None, meter_gap, id="a meter gap"),
        pytest.param(AnomalyKind.ZEROS, 2, None, silent_meter, id="a meter that counts nothing"),
        pytest.param(AnomalyKind.ESTIMATED, 9, None, long_estimate, id="a week of estimates"),
    ],
)
def test_what_is_put_into_a_home_is_found(
    kind: AnomalyKind, told_within: int, excess_kwh: tuple[float, float] | None, change: Change
) -> None:
    """It is told within days of its start, with more or less energy than usual, at the price given."""
    assert kind not in {alert.kind for alert in find_anomalies(simulated(), first=DAY).alerts}
    found = find_anomalies(change(simulated()), price_eur_per_kwh=PRICES)
    alert = next(alert for alert in found.alerts if alert.kind is kind)
    assert DAY <= alert.told_on < DAY + timedelta(days=told_within)
    assert alert.first == DAY
    if excess_kwh is None:
        assert (alert.excess_kwh, alert.excess_eur) == (None, None)
    else:
        assert alert.excess_kwh is not None
        assert excess_kwh[0] <= alert.excess_kwh <= excess_kwh[1]
        assert (alert.excess_kwh * Decimal("0.2")).quantize(Decimal("0.01")) == alert.excess_eur


def test_a_gap_says_how_many_hours_are_missing() -> None:
    """36 hours without readings are 36 hours, and the sentence says so."""
    alert = next(
        alert for alert in find_anomalies(meter_gap(simulated())).alerts if alert.kind is AnomalyKind.MISSING
    )
    assert alert.actual == 36
    assert alert.reason == "no readings for 36 hours from 2023-05-10"


def test_a_quiet_home_is_left_alone() -> None:
    """Two years of a home with habits and chance appliances give at most two alerts a year; a flat one none."""
    assert len(find_anomalies(simulated(date(2026, 6, 30), 24)).alerts) <= 4
    assert find_anomalies(flat(date(2022, 1, 1), date(2023, 1, 1))).alerts == ()


def test_real_homes_get_few_alerts(shared_data: Path) -> None:
    """Over 12 home-years of real readings: about six alerts a year, a third of them about the data."""
    found = [find_anomalies(real_home(shared_data, number)) for number in REAL_HOMES]
    years = sum((result.until - result.first).days for result in found) / 365
    kinds = Counter(alert.kind for result in found for alert in result.alerts)
    data = sum(kinds[kind] for kind in (AnomalyKind.MISSING, AnomalyKind.ESTIMATED, AnomalyKind.ZEROS))
    assert 4 <= kinds.total() / years <= 7
    assert (kinds.total() - data) / years <= 4.5


def told(found: Anomalies) -> list[tuple[AnomalyKind, date]]:
    """Return what was told when."""
    return [(alert.kind, alert.told_on) for alert in found.alerts]


@given(cut=st.integers(40, 200), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_an_alert_rests_on_what_was_known(cut: int, seed: int) -> None:
    """Alerts told before a day are the same whatever happens from that day on."""
    curve = with_energy(away(simulated()), failing_fridge(away(simulated())).energy_kwh)
    day = date.fromordinal((curve.first_day or DAY).toordinal() + cut)
    later = curve.local_days >= day_number(day)
    energy = np.where(later, np.random.default_rng(seed).exponential(1.0, len(curve)), curve.energy_kwh)
    assert told(find_anomalies(curve, until=day)) == [
        one for one in told(find_anomalies(with_energy(curve, energy))) if one[1] < day
    ]


def one(kind: AnomalyKind, day: date, strength: float) -> Anomaly:
    """Return a finding."""
    return Anomaly(
        kind=kind,
        first=day,
        until=day + timedelta(days=1),
        told_on=day,
        strength=strength,
        unit="kWh",
        actual=Decimal(2),
        usual=Decimal(1),
        excess_kwh=Decimal(1),
        reason="",
    )


def test_the_strongest_of_a_week_is_told() -> None:
    """Monday to Sunday is a week: of three findings in it the strongest remains, the next Monday's is another week's."""
    sunday, monday = date(2023, 5, 14), date(2023, 5, 15)
    weak, strong = one(AnomalyKind.HIGH_DAY, DAY, 5.0), one(AnomalyKind.HIGH_NIGHT, sunday, 9.0)
    weaker, other = one(AnomalyKind.VACANCY, sunday, 4.6), one(AnomalyKind.HIGH_DAY, monday, 4.5)
    assert [strong, other] == strongest_by_week([weak, other, strong, weaker])


def assert_one_alert_a_week(shared_data: Path) -> None:
    """Check that no two alerts of a home lie in the same week."""
    for number in (2, 4):
        alerts = find_anomalies(real_home(shared_data, number)).alerts
        weeks = [alert.told_on.isocalendar()[:2] for alert in alerts]
        assert len(weeks) == len(set(weeks)) > 5


def test_there_is_at_most_one_alert_a_week(shared_data: Path) -> None:
    """Also on the home with the most findings."""
    assert_one_alert_a_week(shared_data)


def test_more_than_one_alert_a_week_is_caught(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails if every finding is told."""
    monkeypatch.setattr(anomalies, "strongest_by_week", list)
    with pytest.raises(AssertionError):
        assert_one_alert_a_week(shared_data)


def weekend_cook() -> Curve:
    """Return a home that uses four times as much on Saturdays and Sundays."""
    home = flat(date(2023, 1, 2), UNTIL, kw=0.2)
    weekend = (home.local_days + 3) % 7 >= 5
    return with_energy(home, np.where(weekend, 0.8, 0.2))


def assert_weekends_are_usual() -> None:
    """Check that a home that lives at weekends gets no alert for a weekend."""
    assert find_anomalies(weekend_cook()).alerts == ()


def test_a_weekend_is_compared_with_weekends() -> None:
    """What is usual for a Saturday is no anomaly."""
    assert_weekends_are_usual()


def test_comparing_all_days_with_each_other_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails if every day counts as a workday."""
    of = anomalies.DayGrid.of

    def all_workdays(curve: Curve) -> anomalies.DayGrid:
        grid = of(curve)
        grid.kinds[:] = DayKind.WORKDAY
        return grid

    monkeypatch.setattr(anomalies.DayGrid, "of", all_workdays)
    with pytest.raises(AssertionError):
        assert_weekends_are_usual()


def test_robust_z_is_the_distance_in_usual_scatter() -> None:
    """Of eight references from 1 to 8 kWh: median 4.5; z = ln((v + o)/(m + o)) / (1.4826 MAD of logarithms)."""
    references = np.arange(1.0, 9.0)[None, :]
    usual = anomaly_days._medians(references)
    offset = 0.05 * 4.5
    logs = np.log(references[0] + offset)
    scatter = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    expected = (np.log(40 + offset) - np.median(logs)) / scatter
    assert usual.tolist() == [4.5]
    assert pytest.approx([expected]) == anomaly_days._robust_z(np.array([40.0]), references, usual)


@pytest.mark.parametrize(
    ("said", "curve", "until"),
    [
        pytest.param("28 days of readings: there are none", flat(DAY, DAY), None, id="nothing"),
        pytest.param("until 2023-05-30 there are 20", flat(DAY, date(2023, 5, 30)), None, id="20 days"),
        pytest.param(
            "until 2023-05-01 there are 0", flat(DAY, UNTIL), date(2023, 5, 1), id="before the first"
        ),
    ],
)
def test_too_little_is_refused(said: str, curve: Curve, until: date | None) -> None:
    """Four weeks are needed; the message says how many days there are."""
    with pytest.raises(UsageError, match=said):
        find_anomalies(curve, until=until)


def test_the_published_form_states_each_number_as_a_fact() -> None:
    """Keys as in the reference; kind, actual, usual and excess of each alert are facts with its days."""
    found = find_anomalies(heater_left_on(simulated()), first=DAY, price_eur_per_kwh=PRICES)
    report = anomalies_report(found, quality=quality_of(simulated()).as_data_quality())
    shown = report.as_json()
    assert list(shown) == ["start", "end", "alerts", "withheld", "facts", "data_quality"]
    assert isinstance(shown["alerts"], list)
    first = shown["alerts"][0]
    assert isinstance(first, dict)
    assert (first["kind"], first["start"], first["lasting"]) == ("high_day", "2023-05-10", False)
    facts = {fact.id: (fact.value, fact.unit) for fact in report.facts}
    assert facts["alert_1_kind"] == ("high_day", "word")
    assert facts["alert_1_excess_eur"] == (first["excess_eur"], "EUR")
    assert facts["alert_1_actual"] == (first["actual"], "kWh")


def test_energy_is_priced_by_the_periods_of_its_days() -> None:
    """A Sunday is all P3: its excess costs the P3 price."""
    sunday = date(2023, 5, 14)
    home = simulated()
    costly = with_energy(home, home.energy_kwh + 1.0 * on_days(home, sunday))
    prices = {Period.P1: Decimal(1), Period.P2: Decimal(1), Period.P3: Decimal("0.1")}
    found = find_anomalies(costly, first=sunday, price_eur_per_kwh=prices)
    alert = found.alerts[0]
    assert (alert.kind, alert.first) == (AnomalyKind.HIGH_DAY, sunday)
    assert alert.excess_kwh is not None
    assert (alert.excess_kwh * Decimal("0.1")).quantize(Decimal("0.01")) == alert.excess_eur
