"""What comes of an analysis that somebody asked for by name: a report, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from expert_bot.energy.analyses.catalogue import AnalysisInputs, needs_readings, run_analysis
from expert_bot.energy.report import Report
from expert_bot.energy.rules import RuleNotLoaded, Rules
from expert_bot.errors import UsageError

Status = Literal["success", "no_data", "not_possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Computed; there is no consumption to compute on; it cannot be computed from what is known.

    In the last two cases the report's `result` has only `reason`.
    """

    status: Status
    report: Report


def analysis_outcome(kind: str, inputs: AnalysisInputs, *, rules: Rules) -> Outcome:
    """Run one analysis; what the readings do not allow is an outcome, too, and says why."""
    if needs_readings(kind) and not len(inputs.curve):
        return _nothing("no_data", "there are no readings: upload a consumption file first")
    try:
        return Outcome(status="success", report=run_analysis(kind, inputs, rules=rules))
    except (UsageError, ValueError, RuleNotLoaded) as error:
        return _nothing("not_possible", str(error))


def _nothing(status: Status, reason: str) -> Outcome:
    return Outcome(status=status, report=Report(result={"reason": reason}))
