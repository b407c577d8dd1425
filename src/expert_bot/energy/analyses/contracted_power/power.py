"""Which contracted power a home needs, and what a lower one would save.

The need is the highest power of the last 24 months by the meter plus a tenth, up to the next step of 0.1 kW. Without a
maximeter it is estimated from the highest hour: within an hour power peaks above its mean. Only P1 is ever lowered: a kW
of P2 costs a fortieth of one of P1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from expert_bot.energy.analyses.contracted_power.power_peaks import MONTHS_WANTED, Peaks
from expert_bot.energy.analyses.marginal import PowerTerms, TaxFactors
from expert_bot.energy.bill.money import cents
from expert_bot.energy.rules import PowerPeriod
from expert_bot.energy.rules.rows import PowerChangeFees
from expert_bot.errors import UsageError

MARGIN: Final = Decimal("1.10")
LARGEST_KW: Final = Decimal(15)
"""2.0TD is for at most 15 kW in every period (Circular CNMC 3/2020, art. 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAdvice:
    """What to contract: `advised_kw` equals `contracted_kw` where nothing is to be gained.

    `needed_kw_low`, `needed_kw_high`: peak and a tenth, in steps of 0.1 kW. `saving_eur_*`: a year of the advised power,
    taxes in. `fee_eur_*`: the change, once, taxes in. `net_eur_*`: the first year. `p2_left_eur`: what lowering P2 to its
    need, but not below P1, would save a year, which is not advised. `warnings`: codes, see `WARNINGS`.
    """

    contracted_kw: Mapping[PowerPeriod, Decimal]
    peaks: Peaks
    needed_kw_low: Mapping[PowerPeriod, Decimal]
    needed_kw_high: Mapping[PowerPeriod, Decimal]
    advised_kw: Mapping[PowerPeriod, Decimal]
    saving_eur_low: Decimal
    saving_eur_high: Decimal
    fee_eur_low: Decimal
    fee_eur_high: Decimal
    net_eur_low: Decimal
    net_eur_high: Decimal
    p2_left_eur: Decimal
    warnings: tuple[str, ...]
    terms_source: str
    taxes_source: str
    fee_source: str

    @property
    def lowers(self) -> bool:
        """Whether a change is advised."""
        return self.advised_kw[PowerPeriod.P1] < self.contracted_kw[PowerPeriod.P1]


def needed_kw(peak_kw: Decimal, fees: PowerChangeFees) -> Decimal:
    """Return the power to contract for a peak: a tenth more, up to the next step, at least one step."""
    steps = (peak_kw * MARGIN / fees.step_kw).to_integral_value(ROUND_CEILING)
    return max(steps, Decimal(1)) * fees.step_kw


def net_of_fee(saving_eur: Decimal, fee_eur: Decimal) -> Decimal:
    """Return what is left of the first year's saving after the change is paid."""
    return saving_eur - fee_eur


def lowered(
    contracted_kw: Mapping[PowerPeriod, Decimal], needed: Mapping[PowerPeriod, Decimal]
) -> dict[PowerPeriod, Decimal]:
    """Return the powers with P1 at its need and P2 as it is: P2 is cheap, and P1 must not rise above it."""
    return {**contracted_kw, PowerPeriod.P1: needed[PowerPeriod.P1]}


def advise_power(
    peaks: Peaks,
    *,
    contracted_kw: Mapping[PowerPeriod, Decimal],
    terms: PowerTerms,
    taxes: TaxFactors,
    fee_taxes: TaxFactors,
    fees: PowerChangeFees,
) -> PowerAdvice:
    """Return what to contract. `taxes`: on the power term; `fee_taxes`: on the fee, which bears no electricity tax.

    P1 falls to its need if that saves more in the first year than the change costs, in every reading; else nothing
    changes. Raises UsageError for a power that 2.0TD cannot have.
    """
    for period, power in contracted_kw.items():
        if not 0 < power <= LARGEST_KW:
            raise UsageError(
                f"contracted power {period.value} must be above 0 and at most {LARGEST_KW} kW, not {power}"
            )
    low = _needs(peaks.low_kw, contracted_kw, fees)
    high = _needs(peaks.high_kw, contracted_kw, fees)
    fee_low, fee_high = cents(fees.hookup_eur * fee_taxes.low), cents(fees.hookup_eur * fee_taxes.high)
    excess_kw = max(contracted_kw[PowerPeriod.P1] - high[PowerPeriod.P1], Decimal(0))
    per_year = excess_kw * terms.eur_per_kw_year[PowerPeriod.P1]
    saving_low, saving_high = cents(per_year * taxes.low), cents(per_year * taxes.high)
    net_low, net_high = net_of_fee(saving_low, fee_high), net_of_fee(saving_high, fee_low)
    pays = net_low > 0
    advised = lowered(contracted_kw, high) if pays else dict(contracted_kw)
    nothing = cents(Decimal(0))
    p2_left = _p2_left(max(high[PowerPeriod.P2], advised[PowerPeriod.P1]), contracted_kw, terms, taxes)
    return PowerAdvice(
        contracted_kw=dict(contracted_kw),
        peaks=peaks,
        needed_kw_low=low,
        needed_kw_high=high,
        advised_kw=advised,
        saving_eur_low=saving_low if pays else nothing,
        saving_eur_high=saving_high if pays else nothing,
        fee_eur_low=fee_low if pays else nothing,
        fee_eur_high=fee_high if pays else nothing,
        net_eur_low=net_low if pays else nothing,
        net_eur_high=net_high if pays else nothing,
        p2_left_eur=p2_left,
        warnings=_warnings(
            contracted_kw,
            peaks,
            pays=pays,
            could_save=excess_kw > 0,
            p2_is_dear=p2_left >= _P2_DEAR_EUR,
        ),
        terms_source=terms.source,
        taxes_source=taxes.source,
        fee_source=fees.norm,
    )


WARNINGS: Final = {
    "estimate": "the peaks are estimated from hours: ask the distributor for the monthly maxima before changing",
    "few_months": "fewer than 12 months of peaks: a colder or hotter season may need more",
    "one_change_a_year": "the power can be changed once in 12 months: the next change has to wait",
    "fee_exceeds_saving": "a lower power would save less in its first year than the change costs",
    "p1_too_low": "the highest power in P1 was above the contracted one: the supply may trip",
    "p2_too_low": "the highest power in P2 was above the contracted one: the supply may trip",
    "p1_above_p2": "P1 is contracted above P2, although a kW of P2 usually costs a fortieth of it",
    "p2_dear": "this contract charges P2 dearly: lowering it too would save a sum worth asking the retailer about",
}
"""What each warning of a `PowerAdvice` means."""

_P2_DEAR_EUR: Final = Decimal(12)


def _warnings(
    contracted_kw: Mapping[PowerPeriod, Decimal],
    peaks: Peaks,
    *,
    pays: bool,
    could_save: bool,
    p2_is_dear: bool,
) -> tuple[str, ...]:
    p1, p2 = PowerPeriod.P1, PowerPeriod.P2
    holds = {
        "estimate": peaks.is_estimate,
        "few_months": peaks.months < MONTHS_WANTED,
        "one_change_a_year": pays,
        "fee_exceeds_saving": could_save and not pays,
        "p1_too_low": peaks.low_kw[p1] > contracted_kw[p1],
        "p2_too_low": peaks.low_kw[p2] > contracted_kw[p2],
        "p1_above_p2": contracted_kw[p1] > contracted_kw[p2],
        "p2_dear": p2_is_dear,
    }
    return tuple(code for code, does in holds.items() if does)


def _p2_left(
    enough_kw: Decimal, contracted_kw: Mapping[PowerPeriod, Decimal], terms: PowerTerms, taxes: TaxFactors
) -> Decimal:
    excess_kw = max(contracted_kw[PowerPeriod.P2] - enough_kw, Decimal(0))
    return cents(excess_kw * terms.eur_per_kw_year[PowerPeriod.P2] * taxes.middle)


def _needs(
    peaks_kw: Mapping[PowerPeriod, Decimal],
    contracted_kw: Mapping[PowerPeriod, Decimal],
    fees: PowerChangeFees,
) -> dict[PowerPeriod, Decimal]:
    """Return the need of each period; what is contracted where no peak is known."""
    return {
        period: needed_kw(peak_kw, fees) if peak_kw else contracted_kw[period]
        for period, peak_kw in peaks_kw.items()
    }
