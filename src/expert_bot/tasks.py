"""Tasks: what a household asked to have computed, and how far it has come. The one place that knows a task's fields.

`tasks/{digest of user_id and task_id}`: task_id, user_id, kind, status, created_at, updated_at, correlation_id; then
`result_json` (the data of the reply, JSON) once completed, or `problem` {reason, detail, retriable} once failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from expert_bot.ports import Create, DocKey, Document, Fields, Update, Value, Write
from expert_bot.records import record
from expert_bot.schemas.problem import Problem

COLLECTION: Final = "tasks"


class TaskStatus(StrEnum):
    """How far a task has come. Only `submitted` becomes `running`; the last two are ends, until a replay."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@record(kw_only=True)
class Task:
    """Whose task, and of what kind."""

    task_id: str
    user_id: str
    kind: str
    correlation_id: str


@record(kw_only=True)
class StoredTask:
    """A task as it is stored. `result_json` once it is completed, `problem` (reason, detail, retriable) once it failed."""

    task_id: str
    kind: str
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    result_json: str | None
    problem: Mapping[str, Value] | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more, but for a replay."""
        return self.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)


def task_key(user_id: str, task_id: str) -> DocKey:
    """Return where a user's task is: one user's ids never lead to another user's task."""
    return DocKey(COLLECTION, hashlib.sha256(f"{user_id}\n{task_id}".encode()).hexdigest())


def submitted(task: Task, at: datetime) -> Write:
    """Return the write that makes a new task."""
    return Create(task_key(task.user_id, task.task_id), _fields(task, TaskStatus.SUBMITTED, at))


def running(task: Task, document: Document | None, at: datetime) -> tuple[Write, ...]:
    """Return the write that says that work has begun; none if it had begun before."""
    if document is None:
        return (Create(task_key(task.user_id, task.task_id), _fields(task, TaskStatus.RUNNING, at)),)
    if document.fields.get("status") != TaskStatus.SUBMITTED.value:
        return ()
    changed: Fields = {"status": TaskStatus.RUNNING.value, "updated_at": at}
    return (Update(document.key, changed, if_version=document.version),)


def completed(task: Task, document: Document | None, at: datetime, result_json: str) -> Write:
    """Return the write that ends a task with its result."""
    return _ended(
        task,
        document,
        at,
        {"status": TaskStatus.COMPLETED.value, "result_json": result_json, "problem": None},
    )


def failed(task: Task, document: Document | None, at: datetime, problem: Problem) -> Write:
    """Return the write that ends a task with what went wrong."""
    why: Value = {"reason": problem.reason, "detail": problem.detail, "retriable": problem.retriable}
    return _ended(
        task, document, at, {"status": TaskStatus.FAILED.value, "result_json": None, "problem": why}
    )


def read_task(document: Document) -> StoredTask:
    """Return what a task's document says. ValueError or TypeError if it is no task's."""
    fields = document.fields
    result_json, problem = fields.get("result_json"), fields.get("problem")
    return StoredTask(
        task_id=str(fields.get("task_id")),
        kind=str(fields.get("kind")),
        status=TaskStatus(str(fields.get("status"))),
        created_at=_instant(fields, "created_at"),
        updated_at=_instant(fields, "updated_at"),
        result_json=result_json if isinstance(result_json, str) else None,
        problem=problem if isinstance(problem, dict) else None,
    )


def _instant(fields: Fields, name: str) -> datetime:
    value = fields.get(name)
    if not isinstance(value, datetime):
        raise TypeError(f"a task's {name} must be an instant")
    return value


def _ended(task: Task, document: Document | None, at: datetime, ending: Fields) -> Write:
    if document is None:
        fields = _fields(task, TaskStatus.COMPLETED, at)
        return Create(task_key(task.user_id, task.task_id), {**fields, **ending})
    return Update(document.key, {**ending, "updated_at": at}, if_version=document.version)


def _fields(task: Task, status: TaskStatus, at: datetime) -> Fields:
    return {
        "task_id": task.task_id,
        "user_id": task.user_id,
        "kind": task.kind,
        "correlation_id": task.correlation_id,
        "status": status.value,
        "created_at": at,
        "updated_at": at,
    }
