"""Every number an answer states, as facts with period, source and data quality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from expert_bot.assistant.numbers import decimal_text
from expert_bot.assistant.profile import COLLECTION, USAGE_FIELD, Profile
from expert_bot.energy.calendar import Month
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import Change, MonthUsage, change_between
from expert_bot.schemas.fact import DataQuality, Fact, FactPeriod

USAGE_SOURCE: Final = f"{COLLECTION}.{USAGE_FIELD}"
QUESTION_SOURCE: Final = "chat.requested.message"
Unit = Literal["kWh", "%", "EUR", "h", "date", "direction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthReport:
    """What is known of a month with data. `previous`: usage of the month before; `data_until`: last day with data."""

    month: Month
    usage: MonthUsage
    previous: MonthUsage | None
    data_until: date | None

    @property
    def change(self) -> Change | None:
        """How the month differs from the one before, where it can be said."""
        return change_between(self.previous, self.usage)

    @property
    def ends_early(self) -> bool:
        """Whether the data end inside this month."""
        return self.data_until is not None and self.month.first_day <= self.data_until < self._last_day

    @property
    def _last_day(self) -> date:
        return date.fromordinal(self.month.end.toordinal() - 1)


def report_month(profile: Profile, month: Month) -> MonthReport | None:
    """Look a month up in the profile; None if it has no data."""
    usage = profile.months.get(month)
    if usage is None:
        return None
    return MonthReport(
        month=month,
        usage=usage,
        previous=profile.months.get(month.previous),
        data_until=profile.data_until,
    )


def month_facts(report: MonthReport) -> list[Fact]:
    """Return the facts of an answered month; the values are the ones its sentence prints."""
    return [
        *_usage_facts("consumption", report.usage, report.data_until),
        *_quality_facts(report),
        *(_usage_facts("previous", report.previous, report.data_until) if report.previous else ()),
        *_change_facts(report),
    ]


def range_facts(profile: Profile) -> list[Fact]:
    """Return the first and last day with data, as facts; none without data."""
    return [
        Fact(id=name, value=day.isoformat(), unit="date", source=USAGE_SOURCE)
        for name, day in (("data_from", profile.data_from), ("data_until", profile.data_until))
        if day is not None
    ]


def requested_month_fact(month: Month) -> Fact:
    """Return the month a question names, as a fact: its first day."""
    return Fact(
        id="requested_month",
        value=month.first_day.isoformat(),
        unit="date",
        period=_period(month),
        source=QUESTION_SOURCE,
    )


def _usage_facts(name: str, usage: MonthUsage, data_until: date | None) -> Iterator[Fact]:
    values = {"total": usage.total_kwh} | {
        period.lower(): usage.energy_kwh.get(period, Decimal(0)) for period in Period
    }
    for part, energy_kwh in values.items():
        yield _fact(f"{name}_{part}", decimal_text(energy_kwh), "kWh", usage, data_until)


def _quality_facts(report: MonthReport) -> Iterator[Fact]:
    usage, until = report.usage, report.data_until
    if usage.missing_hours:
        yield _fact("hours_missing", str(usage.missing_hours), "h", usage, until)
        yield _fact("hours_expected", str(usage.expected_hours), "h", usage, until)
    if usage.estimated_hours:
        yield _fact("hours_estimated", str(usage.estimated_hours), "h", usage, until)
        yield _fact("hours_with_data", str(usage.hours), "h", usage, until)
    if report.ends_early and until is not None:
        yield _fact("data_until", until.isoformat(), "date", usage, until)


def _change_facts(report: MonthReport) -> Iterator[Fact]:
    change = report.change
    if change is None or not change.is_reliable:
        return
    usage, until = report.usage, report.data_until
    yield _fact("change_kwh", decimal_text(change.energy_kwh), "kWh", usage, until)
    yield _fact("change_pct", decimal_text(change.pct), "%", usage, until)
    yield _fact("change_direction", change.direction.value, "direction", usage, until)


def _fact(name: str, value: str, unit: Unit, usage: MonthUsage, data_until: date | None) -> Fact:
    return Fact(
        id=name,
        value=value,
        unit=unit,
        period=_period(Month.parse(usage.month)),
        source=USAGE_SOURCE,
        data_quality=DataQuality(
            coverage_pct=decimal_text(usage.coverage_pct),
            estimated_pct=decimal_text(usage.estimated_pct),
            data_until=data_until.isoformat() if data_until else None,
        ),
    )


def _period(month: Month) -> FactPeriod:
    return FactPeriod(start=month.first_day.isoformat(), end=month.end.isoformat())
