"""One chat question to one answer: pure, so the same question on the same data has the same answer on every transport."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from expert_bot.assistant import compose
from expert_bot.assistant.facts import month_facts, range_facts, report_month, requested_month_fact
from expert_bot.assistant.profile import Profile
from expert_bot.assistant.understand import MonthAsked, MonthMissing, NotYet, Understanding, understand
from expert_bot.energy.calendar import Month, madrid
from expert_bot.energy.readings import Period
from expert_bot.energy.usage import dominant_period, has_complete_year
from expert_bot.schemas.events.chat import ChatRequested, UserContext
from expert_bot.schemas.fact import Fact

ENGINE: Final = "templates"
LANGUAGE: Final = "es"
Status = Literal["success", "no_data", "needs_clarification", "unsupported"]
ProfileWord = Literal["punta", "llano", "valle"]
_PERIOD_WORDS: Final[dict[Period, ProfileWord]] = {Period.P1: "punta", Period.P2: "llano", Period.P3: "valle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """What to answer. `facts`: every number in `response`. `degraded`: what was asked for and could not be given."""

    status: Status
    response: str
    facts: tuple[Fact, ...]
    suggestions: tuple[str, ...]
    degraded: tuple[str, ...]
    user_context: UserContext


def answer(request: ChatRequested, profile: Profile, asked_at: datetime) -> ChatAnswer:
    """Answer a request from a profile. `asked_at`: aware instant of the question; its day in Madrid is "today"."""
    today = asked_at.astimezone(madrid()).date()
    understanding = understand(request.message, today)
    status, response, facts = _decide(understanding, profile)
    asked = understanding.month if isinstance(understanding, MonthAsked) else None
    return ChatAnswer(
        status=status,
        response=response,
        facts=tuple(facts),
        suggestions=tuple(compose.suggest_questions(profile, Month.of(today), asked)),
        degraded=_degraded(request.language),
        user_context=_user_context(profile),
    )


def _decide(understanding: Understanding, profile: Profile) -> tuple[Status, str, list[Fact]]:
    match understanding:
        case MonthAsked(month):
            return _answer_month(profile, month)
        case MonthMissing():
            return "needs_clarification", compose.compose_which_month(profile), range_facts(profile)
        case NotYet(topic):
            return "unsupported", compose.compose_not_yet(topic), []


def _answer_month(profile: Profile, month: Month) -> tuple[Status, str, list[Fact]]:
    report = report_month(profile, month)
    if report is not None:
        return "success", compose.compose_month(report), month_facts(report)
    facts = [requested_month_fact(month), *range_facts(profile)] if profile.data_until else []
    return "no_data", compose.compose_no_data(profile, month), facts


def _user_context(profile: Profile) -> UserContext:
    dominant = dominant_period(profile.months, profile.data_until)
    return UserContext(
        user_name=profile.user_name,
        has_complete_data=has_complete_year(profile.months, profile.data_until),
        home_type=profile.home_type,
        consumption_profile=_PERIOD_WORDS[dominant] if dominant else None,
    )


def _degraded(language: str | None) -> tuple[str, ...]:
    if language is None or language.split("-")[0].lower() == LANGUAGE:
        return ()
    return (f"language:{language}",)
