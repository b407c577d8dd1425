"""The common form of a study of panels."""

from __future__ import annotations

from decimal import Decimal

from expert_bot.energy.analyses.sun.solar import SolarSize, SolarStudy
from expert_bot.energy.analyses.sun.solar_costs import load_costs
from expert_bot.energy.analyses.sun.solar_yield import load_yields, year_yield_kwh_per_kwp
from expert_bot.energy.analyses.year import text
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import Fact


def solar_report(study: SolarStudy) -> Report:
    """Return the common form.

    Keys: `province`, `tilt_deg`, `azimuth_deg`, `yield_kwh_per_kwp_year` (`value`, `uncertainty_pct`, `confidence`),
    `surplus_eur_per_kwh`, `sizes`, `best` (one of the sizes, or null if none pays). A size has `kwp`, per year
    `production_kwh`, `self_used_kwh`, `surplus_kwh`, `self_use_pct`, before taxes `saved_eur`, `credit_eur` and
    `capped_eur` (surplus unpaid because of the monthly cap), with taxes `saving_eur` (`low`, `usual`, `high`), and
    `cost_eur`, `payback_years` (each `low`, `high`).
    """
    table = load_yields()
    return Report(
        result={
            "province": study.roof.province.name,
            "tilt_deg": _angle(study.roof.tilt_deg),
            "azimuth_deg": _angle(study.roof.azimuth_deg),
            "yield_kwh_per_kwp_year": {
                "value": text(year_yield_kwh_per_kwp(study.roof)),
                "uncertainty_pct": text((100 * table.uncertainty).quantize(Decimal(1))),
                "confidence": table.confidence,
            },
            "surplus_eur_per_kwh": text(study.surplus_eur_per_kwh),
            "sizes": [_size(size) for size in study.sizes],
            "best": None if study.best is None else _size(study.best),
        },
        facts=() if study.best is None else _facts(study, study.best),
        data_quality=study.year.quality,
    )


def _size(size: SolarSize) -> Json:
    flows = size.flows
    return {
        "kwp": text(size.size_kwp),
        "production_kwh": text(flows.production_kwh),
        "self_used_kwh": text(flows.self_used_kwh),
        "surplus_kwh": text(flows.surplus_kwh),
        "self_use_pct": text(size.self_use_pct),
        "saved_eur": text(flows.saved_eur),
        "credit_eur": text(flows.credit_eur),
        "capped_eur": text(flows.capped_eur),
        "saving_eur": {
            "low": text(size.saving_eur_low),
            "usual": text(size.saving_eur),
            "high": text(size.saving_eur_high),
        },
        "cost_eur": {"low": text(size.cost_eur_low), "high": text(size.cost_eur_high)},
        "payback_years": {"low": _maybe(size.payback_years_low), "high": _maybe(size.payback_years_high)},
    }


def _facts(study: SolarStudy, best: SolarSize) -> tuple[Fact, ...]:
    fact, table, costs = study.year.fact, load_yields(), load_costs()
    made = f"{table.source} (confidence {table.confidence})"
    saving = (
        f"hourly simulation; {study.prices_source}; surplus at {text(study.surplus_eur_per_kwh)} EUR/kWh up to the"
        f" month's energy term (RD 244/2019, art. 14); {study.taxes_source}"
    )
    cost = f"{costs.source} (confidence {costs.confidence})"
    paybacks = (("low", best.payback_years_low), ("high", best.payback_years_high))
    return (
        fact("solar_size", best.size_kwp, "kWp", "most saved over 15 years less its mean cost"),
        fact("solar_production", best.flows.production_kwh, "kWh/year", made),
        fact("solar_self_used", best.flows.self_used_kwh, "kWh/year", f"hourly simulation; {made}"),
        fact("solar_self_use_share", best.self_use_pct, "%", f"hourly simulation; {made}"),
        fact("solar_credit_capped", best.flows.capped_eur, "EUR/year", saving),
        fact("solar_saving_low", best.saving_eur_low, "EUR/year", saving),
        fact("solar_saving_high", best.saving_eur_high, "EUR/year", saving),
        fact("solar_cost_low", best.cost_eur_low, "EUR", cost),
        fact("solar_cost_high", best.cost_eur_high, "EUR", cost),
        *(
            fact(f"solar_payback_{name}", years, "years", "cost / saving per year, no interest")
            for name, years in paybacks
            if years is not None
        ),
    )


def _angle(degrees: float) -> str:
    return format(degrees, "g")


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
