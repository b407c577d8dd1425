"""The forecast and its backtest as others read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Final

from expert_bot.energy.analyses.forecasting.backtest import Backtest, Score
from expert_bot.energy.analyses.forecasting.forecast import Forecast, HourForecast, MeasuredError
from expert_bot.energy.analyses.forecasting.forecast_ranges import TotalForecast
from expert_bot.energy.calendar import Month, TariffZone, time_zone_of
from expert_bot.energy.report import Json, Report
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

TOTALS_SOURCE: Final = "forecast: mean of the last weeks by kind of day, a quarter of last year's season; interval from past errors"
BACKTEST_SOURCE: Final = "backtest: each day forecast from the days before it"


def forecast_report(
    result: Forecast, *, tested: Backtest | None = None, quality: DataQuality | None = None
) -> Report:
    """Return `forecast`, and with a backtest its scores beside it; keys in docs/reference/cli.md.

    `quality`: of the history behind it.
    """
    shown: dict[str, Json] = {
        "from": result.day.isoformat(),
        "history_from": result.history_first.isoformat(),
        "zone": result.zone.value,
        "day": _total(result.total) | {"hours": [_hour(hour, result.zone) for hour in result.hours]},
        "month": _total(result.month) | {"month": str(Month.of(result.day))},
        "next_30_days": _total(result.next_30_days),
        "measured": None if result.measured is None else _measured(result.measured),
    }
    scores = {} if tested is None else _backtest(tested)
    facts = (*_forecast_facts(result), *(() if tested is None else _backtest_facts(tested)))
    return Report(result={"forecast": shown, **scores}, facts=facts, data_quality=quality)


def _hour(hour: HourForecast, zone: TariffZone) -> Json:
    return {
        "starts_at": hour.starts_at.astimezone(time_zone_of(zone)).isoformat(),
        "local_hour": hour.local_hour,
        "period": hour.period.value,
        "kwh": str(hour.energy_kwh),
        "low_kwh": str(hour.low_kwh),
        "high_kwh": str(hour.high_kwh),
    }


def _total(total: TotalForecast) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "start": total.first.isoformat(),
        "end": total.until.isoformat(),
        "known_kwh": f"{total.known_kwh:f}",
        "kwh": f"{total.energy_kwh:f}",
        "low_kwh": f"{total.low_kwh:f}",
        "high_kwh": f"{total.high_kwh:f}",
        "by_period_kwh": {period.value: f"{energy:f}" for period, energy in total.by_period.items()},
        "eur": _text(total.eur),
        "low_eur": _text(total.low_eur),
        "high_eur": _text(total.high_eur),
    }
    return shown


def _measured(measured: MeasuredError) -> Json:
    return {
        "days": measured.days,
        "wape": _text(measured.wape),
        "interval_coverage_pct": str(measured.coverage_pct),
    }


def _backtest(tested: Backtest) -> dict[str, Json]:
    return {
        **_score(tested.forecast),
        "interval_coverage_pct": str(tested.interval_coverage_pct),
        "month_interval_coverage_pct": _text(tested.month_coverage_pct),
        "baselines": {name: _score(score) for name, score in tested.baselines.items()},
        "backtest_window": {
            "start": tested.first.isoformat(),
            "end": tested.until.isoformat(),
            "days": tested.days,
            "requested_days": tested.requested_days,
        },
    }


def _score(score: Score) -> dict[str, Json]:
    return {
        "mase_168": _text(score.mase_168),
        "mase_168_window": _text(score.mase_168_window),
        "wape": _text(score.wape),
        "month_total_error_pct": _text(score.month_total_error_pct),
        "month_blocks_error_pct": _text(score.month_blocks_error_pct),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _forecast_facts(result: Forecast) -> Iterator[Fact]:
    for name, total in (
        ("day", result.total),
        ("month", result.month),
        ("next_30_days", result.next_30_days),
    ):
        for part, kwh, eur in (
            ("", total.energy_kwh, total.eur),
            ("_low", total.low_kwh, total.low_eur),
            ("_high", total.high_kwh, total.high_eur),
        ):
            period = _period(total.first, total.until)
            yield Fact(
                id=f"forecast_{name}{part}_kwh",
                value=f"{kwh:f}",
                unit="kWh",
                period=period,
                source=TOTALS_SOURCE,
            )
            if eur is not None:
                yield Fact(
                    id=f"forecast_{name}{part}_eur",
                    value=f"{eur:f}",
                    unit="EUR",
                    period=period,
                    source=TOTALS_SOURCE,
                )
    measured = result.measured
    if measured is not None and measured.wape is not None:
        yield Fact(id="forecast_wape", value=str(measured.wape), unit="ratio", source=BACKTEST_SOURCE)


def _backtest_facts(tested: Backtest) -> Iterator[Fact]:
    period = _period(tested.first, tested.until)
    score = tested.forecast
    for name, value, unit in (
        ("mase_168", score.mase_168, "ratio"),
        ("wape", score.wape, "ratio"),
        ("month_total_error_pct", score.month_total_error_pct, "%"),
        ("interval_coverage_pct", tested.interval_coverage_pct, "%"),
    ):
        if value is not None:
            yield Fact.model_validate(
                {
                    "id": f"backtest_{name}",
                    "value": f"{value:f}",
                    "unit": unit,
                    "period": period,
                    "source": BACKTEST_SOURCE,
                }
            )


def _period(first: date, until: date) -> FactPeriod:
    return FactPeriod(start=first.isoformat(), end=until.isoformat())
