"""How complete a curve is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import parse_curve
from expert_bot.energy.quality import HourRange, count_duplicates, quality_of
from tests.unit.curve_files import readings_of

FIRST, LAST = date(2022, 10, 29), date(2022, 11, 4)
END = date(2022, 11, 5)


def a_week(**_: object) -> Curve:
    """Return a week with the autumn change: 169 hours."""
    return Curve.from_readings(readings_of(FIRST, LAST))


def test_a_whole_week_is_covered() -> None:
    """A week with the autumn change has 169 hours; none is missing."""
    quality = quality_of(a_week())
    assert (169, 169, Decimal("100.0"), (), LAST) == (
        quality.hours_expected,
        quality.hours,
        quality.coverage_pct,
        quality.gaps,
        quality.data_until,
    )
    assert (quality.first, quality.until) == (FIRST, END)
    assert quality.is_enough


def test_gaps_are_named_by_their_hours() -> None:
    """Missing hours are ranges; one missing hour of 169 is 99.4 %, not 100."""
    curve = a_week()
    mask = np.ones(len(curve), dtype=np.bool_)
    mask[[0, 30, 31]] = False
    quality = quality_of(curve.where(mask), FIRST, END)
    assert (
        HourRange(
            starts_at=datetime(2022, 10, 28, 22, tzinfo=UTC),
            ends_at=datetime(2022, 10, 28, 23, tzinfo=UTC),
            hours=1,
        ),
        HourRange(
            starts_at=datetime(2022, 10, 30, 4, tzinfo=UTC),
            ends_at=datetime(2022, 10, 30, 6, tzinfo=UTC),
            hours=2,
        ),
    ) == quality.gaps
    assert Decimal("98.2") == quality.coverage_pct
    mask[[30, 31]] = True
    assert Decimal("99.4") == quality_of(curve.where(mask), FIRST, END).coverage_pct


def test_less_than_90_percent_is_not_enough() -> None:
    """152 of 169 hours are 89.9 %, 153 are 90.5 %."""
    curve = a_week()
    assert not quality_of(curve.where(np.arange(169) < 152), FIRST, END).is_enough
    assert quality_of(curve.where(np.arange(169) < 153), FIRST, END).is_enough


def test_a_day_without_energy_is_a_run_of_zeros() -> None:
    """24 hours of 0 kWh in a row are a run, 23 are not; a missing hour ends a run."""
    curve = a_week()
    for hours, runs in ((23, []), (24, [24]), (100, [100])):
        energy = np.where(np.arange(169) < hours, 0, 1_000_000)
        flat = Curve.of(curve.start_hours, energy, curve.estimated)
        assert runs == [run.hours for run in quality_of(flat).zero_runs]
    torn = Curve.of(curve.start_hours, np.zeros(169, dtype=np.int64), curve.estimated).where(
        np.arange(169) != 20
    )
    assert [run.hours for run in quality_of(torn).zero_runs] == [148]


def test_estimated_hours_are_a_share_of_those_with_a_reading() -> None:
    """A third of the hours there are, whatever is missing."""
    curve = a_week()
    third = Curve.of(curve.start_hours, curve.energy_nkwh, np.arange(169) % 3 == 0).where(np.arange(169) < 99)
    quality = quality_of(third, FIRST, END)
    assert (33, Decimal("33.3")) == (quality.estimated_hours, quality.estimated_pct)


def test_an_empty_period_has_nothing() -> None:
    """Before the first reading there is no coverage, no estimate and no last day."""
    quality = quality_of(a_week(), date(2021, 1, 1), date(2021, 1, 2), duplicates=3)
    assert (0, Decimal("0.0"), Decimal("0.0"), None, 24, 3) == (
        quality.hours,
        quality.coverage_pct,
        quality.estimated_pct,
        quality.data_until,
        quality.gaps[0].hours,
        quality.duplicates,
    )
    assert quality.as_data_quality().data_until is None


def test_days_are_those_of_the_zone() -> None:
    """A Canary day begins an hour later by UTC."""
    curve = Curve.from_readings(readings_of(FIRST, LAST, zone=TariffZone.CANARIAS), zone=TariffZone.CANARIAS)
    quality = quality_of(curve)
    assert (Decimal("100.0"), FIRST, END) == (quality.coverage_pct, quality.first, quality.until)


@pytest.mark.parametrize(
    ("message", "curve", "until"),
    [
        pytest.param("has no day: its end must be later", a_week(), FIRST, id="no day"),
        pytest.param("has no period", a_week().where(np.zeros(169, dtype=np.bool_)), None, id="no hours"),
    ],
)
def test_a_period_without_days_is_refused(message: str, curve: Curve, until: date | None) -> None:
    """An end that is not after the start, or a curve without hours, has no quality."""
    with pytest.raises(ValueError, match=message):
        quality_of(curve, None if until is None else FIRST, until)


def test_duplicates_are_counted_by_their_reasons() -> None:
    """Same value or another one: both are an hour twice; other reasons are not."""
    reasons = ["duplicate: line 2 has", "conflicting: line 2 has", "hora '26' is not"]
    assert count_duplicates(reasons) == 2


def test_a_real_home_is_judged(shared_data: Path) -> None:
    """Home 4 misses no hour; home 3 lacks the second hour 2 of autumn 2021 and stood empty for long."""
    homes = shared_data / "energy" / "households_es"
    four, three = (
        quality_of(Curve.from_readings(parse_curve([(homes / f"home_{n}.csv").read_bytes()]).readings))
        for n in (4, 3)
    )
    assert (four.hours, four.hours_expected, four.gaps) == (17088, 17088, ())
    assert [datetime(2021, 10, 31, tzinfo=UTC)] == [gap.starts_at for gap in three.gaps]
    assert Decimal("99.9") == three.coverage_pct
    assert len(three.zero_runs) > 60
