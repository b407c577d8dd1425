"""analysis.requested: analyse a household's consumption, and keep the task's record up to date through its life."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from expert_bot.energy import rules
from expert_bot.energy.analyses.catalogue import AnalysisInputs
from expert_bot.energy.analyses.outcome import analysis_outcome
from expert_bot.errors import PermanentError, StoreUnavailableError, UsageError
from expert_bot.handlers import Context, Reply, Result
from expert_bot.household import load_household
from expert_bot.ports import Document, Write
from expert_bot.ports_analytics import AsyncTaskRow
from expert_bot.schemas.events.analysis import FAMILY, AnalysisCompleted, AnalysisRequested
from expert_bot.schemas.problem import Problem
from expert_bot.tasks import Task, TaskStatus, completed, failed, running, task_key

HANDLES: Final = FAMILY.requested
COMPLETED: Final = FAMILY.replies[0]


async def begin(request: AnalysisRequested, context: Context) -> tuple[Write, ...]:
    """Say that the task runs, unless it had begun before. Raises StoreUnavailableError."""
    task = _task(request, context)
    writes = running(task, await _stored(task, context), context.asked_at)
    if writes:
        await _log(task, TaskStatus.RUNNING, context)
    return writes


async def handle(request: AnalysisRequested, context: Context) -> Result:
    """Run one analysis.

    Writes: the task, completed, from the state it was read in. Raises StoreUnavailableError, or PermanentError
    (`unusable-parameters`, `profile-unreadable`).
    """
    task = _task(request, context)
    try:
        inputs = await load_household(
            request,
            asked_at=context.asked_at,
            analytics=context.analytics,
            documents=context.documents,
            confirmed=context.confirmed,
        )
    except UsageError as error:
        raise PermanentError("unusable-parameters", str(error)[:900]) from error
    document = await _stored(task, context)

    reply = await asyncio.to_thread(_analyse, request, inputs, task.task_id)

    await _log(task, TaskStatus.COMPLETED, context)
    result_json = reply.model_dump_json()
    return Result(
        replies=(Reply(COMPLETED, reply),), writes=(completed(task, document, context.asked_at, result_json),)
    )


async def fail(request: AnalysisRequested, context: Context, problem: Problem) -> tuple[Write, ...]:
    """Say that the task failed, and why. Raises StoreUnavailableError."""
    task = _task(request, context)
    with suppress(StoreUnavailableError):  # its outage may be what it died of
        await _log(task, TaskStatus.FAILED, context)
    return (failed(task, await _stored(task, context), context.asked_at, problem),)


def _analyse(request: AnalysisRequested, inputs: AnalysisInputs, task_id: str) -> AnalysisCompleted:
    outcome = analysis_outcome(request.kind, inputs, rules=rules.load())
    report = outcome.report
    return AnalysisCompleted.model_validate(
        {
            "task_id": task_id,
            "kind": request.kind,
            "status": outcome.status,
            "result": dict(report.result),
            "facts": list(report.facts),
            "data_quality": report.data_quality,
        }
    )


def _task(request: AnalysisRequested, context: Context) -> Task:
    """Return the task of a request; one without an id gets its own, the same however often it is delivered."""
    event = context.event
    return Task(
        task_id=request.task_id or str(uuid5(uuid5(NAMESPACE_URL, event.source), event.id)),
        user_id=request.user_id,
        kind=request.kind,
        correlation_id=event.correlation_id,
    )


async def _stored(task: Task, context: Context) -> Document | None:
    return await context.documents.get(task_key(task.user_id, task.task_id))


async def _log(task: Task, status: TaskStatus, context: Context) -> None:
    event = context.event  # nothing of the user's, who is a pseudonym in this table
    name = hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()
    row = AsyncTaskRow(
        row_id=f"{name}:{status.value}",
        recorded_at=context.asked_at,
        task_id=task.task_id,
        user_id=task.user_id,
        kind=task.kind,
        status=status.value,
        correlation_id=task.correlation_id,
    )
    await context.analytics.append([row])
