"""`/api/v1/energy/...`: what is known of the caller's home, and analyses of it, computed while he waits.

An analysis that takes longer than a request may is submitted instead: `tasks_routes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from expert_bot.assistant.profile import profile_key
from expert_bot.energy import rules
from expert_bot.energy.analyses.outcome import Outcome, analysis_outcome
from expert_bot.energy.analyses.sun.solar_yield import find_province
from expert_bot.energy.calendar import Month
from expert_bot.errors import PermanentError, StoreUnavailableError, UsageError
from expert_bot.household import load_household
from expert_bot.http.analysis_turns import AnalysisTurns, TooManyAnalysesError
from expert_bot.http.callers import Callers, Level
from expert_bot.http.energy_profile import profile_body
from expert_bot.http.firebase_tokens import Caller
from expert_bot.http.json_bodies import read_body
from expert_bot.http.problems import problem_response
from expert_bot.http.tasks_routes import SUBMIT_PATH
from expert_bot.http.turned_away import retry_after, unavailable
from expert_bot.ports import Analytics, Clock, DocumentReader
from expert_bot.schemas.data import describe_violations
from expert_bot.schemas.events.analysis import AnalysisKind, AnalysisParameters, AnalysisRequested
from expert_bot.schemas.fact import FactPeriod

PROFILE_PATH: Final = "/api/v1/energy/profile"
ANALYSIS_PATH: Final = "/api/v1/energy/consumption/analysis"
RECOMMENDATIONS_PATH: Final = "/api/v1/energy/recommendations"
LIMIT_S: Final = 15.0
"""How long an analysis may take while its caller waits."""
MAX_PROVINCE_CHARS: Final = 60
_PRIVATE: Final = {"Cache-Control": "no-store"}
_NOT_READ: Final = "the stored data cannot be read right now"

_log = structlog.get_logger(__name__)


class AnalysisRequest(BaseModel):
    """What to compute, of the caller's own data."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Annotated[AnalysisKind, Field(description="Which analysis.")] = "consumption"
    period: Annotated[
        FactPeriod | None, Field(description="Local days to look at; default: as of the event.")
    ] = None
    parameters: AnalysisParameters = AnalysisParameters()


class RecommendationsQuery(BaseModel):
    """The query of the recommendations."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    province: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_PROVINCE_CHARS,
            description="Where the roof is, by name or capital; default: as the profile knows it.",
        ),
    ] = None


def energy_routes(
    callers: Callers,
    *,
    documents: DocumentReader,
    analytics: Analytics,
    clock: Clock,
    confirmed: Mapping[Month, bool],
    limit_s: float = LIMIT_S,
) -> list[web.RouteDef]:
    """Return the three routes.

    `confirmed`: months of conditional tax law that are settled. `limit_s`: how long an analysis may take.
    """
    energy = _Energy(
        documents=documents,
        analytics=analytics,
        clock=clock,
        confirmed=confirmed,
        limit_s=limit_s,
        turns=AnalysisTurns(),
    )
    return [
        web.get(PROFILE_PATH, callers.guarded(Level.TOKEN, energy.profile), allow_head=False),
        web.post(ANALYSIS_PATH, callers.guarded(Level.TOKEN, energy.analysis)),
        web.get(RECOMMENDATIONS_PATH, callers.guarded(Level.TOKEN, energy.recommendations), allow_head=False),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Energy:
    documents: DocumentReader
    analytics: Analytics
    clock: Clock
    confirmed: Mapping[Month, bool]
    limit_s: float
    turns: AnalysisTurns

    async def profile(self, _request: web.Request, caller: Caller) -> web.Response:
        try:
            document = await self.documents.get(profile_key(caller.user_id))
            return web.json_response(profile_body(caller, document), headers=_PRIVATE)
        except StoreUnavailableError as error:
            return unavailable(error, _NOT_READ)
        except PermanentError as error:
            return problem_response(409, error.detail, reason=error.reason)

    async def analysis(self, request: web.Request, caller: Caller) -> web.Response:
        asked = await read_body(request, AnalysisRequest)
        return await self._answer(
            AnalysisRequested(
                user_id=caller.user_id, kind=asked.kind, period=asked.period, parameters=asked.parameters
            )
        )

    async def recommendations(self, request: web.Request, caller: Caller) -> web.Response:
        province = _read_query(request).province
        parameters = AnalysisParameters(province=province)
        return await self._answer(
            AnalysisRequested(user_id=caller.user_id, kind="recommendations", parameters=parameters)
        )

    async def _answer(self, asked: AnalysisRequested) -> web.Response:
        """Compute what was asked, or say why it was not."""
        try:
            async with asyncio.timeout(self.limit_s):
                outcome = await self._compute(asked)
        except TimeoutError:
            _log.warning("analysis_took_too_long", kind=asked.kind, limit_s=self.limit_s)
            said = f"the analysis took longer than {self.limit_s:g} s; POST {SUBMIT_PATH} computes it without that limit"
            return problem_response(504, said, headers=retry_after(self.limit_s), reason="took-too-long")
        except TooManyAnalysesError:
            said = "your last analyses are still being computed; ask again when they have ended"
            return problem_response(429, said, headers=retry_after(1), reason="too-many-analyses")
        except StoreUnavailableError as error:
            return unavailable(error, _NOT_READ)
        except UsageError as error:
            return problem_response(422, str(error), reason="unusable-parameters")
        except PermanentError as error:
            return problem_response(409, error.detail, reason=error.reason)
        return web.json_response(_body(asked.kind, outcome), headers=_PRIVATE)

    async def _compute(self, asked: AnalysisRequested) -> Outcome:
        inputs = await load_household(
            asked,
            asked_at=self.clock.now(),
            analytics=self.analytics,
            documents=self.documents,
            confirmed=self.confirmed,
        )
        compute = partial(analysis_outcome, asked.kind, inputs, rules=rules.load())
        return await self.turns.run(asked.user_id, compute)


def _read_query(request: web.Request) -> RecommendationsQuery:
    """Return the query's parameters, each given once at most. Raises HTTPUnprocessableEntity."""
    if len(set(request.query)) < len(request.query):
        raise web.HTTPUnprocessableEntity(text="each parameter of the query can be given once")
    try:
        query = RecommendationsQuery.model_validate(dict(request.query))
        if query.province is not None:
            find_province(query.province)
    except ValidationError as error:
        raise web.HTTPUnprocessableEntity(text=describe_violations(error)) from error
    except UsageError as error:
        raise web.HTTPUnprocessableEntity(text=f"province: {error}") from error
    return query


def _body(kind: str, outcome: Outcome) -> dict[str, Any]:
    """Return what `analysis.completed` says, without a task."""
    report = outcome.report
    quality = report.data_quality
    return {
        "kind": kind,
        "status": outcome.status,
        "result": dict(report.result),
        "facts": [fact.model_dump(mode="json") for fact in report.facts],
        "data_quality": None if quality is None else quality.model_dump(mode="json"),
    }
