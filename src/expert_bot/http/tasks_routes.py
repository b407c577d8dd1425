"""`/api/v1/async/submit` and `/api/v1/async/status/{task_id}`: an analysis asked for as an event, and how far it has come.

The route does no work: whoever consumes analysis requests does, here or elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from expert_bot.errors import (
    BusUnavailableError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from expert_bot.http.callers import Callers, Level
from expert_bot.http.firebase_tokens import Caller
from expert_bot.http.json_bodies import read_body
from expert_bot.http.problems import problem_response
from expert_bot.http.turned_away import unavailable
from expert_bot.ports import Clock, Document, Documents
from expert_bot.publishers import RequestClient
from expert_bot.schemas.envelope import CloudEvent, format_timestamp
from expert_bot.schemas.events.analysis import AnalysisKind, AnalysisParameters, AnalysisRequested
from expert_bot.schemas.fact import FactPeriod
from expert_bot.schemas.identifiers import UserId
from expert_bot.schemas.problem import Problem
from expert_bot.tasks import Task, TaskStatus, failed, read_task, submitted, task_key

SUBMIT_PATH: Final = "/api/v1/async/submit"
STATUS_PATH: Final = "/api/v1/async/status/{task_id}"
LOOK_AGAIN_S: Final = 1
"""When a task that has not ended is worth asking for again."""
_NOT_PUBLISHED: Final = Problem(
    type="urn:expert-bot:problem:not-published",
    title="The request could not be handed on",
    status=503,
    detail="the bus did not take the request; submit it again",
    reason="not-published",
    retriable=True,
)

_log = structlog.get_logger(__name__)


class SubmitRequest(BaseModel):
    """What to analyse, of the caller's own data."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Annotated[AnalysisKind, Field(description="Which analysis.")]
    period: Annotated[
        FactPeriod | None, Field(description="Local days to look at; default: the last 12 months with data.")
    ] = None
    parameters: AnalysisParameters = AnalysisParameters()
    user_id: Annotated[
        UserId | None, Field(description="The caller's own id; anybody else's is refused.")
    ] = None


def tasks_routes(
    callers: Callers, *, documents: Documents, requests: RequestClient, clock: Clock
) -> list[web.RouteDef]:
    """Return the two routes. `requests`: publishes as this service."""
    tasks = _Tasks(documents=documents, requests=requests, clock=clock)
    return [
        web.post(SUBMIT_PATH, callers.guarded(Level.TOKEN, tasks.submit)),
        web.get(STATUS_PATH, callers.guarded(Level.TOKEN, tasks.status), allow_head=False),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tasks:
    documents: Documents
    requests: RequestClient
    clock: Clock

    async def submit(self, request: web.Request, caller: Caller) -> web.Response:
        asked = await read_body(request, SubmitRequest)
        if asked.user_id not in (None, caller.user_id):
            said = "user_id must be the caller's own, or be left out"
            return problem_response(403, said, reason="foreign-user")
        now = self.clock.now()
        task, event = self._make(asked, caller.user_id, now)
        try:
            await self.documents.commit([submitted(task, now)])
        except StoreUnavailableError as error:
            return unavailable(error, "the task cannot be stored right now; submit it again")
        try:
            await self.requests.publish(event)
        except BusUnavailableError as error:
            if await self._give_up(task):
                return unavailable(error, _NOT_PUBLISHED.detail, task_id=task.task_id)
        _log.info("task_submitted", task_id=task.task_id, kind=task.kind, correlation_id=task.correlation_id)
        return _accepted(task)

    async def status(self, request: web.Request, caller: Caller) -> web.Response:
        try:
            document = await self.documents.get(task_key(caller.user_id, request.match_info["task_id"]))
        except StoreUnavailableError as error:
            return unavailable(error, "tasks cannot be read right now")
        if document is None:
            return problem_response(404, "you have no task of this id")
        return _shown(request, document)

    def _make(self, asked: SubmitRequest, user_id: str, now: datetime) -> tuple[Task, CloudEvent]:
        """Return a new task, and the event that asks for its work."""
        task_id = uuid.uuid4().hex
        wanted = AnalysisRequested(
            user_id=user_id,
            kind=asked.kind,
            period=asked.period,
            parameters=asked.parameters,
            task_id=task_id,
        )
        event = self.requests.make_request(wanted, asked_at=now)
        return Task(
            task_id=task_id, user_id=user_id, kind=asked.kind, correlation_id=event.correlation_id
        ), event

    async def _give_up(self, task: Task) -> bool:
        """Say that a task whose event was not confirmed failed, unless somebody has taken it up; tell whether that is so.

        While the store is down, too, the task stays as it is: its caller has been told to submit again.
        """
        try:
            document = await self.documents.get(task_key(task.user_id, task.task_id))
            if document is not None and read_task(document).status is not TaskStatus.SUBMITTED:
                return False
            await self.documents.commit([failed(task, document, self.clock.now(), _NOT_PUBLISHED)])
        except PreconditionFailedError:
            return False
        except StoreUnavailableError as error:
            _log.warning("task_left_submitted", task_id=task.task_id, error=type(error).__name__)
        return True


def _accepted(task: Task) -> web.Response:
    headers = {
        "Location": STATUS_PATH.format(task_id=task.task_id),
        "Retry-After": str(LOOK_AGAIN_S),
        "Cache-Control": "no-store",
    }
    body = {"task_id": task.task_id, "status": TaskStatus.SUBMITTED.value, "kind": task.kind}
    return web.json_response(body, status=202, headers=headers)


def _shown(request: web.Request, document: Document) -> web.Response:
    """Return a task as its owner sees it, or 304 if he has seen this state."""
    task = read_task(document)
    etag = hashlib.sha256(f"{document.key.id}\n{document.version}".encode()).hexdigest()[:32]
    headers = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
    if not task.has_ended:
        headers["Retry-After"] = str(LOOK_AGAIN_S)
    if any(known.value in (etag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body: dict[str, object] = {
        "task_id": task.task_id,
        "kind": task.kind,
        "status": task.status.value,
        "created_at": format_timestamp(task.created_at),
        "updated_at": format_timestamp(task.updated_at),
    }
    if task.result_json is not None:
        body["result"] = json.loads(task.result_json)
    if task.problem is not None:
        body["problem"] = dict(task.problem)
    return web.json_response(body, headers=headers)
