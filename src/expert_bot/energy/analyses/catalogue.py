"""The kinds of analysis that can be asked for by name, over what is known of a home. Commands of the same name agree with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import ValidationError

from expert_bot.energy.analyses.advice.home_study import (
    CURRENT_ID,
    DEFAULT_SURPLUS_EUR_PER_KWH,
    Home,
    study_home,
    study_power,
    study_roof,
    with_current_offer,
)
from expert_bot.energy.analyses.advice.recommendations import recommend
from expert_bot.energy.analyses.advice.recommendations_report import recommendations_report
from expert_bot.energy.analyses.anomaly_detection.anomalies import find_anomalies
from expert_bot.energy.analyses.anomaly_detection.anomalies_report import anomalies_report
from expert_bot.energy.analyses.bill_checking.bill_check import check_bill
from expert_bot.energy.analyses.bill_checking.bill_check_report import bill_check_report
from expert_bot.energy.analyses.bill_checking.bill_printed import split_printed
from expert_bot.energy.analyses.contracted_power.power_report import power_report
from expert_bot.energy.analyses.forecasting.backtest import backtest
from expert_bot.energy.analyses.forecasting.forecast import forecast
from expert_bot.energy.analyses.forecasting.forecast_report import forecast_report
from expert_bot.energy.analyses.marginal import terms_of
from expert_bot.energy.analyses.sun.solar_report import solar_report
from expert_bot.energy.analyses.sun.solar_yield import Roof
from expert_bot.energy.analyses.tariffs.comparison import compare
from expert_bot.energy.analyses.tariffs.comparison_months import Supply
from expert_bot.energy.analyses.tariffs.comparison_report import comparison_report
from expert_bot.energy.analyses.use.consumption_report import consumption_report
from expert_bot.energy.bill.bill_input import ContractInput, parse_bill_input
from expert_bot.energy.bill.contract import Contract, FixedTariff, PvpcTariff
from expert_bot.energy.bill.fields import describe, parse_json
from expert_bot.energy.bill.offers import PVPC_ID, Offer, ParsedOffers
from expert_bot.energy.bill.request import bill_request, contract_of
from expert_bot.energy.calendar import Month, TariffZone
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import Maximum
from expert_bot.energy.prices import HourlyPrices
from expert_bot.energy.quality import quality_of
from expert_bot.energy.report import Report
from expert_bot.energy.rules import PowerPeriod, Rules
from expert_bot.errors import UsageError

STORED: Final = "stored"
"""The name by which a bill's input means the stored readings or prices instead of a file."""

_USUAL_KW: Final = Decimal("4.6")
_MOST_KW: Final = 15
_NO_OFFERS: Final = ParsedOffers(offers=(), rejected=())


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisInputs:
    """What is known of a home and what was asked.

    `on`: local day of the question, whose rules hold. `first`, `until` (exclusive): the days asked about, None: as each
    analysis chooses. `power_kw`: contracted, None if unknown. `tariff`, `bill`: JSON as of the commands `bill` and
    `check-bill`. `prices`: of the PVPC, as far as stored. `confirmed`: conditional laws that are settled, by month.
    """

    curve: Curve
    on: date
    zone: TariffZone = TariffZone.PENINSULA
    first: date | None = None
    until: date | None = None
    power_kw: Mapping[PowerPeriod, Decimal] | None = None
    tariff: Mapping[str, object] | None = None
    offers: ParsedOffers = _NO_OFFERS
    current_offer_id: str | None = None
    prices: HourlyPrices | None = None
    maxima: tuple[Maximum, ...] = ()
    province: str | None = None
    surplus_eur_per_kwh: Decimal | None = None
    backtest_days: int | None = None
    bill: Mapping[str, object] | None = None
    confirmed: Mapping[Month, bool] = field(default_factory=dict)


def run_analysis(kind: str, inputs: AnalysisInputs, *, rules: Rules) -> Report:
    """Run one analysis.

    Raises UsageError or ValueError (what was asked cannot be computed from this; the message says why), RuleNotLoaded.
    """
    return ANALYSES[kind](inputs, rules)


def needs_readings(kind: str) -> bool:
    """Tell whether an analysis is about readings: all but the check of a bill that has its own."""
    return kind != "bill_check"


def _consumption(inputs: AnalysisInputs, _rules: Rules) -> Report:
    return consumption_report(inputs.curve, inputs.first, inputs.until)


def _forecast(inputs: AnalysisInputs, _rules: Rules) -> Report:
    result = forecast(inputs.curve, day=inputs.first)
    days = inputs.backtest_days
    tested = None if days is None else backtest(inputs.curve.between(None, inputs.first), days)
    quality = quality_of(inputs.curve, result.history_first, result.day).as_data_quality()
    return forecast_report(result, tested=tested, quality=quality)


def _anomalies(inputs: AnalysisInputs, _rules: Rules) -> Report:
    result = find_anomalies(inputs.curve, first=inputs.first, until=inputs.until)
    return anomalies_report(
        result, quality=quality_of(inputs.curve, result.first, result.until).as_data_quality()
    )


def _tariff_comparison(inputs: AnalysisInputs, rules: Rules) -> Report:
    tariff = None if inputs.tariff is None else _contract(inputs).tariff
    own = (
        (Offer(id=CURRENT_ID, name="the current tariff", tariff=tariff),)
        if isinstance(tariff, FixedTariff)
        else ()
    )
    own_id = CURRENT_ID if own else PVPC_ID if tariff is not None else None
    comparison = compare(
        inputs.curve,
        (*own, *inputs.offers.offers),
        Supply(zone=inputs.zone, power_kw=_power_kw(inputs)),
        rules=rules,
        current_id=inputs.current_offer_id or own_id,
        prices=inputs.prices,
        first=inputs.first,
        until=inputs.until,
        contracted_on=inputs.on,
        confirmed=inputs.confirmed,
    )
    return comparison_report(comparison, inputs.offers.rejected)


def _contracted_power(inputs: AnalysisInputs, rules: Rules) -> Report:
    _power_kw(inputs)
    home = _home(inputs)
    terms = terms_of(home.contract, on=home.on, rules=rules, curve=home.curve, confirmed=home.confirmed)
    return power_report(study_power(home, terms, rules))


def _solar(inputs: AnalysisInputs, rules: Rules) -> Report:
    if inputs.province is None:
        raise UsageError("solar needs parameters.province, where the roof is")
    Roof.in_province(inputs.province)  # says which names are known
    home = _home(inputs)
    terms = terms_of(home.contract, on=home.on, rules=rules, curve=home.curve, confirmed=home.confirmed)
    return solar_report(study_roof(home, terms))


def _recommendations(inputs: AnalysisInputs, rules: Rules) -> Report:
    _power_kw(inputs)
    home = _home(inputs)
    if inputs.current_offer_id is not None:
        home = with_current_offer(home, inputs.current_offer_id)
    quality = quality_of(inputs.curve).as_data_quality()
    return recommendations_report(recommend(study_home(home, rules=rules)), quality=quality)


def _bill_check(inputs: AnalysisInputs, rules: Rules) -> Report:
    if inputs.bill is None:
        raise UsageError("bill_check needs parameters.bill: the bill's data and what is printed on it")
    document, printed = split_printed(inputs.bill)
    document.setdefault("consumption", {"curve_file": STORED})
    request = bill_request(
        parse_bill_input(document, "parameters.bill"),
        open_curve=lambda name, zone: _stored_curve(inputs, name, zone),
        open_prices=lambda name, _zone: _stored_prices(inputs, name),
    )
    return bill_check_report(check_bill(request, printed, rules=rules, confirmed=inputs.confirmed))


ANALYSES: Final[Mapping[str, Callable[[AnalysisInputs, Rules], Report]]] = {
    "consumption": _consumption,
    "bill_check": _bill_check,
    "tariff_comparison": _tariff_comparison,
    "contracted_power": _contracted_power,
    "forecast": _forecast,
    "anomalies": _anomalies,
    "solar": _solar,
    "recommendations": _recommendations,
}


def _home(inputs: AnalysisInputs) -> Home:
    surplus = inputs.surplus_eur_per_kwh
    return Home(
        curve=inputs.curve,
        contract=_contract(inputs),
        on=inputs.on,
        maxima=inputs.maxima,
        offers=inputs.offers.offers,
        prices=inputs.prices,
        roof=_roof(inputs.province),
        surplus_eur_per_kwh=DEFAULT_SURPLUS_EUR_PER_KWH if surplus is None else surplus,
        confirmed=inputs.confirmed,
    )


def _roof(province: str | None) -> Roof | None:
    """Return the roof; a province by a name nobody knows harms only what is said about panels."""
    try:
        return None if province is None else Roof.in_province(province)
    except UsageError:
        return None


def _contract(inputs: AnalysisInputs) -> Contract:
    """Return the contract that is known; without a tariff, the PVPC."""
    power_kw = inputs.power_kw or dict.fromkeys(PowerPeriod, _USUAL_KW)
    if inputs.tariff is None:
        return Contract(zone=inputs.zone, power_kw=power_kw, tariff=PvpcTariff(prices=inputs.prices))
    tariff = dict(inputs.tariff)
    if tariff == {"kind": "pvpc"}:
        tariff["prices_file"] = STORED
    document = {
        "zone": inputs.zone.value,
        "power_kw": {period.value: f"{power:f}" for period, power in power_kw.items()},
        "tariff": tariff,
    }
    try:
        contract = ContractInput.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"parameters.tariff: {describe(error)}") from error
    return contract_of(contract, lambda name, _zone: _stored_prices(inputs, name))


def _power_kw(inputs: AnalysisInputs) -> Mapping[PowerPeriod, Decimal]:
    if inputs.power_kw is None:
        raise UsageError(
            "the contracted power is not known: give parameters.power_kw, or upload the contract"
        )
    if not all(0 < power <= _MOST_KW for power in inputs.power_kw.values()):
        raise UsageError(f"parameters.power_kw: a 2.0TD supply has more than 0 and at most {_MOST_KW} kW")
    return inputs.power_kw


def _stored_curve(inputs: AnalysisInputs, name: str, zone: TariffZone) -> Curve:
    if name != STORED:
        raise UsageError("files cannot be named here: leave consumption out to use the stored readings")
    if zone is not inputs.zone:
        raise UsageError(f"the stored readings are of {inputs.zone.value}, the bill is of {zone.value}")
    return inputs.curve


def _stored_prices(inputs: AnalysisInputs, name: str) -> HourlyPrices:
    if name != STORED:
        raise UsageError(
            f"files cannot be named here: prices_file may be {STORED!r}, the prices that are loaded"
        )
    if inputs.prices is None:
        raise UsageError("no PVPC prices are loaded for these days: `expert-bot prices sync` loads them")
    return inputs.prices


def exact_json(value: object) -> object:
    """Return JSON as `parse_json` gives it: numbers exact, as they are written shortest. Raises UsageError."""
    return parse_json(json.dumps(value, default=str).encode(), "the document")
