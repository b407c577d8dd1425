"""Contracted power: the need from the meter or from hours, the saving net of the change, and what is never advised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy.analyses.advice.home_study import Home, study_power
from expert_bot.energy.analyses.contracted_power import power
from expert_bot.energy.analyses.contracted_power.power import PowerAdvice, advise_power, needed_kw
from expert_bot.energy.analyses.contracted_power.power_peaks import (
    find_peaks,
    peaks_from_hours,
    peaks_from_meter,
)
from expert_bot.energy.analyses.contracted_power.power_report import power_report
from expert_bot.energy.bill.contract import Contract, Tariff
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.formats import Maximum
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError
from tests.unit.advice_world import RULES, SETTLED, UNSETTLED, curve_of, steady_curve, terms
from tests.unit.bill_world import by_power, fixed, pvpc

P1, P2 = PowerPeriod
FEES = RULES.power_change_fees.on(SETTLED)
LAST = Month(2026, 5)
EMPTY = curve_of(np.zeros(0))


def maxima(p1: object, p2: object = "1", *, months: int = 12, last: Month = LAST) -> list[Maximum]:
    """Return months of the same maxima, the newest last."""
    return [
        Maximum(
            month=last.plus(-back),
            period=period,
            power_kw=Decimal(str(kw)),
            day=last.plus(-back).first_day,
            minute=1275,
        )
        for back in reversed(range(months))
        for period, kw in (("PUNTA", p1), ("VALLE", p2))
    ]


def advise(
    p1: object = "4.0",
    p2: object = "1",
    *,
    contracted: tuple[str, str] = ("6.9", "6.9"),
    tariff: Tariff | None = None,
    on: date = SETTLED,
) -> PowerAdvice:
    """Advise a home with a year of the same monthly maxima."""
    known = terms(tariff, power=contracted, on=on)
    return advise_power(
        peaks_from_meter(maxima(p1, p2)),
        contracted_kw=by_power(*contracted),
        terms=known.power,
        taxes=known.taxes,
        fee_taxes=known.other_taxes,
        fees=FEES,
    )


@pytest.mark.parametrize(
    ("expected", "peak"),
    [
        pytest.param("3.4", "3.008", id="3.3088-rounds-up"),
        pytest.param("4.4", "4.0", id="4.4-stays"),
        pytest.param("4.5", "4.001", id="a-watt-more-is-a-step-more"),
        pytest.param("0.1", "0.010", id="one-step-at-least"),
    ],
)
def test_the_need_is_the_peak_and_a_tenth_up_to_the_next_step(expected: str, peak: str) -> None:
    """Contracts go in steps of 0.1 kW, and the need is never rounded down."""
    assert expected == str(needed_kw(Decimal(peak), FEES))


def check_saving() -> None:
    """2.5 kW less of P1 at 30.817413 EUR/kW-year are 77.04 EUR, with 5.11269632 % and 21 % 97.99; the change is 9.04 + 21 %."""
    advice = advise()
    assert by_power("4.4", "6.9") == dict(advice.advised_kw)
    assert "97.99" == str(advice.saving_eur_low) == str(advice.saving_eur_high)
    assert "10.94" == str(advice.fee_eur_low) == str(advice.fee_eur_high)
    assert "87.05" == str(advice.net_eur_low) == str(advice.net_eur_high)


def check_fee_decides() -> None:
    """Nothing is advised: a tenth of a kW saves 3.92 EUR a year, less than the 10.94 EUR of the change."""
    advice = advise("4.0", contracted=("4.5", "4.5"))
    assert by_power("4.5", "4.5") == dict(advice.advised_kw)
    assert not advice.lowers
    assert Decimal(0) == advice.saving_eur_high == advice.net_eur_high == advice.fee_eur_high
    assert "fee_exceeds_saving" in advice.warnings


def check_p2_stays() -> None:
    """P2 is left alone although its need is far lower, so that P1 stays at or below it."""
    advice = advise("4.0", "1.0")
    assert Decimal("6.9") == advice.advised_kw[P2] >= advice.advised_kw[P1]


def check_need_rounds_up() -> None:
    """3.04 kW and a tenth are 3.344 kW: 3.4 is needed."""
    assert Decimal("3.4") == needed_kw(Decimal("3.04"), FEES)


@pytest.mark.parametrize("check", [check_saving, check_fee_decides, check_p2_stays, check_need_rounds_up])
def test_advice_is_right(check: Callable[[], None]) -> None:
    """The worked examples come out to the cent."""
    check()


def lower_both(
    contracted_kw: Mapping[PowerPeriod, Decimal],  # the signature of the rule it replaces
    needed: Mapping[PowerPeriod, Decimal],
) -> dict[PowerPeriod, Decimal]:
    """Lower P2 as well."""
    return dict(needed)


@pytest.mark.parametrize(
    ("name", "mistake", "check"),
    [
        pytest.param("MARGIN", Decimal(1), check_saving, id="no-margin"),
        pytest.param(
            "net_of_fee", lambda saving_eur, _fee_eur: saving_eur, check_fee_decides, id="fee-forgotten"
        ),
        pytest.param("lowered", lower_both, check_p2_stays, id="p2-lowered"),
        pytest.param("ROUND_CEILING", "ROUND_HALF_UP", check_need_rounds_up, id="rounded-down"),
    ],
)
def test_mistakes_are_found(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: object, check: Callable[[], None]
) -> None:
    """Each rule, done wrong, turns a check red."""
    monkeypatch.setattr(power, name, mistake)
    with pytest.raises(AssertionError):
        check()


def test_the_contracts_own_price_counts() -> None:
    """At 0.10 EUR/kW and day 2.5 kW less save 91.25 EUR, with taxes 116.06."""
    assert str(advise(tariff=fixed(p1="0.1")).saving_eur_high) == "116.06"


def test_an_unsettled_law_gives_a_range() -> None:
    """In November 2026 the taxes are 0.5 % and 10 %, or 5.11269632 % and 21 %."""
    advice = advise(on=UNSETTLED)
    assert (str(advice.saving_eur_low), str(advice.saving_eur_high)) == ("85.17", "97.99")
    assert (str(advice.fee_eur_low), str(advice.fee_eur_high)) == ("9.94", "10.94")
    assert (str(advice.net_eur_low), str(advice.net_eur_high)) == ("74.23", "88.05")


def test_a_dear_p2_is_said_but_not_lowered() -> None:
    """A contract that charges P2 like P1 leaves money on the table, which is said."""
    advice = advise("4.0", "1.0", tariff=fixed(p1="0.08", p2="0.08"))
    assert "p2_dear" in advice.warnings
    assert str(advice.p2_left_eur) == "92.85"  # 2.5 kW x 29.20 EUR with taxes: down to P1, not below
    assert Decimal("6.9") == advice.advised_kw[P2]


def test_old_maxima_are_forgotten() -> None:
    """Only the last 24 months count: last decade's heater is gone."""
    known = [*maxima("9.0", months=1, last=Month(2024, 5)), *maxima("4.0", months=24)]
    assert Decimal("4.0") == peaks_from_meter(known).high_kw[P1]


def test_the_highest_month_counts() -> None:
    """One cold month decides."""
    known = [*maxima("3.0", months=11, last=Month(2026, 4)), *maxima("4.2", months=1)]
    peaks = peaks_from_meter(known)
    assert (Decimal("4.2"), 12, False) == (peaks.high_kw[P1], peaks.months, peaks.is_estimate)


def test_hours_give_an_estimate() -> None:
    """Without a maximeter the highest hour counts 1.2 to 1.4 times, and the advice rests on 1.4."""
    energy = np.full(400 * 24, 0.2)
    energy[24 + 11] = 3.0  # Monday 2 January 2023, 11:00: P1
    energy[6 * 24 + 11] = 2.0  # Saturday 7 January: P2
    peaks = peaks_from_hours(curve_of(energy))
    assert (str(peaks.low_kw[P1]), str(peaks.high_kw[P1])) == ("3.600", "4.200")
    assert (str(peaks.low_kw[P2]), str(peaks.high_kw[P2])) == ("2.400", "2.800")
    home = Home(
        curve=curve_of(energy),
        contract=Contract(zone=TariffZone.PENINSULA, power_kw=by_power("6.9", "6.9"), tariff=pvpc()),
        on=SETTLED,
    )
    advice = study_power(home, terms(), RULES)
    assert (Decimal("4.0"), Decimal("4.7")) == (advice.needed_kw_low[P1], advice.needed_kw_high[P1])
    assert Decimal("4.7") == advice.advised_kw[P1]
    assert "estimate" in advice.warnings


def test_a_few_months_of_maxima_are_not_enough() -> None:
    """With three mild months by the meter, the hours of the whole year decide."""
    energy = np.full(400 * 24, 0.2)
    energy[24 + 11] = 3.0
    peaks = find_peaks(maxima("2.0", months=3), curve_of(energy))
    assert (True, Decimal("4.200")) == (peaks.is_estimate, peaks.high_kw[P1])
    assert Decimal("5.0") == find_peaks(maxima("5.0", months=3), curve_of(energy)).low_kw[P1]
    assert not find_peaks(maxima("2.0", months=3), EMPTY).is_estimate


def test_months_without_a_maximum_of_p1_do_not_count() -> None:
    """One mild month of punta and twelve of valle are one month: the hours of the whole year decide, or it is said."""
    known = [*maxima("2.0", months=1), *(each for each in maxima("9.9", "4.0") if each.period == "VALLE")]
    energy = np.full(400 * 24, 0.2)
    energy[24 + 11] = 3.0
    peaks = find_peaks(known, curve_of(energy))
    assert (True, Decimal("4.200")) == (peaks.is_estimate, peaks.high_kw[P1])
    alone = find_peaks(known, EMPTY)
    assert (alone.months, alone.first, alone.source) == (1, LAST, "maximeter of 1 months")
    few = advise_power(
        alone,
        contracted_kw=by_power("6.9", "6.9"),
        terms=terms().power,
        taxes=terms().taxes,
        fee_taxes=terms().other_taxes,
        fees=FEES,
    )
    assert "few_months" in few.warnings


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        pytest.param(("5.5", "4.0"), ("1", "2", "3"), id="1-2-3"),
        pytest.param(("5.5", "4.0"), ("P1", "P2", "P3"), id="P1-P2-P3"),
        pytest.param(("5.5", "4.0"), (" p1", "p2 ", "p3"), id="small-letters"),
        pytest.param(("5.5", "4.0"), ("PUNTA", "LLANO", "VALLE"), id="words"),
        pytest.param(("3.0", "5.5"), ("1", "2", "2"), id="1-2"),
        pytest.param(("3.0", "5.5"), ("P1", "P2", "P2"), id="P1-P2"),
    ],
)
def test_three_numbers_are_those_of_the_energy_periods(
    expected: tuple[str, str], names: tuple[str, ...]
) -> None:
    """Where there is a 3, 2 is llano, which P1 has to hold; where there is none, 2 is valle."""
    known = [
        Maximum(month=LAST, period=name, power_kw=Decimal(kw), day=LAST.first_day, minute=795)
        for name, kw in zip(names, ("3.0", "5.5", "4.0"), strict=True)
    ]
    peaks = peaks_from_meter(known)
    assert expected == (str(peaks.high_kw[P1]), str(peaks.high_kw[P2]))


@given(
    p1=st.decimals("0.001", "14", places=3),
    p2=st.decimals("0", "14", places=3),
    contracted=st.decimals("0.1", "15", places=1),
    day=st.sampled_from([SETTLED, UNSETTLED, date(2023, 5, 5), date(2026, 4, 1)]),
)
def test_advice_never_costs_and_never_trips(p1: Decimal, p2: Decimal, contracted: Decimal, day: date) -> None:
    """Either nothing changes, or P1 falls to a step that holds its peak and a tenth, and the first year gains."""
    advice = advise(p1, p2, contracted=(str(contracted), str(contracted)), on=day)
    advised = advice.advised_kw[P1]
    assert advice.advised_kw[P2] == contracted
    if advice.lowers:
        assert advised < contracted
        assert advised >= p1 * Decimal("1.1")
        assert advised % Decimal("0.1") == 0
        assert Decimal(0) < advice.net_eur_low <= advice.net_eur_high
    else:
        assert advised == contracted
        assert Decimal(0) == advice.saving_eur_low == advice.net_eur_high


@pytest.mark.parametrize(
    ("expected", "contracted"),
    [
        pytest.param("at most 15 kW", ("15.1", "15.1"), id="more"),
        pytest.param("above 0", ("0", "4"), id="none"),
    ],
)
def test_powers_outside_2_0td_are_refused(expected: str, contracted: tuple[str, str]) -> None:
    """2.0TD is for at most 15 kW."""
    with pytest.raises(UsageError, match=expected):
        advise(contracted=contracted)


def test_bad_maxima_are_refused() -> None:
    """No maxima, none of P1, or periods of another tariff: each says so."""
    with pytest.raises(UsageError, match="no monthly maxima"):
        peaks_from_meter([])
    with pytest.raises(UsageError, match="none of P1"):
        peaks_from_meter([each for each in maxima("1") if each.period == "VALLE"])
    other = Maximum(month=Month(2026, 1), period="P6", power_kw=Decimal(1), day=date(2026, 1, 1), minute=0)
    with pytest.raises(UsageError, match="no power period 'P6'"):
        peaks_from_meter([other])
    with pytest.raises(UsageError, match="no readings"):
        peaks_from_hours(EMPTY)


def test_an_unknown_p2_is_not_taken_for_nothing() -> None:
    """A meter that reports no maximum of P2 does not mean that P2 needs nothing."""
    advice = advise("4.0", "0")
    assert Decimal("6.9") == advice.needed_kw_high[P2]
    assert Decimal(0) == advice.p2_left_eur


def test_trips_and_odd_contracts_are_said() -> None:
    """A peak above the contract, and P1 above P2, each have a warning."""
    assert {"p1_too_low", "p2_too_low"} <= set(advise("5", "6", contracted=("4.6", "4.6")).warnings)
    assert "p1_above_p2" in advise(contracted=("6.9", "3.0")).warnings
    few = advise_power(
        peaks_from_meter(maxima("4", months=11)),
        contracted_kw=by_power("6.9", "6.9"),
        terms=terms().power,
        taxes=terms().taxes,
        fee_taxes=terms().other_taxes,
        fees=FEES,
    )
    assert few.warnings == ("few_months", "one_change_a_year")


def test_the_report_states_every_number_as_a_fact() -> None:
    """Numbers are text, and savings carry the norm they come from."""
    report = power_report(advise())
    result = report.as_json()
    assert result["advised_kw"]["P1"] == "4.4"  # type: ignore[index,call-overload]  # nested JSON
    facts = {fact.id: fact for fact in report.facts}
    assert (facts["power_saving_low"].value, facts["power_saving_low"].unit) == ("97.99", "EUR/year")
    assert "Orden TED/1524/2025" in facts["power_saving_low"].source
    assert "maximeter of 12 months" in facts["power_advised_p1"].source


def test_a_steady_home_in_canarias_pays_no_vat_on_power() -> None:
    """Homes up to 10 kW in Canarias pay IGIC 0 %; the fee bears 7 %."""
    home = Home(
        curve=steady_curve(days=400),
        contract=Contract(zone=TariffZone.CANARIAS, power_kw=by_power("6.9", "6.9"), tariff=pvpc()),
        on=SETTLED,
        maxima=maxima("4.0"),
    )
    known = terms(zone=TariffZone.CANARIAS)
    advice = study_power(home, known, RULES)
    assert (str(advice.saving_eur_high), str(advice.fee_eur_high)) == ("80.98", "9.67")
