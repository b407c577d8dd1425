"""The common form of an advice on contracted power."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from expert_bot.energy.analyses.contracted_power.power import WARNINGS, PowerAdvice
from expert_bot.energy.analyses.year import make_fact, text
from expert_bot.energy.report import Json, Report
from expert_bot.energy.rules import PowerPeriod
from expert_bot.schemas.fact import Fact, FactPeriod

_NEED: str = "peak + 10 %, up to 0.1 kW"


def power_report(advice: PowerAdvice) -> Report:
    """Return the common form.

    Keys: by power period `contracted_kw`, `peak_kw`, `needed_kw` (both `low`, `high`) and `advised_kw`; `lowers`,
    `is_estimate`, `months`; from `low` to `high` `saving_eur_per_year`, `change_fee_eur`, `net_first_year_eur`;
    `p2_left_eur_per_year`; `warnings` (each `code`, `text`).
    """
    warnings: list[Json] = [{"code": code, "text": WARNINGS[code]} for code in advice.warnings]
    return Report(
        result={
            "contracted_kw": _by_period(advice.contracted_kw),
            "peak_kw": {
                "low": _by_period(advice.peaks.low_kw),
                "high": _by_period(advice.peaks.high_kw),
            },
            "needed_kw": {
                "low": _by_period(advice.needed_kw_low),
                "high": _by_period(advice.needed_kw_high),
            },
            "advised_kw": _by_period(advice.advised_kw),
            "lowers": advice.lowers,
            "is_estimate": advice.peaks.is_estimate,
            "months": advice.peaks.months,
            "saving_eur_per_year": _range(advice.saving_eur_low, advice.saving_eur_high),
            "change_fee_eur": _range(advice.fee_eur_low, advice.fee_eur_high),
            "net_first_year_eur": _range(advice.net_eur_low, advice.net_eur_high),
            "p2_left_eur_per_year": text(advice.p2_left_eur),
            "warnings": warnings,
        },
        facts=_facts(advice),
    )


def _facts(advice: PowerAdvice) -> tuple[Fact, ...]:
    peaks = advice.peaks
    period = FactPeriod(start=peaks.first.first_day.isoformat(), end=peaks.last.end.isoformat())
    by_period = [
        make_fact(f"power_{name}_{each.value.lower()}", powers[each], "kW", source, period=period)
        for name, powers, source in (
            ("peak", peaks.high_kw, peaks.source),
            ("needed", advice.needed_kw_high, f"{peaks.source}: {_NEED}"),
            ("contracted", advice.contracted_kw, "the contract"),
            ("advised", advice.advised_kw, f"{peaks.source}: {_NEED}; only P1 is lowered"),
        )
        for each in PowerPeriod
    ]
    saving = f"kW less x {advice.terms_source}, {advice.taxes_source}"
    fee = f"hook-up fee, {advice.fee_source}, taxes in"
    return (
        *by_period,
        make_fact("power_saving_low", advice.saving_eur_low, "EUR/year", saving),
        make_fact("power_saving_high", advice.saving_eur_high, "EUR/year", saving),
        make_fact("power_change_fee_low", advice.fee_eur_low, "EUR", fee),
        make_fact("power_change_fee_high", advice.fee_eur_high, "EUR", fee),
        make_fact("power_net_first_year_low", advice.net_eur_low, "EUR", f"{saving}; less {fee}"),
        make_fact("power_net_first_year_high", advice.net_eur_high, "EUR", f"{saving}; less {fee}"),
        make_fact("power_p2_left", advice.p2_left_eur, "EUR/year", saving),
    )


def _by_period(powers_kw: Mapping[PowerPeriod, Decimal]) -> dict[str, Json]:
    return {period.value: text(powers_kw[period]) for period in PowerPeriod}


def _range(low: Decimal, high: Decimal) -> dict[str, Json]:
    return {"low": text(low), "high": text(high)}
