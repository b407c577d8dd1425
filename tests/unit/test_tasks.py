"""Tasks: only `submitted` becomes `running`, an end replaces whatever was before, nobody reaches another user's task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from expert_bot.errors import PreconditionFailedError
from expert_bot.ports import Document
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.tasks import Task, completed, failed, running, submitted, task_key
from tests.unit.handler_world import PROBLEM

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
LATER = AT + timedelta(seconds=5)
TASK = Task(task_id="task-1", user_id="user-ana", kind="forecast", correlation_id="root-1")


@pytest.fixture
def documents() -> MemoryDocuments:
    """Return an empty store."""
    return MemoryDocuments()


async def stored(documents: MemoryDocuments) -> Document:
    """Return the task that must exist."""
    document = await documents.get(task_key("user-ana", "task-1"))
    assert document is not None
    return document


async def test_a_task_goes_from_submitted_through_running_to_completed(documents: MemoryDocuments) -> None:
    """Each step keeps what was there and says when."""
    await documents.commit([submitted(TASK, AT)])
    assert (await stored(documents)).fields["status"] == "submitted"
    await documents.commit(running(TASK, await stored(documents), LATER))
    assert (await stored(documents)).fields["status"] == "running"
    await documents.commit([completed(TASK, await stored(documents), LATER, '{"a":1}')])
    assert (await stored(documents)).fields == {
        "task_id": "task-1",
        "user_id": "user-ana",
        "kind": "forecast",
        "correlation_id": "root-1",
        "status": "completed",
        "created_at": AT,
        "updated_at": LATER,
        "result_json": '{"a":1}',
        "problem": None,
    }


async def test_a_task_nobody_submitted_is_made_when_work_begins(documents: MemoryDocuments) -> None:
    """An event may name a task, or none, that was never submitted."""
    await documents.commit(running(TASK, None, AT))
    assert (await stored(documents)).fields["status"] == "running"


@pytest.mark.parametrize("ended", ["completed", "failed"])
async def test_an_ended_task_does_not_run_again(documents: MemoryDocuments, ended: str) -> None:
    """A late copy of the request leaves an end as it is."""
    end = completed(TASK, None, AT, "{}") if ended == "completed" else failed(TASK, None, AT, PROBLEM)
    await documents.commit([end])
    assert running(TASK, await stored(documents), LATER) == ()


async def test_a_replay_completes_what_had_failed(documents: MemoryDocuments) -> None:
    """The problem is gone once there is a result."""
    await documents.commit([failed(TASK, None, AT, PROBLEM)])
    assert (await stored(documents)).fields["problem"] == {
        "reason": "expired",
        "detail": "too late",
        "retriable": True,
    }
    await documents.commit([completed(TASK, await stored(documents), LATER, "{}")])
    fields = (await stored(documents)).fields
    assert (fields["status"], fields["problem"]) == ("completed", None)


async def test_a_worker_that_read_before_the_end_cannot_undo_it(documents: MemoryDocuments) -> None:
    """Each write carries the version it was decided on."""
    await documents.commit([submitted(TASK, AT)])
    before = await stored(documents)
    await documents.commit([completed(TASK, before, LATER, "{}")])
    with pytest.raises(PreconditionFailedError):
        await documents.commit(running(TASK, before, LATER))


def test_two_users_tasks_of_one_id_are_two_tasks() -> None:
    """A task id never leads to another user's task, however ids are cut."""
    keys = {task_key("user-ana", "t"), task_key("user-eva", "t"), task_key("user-an", "at")}
    assert len(keys) == 3
