"""`POST /api/v1/chat/cross-service`: a sibling service asks for one of its users, and has the answer in the response.

The request becomes a `chat.requested` event that takes the same way through inbox and handler as one from the bus (ADR 0015).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import uuid
from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

import structlog
from aiohttp import web
from pydantic import ConfigDict

from expert_bot.delivery import Message, Retry
from expert_bot.direct import REQUEST_DIFFERS
from expert_bot.errors import PermanentError
from expert_bot.http.callers import Callers, Level
from expert_bot.http.firebase_tokens import Caller, Role
from expert_bot.http.json_bodies import read_body
from expert_bot.http.problems import PROBLEM_MEDIA_TYPE, problem_response
from expert_bot.ports import Clock, Identity
from expert_bot.publishers.turns import Turns
from expert_bot.records import record
from expert_bot.schemas import strict_json
from expert_bot.schemas.envelope import JSON_MEDIA_TYPE, CloudEvent
from expert_bot.schemas.events.chat import FAMILY, ChatRequested

CROSS_SERVICE_PATH: Final = "/api/v1/chat/cross-service"
ENTRANCE: Final = "cross-service"
ALLOWED_SOURCE: Final = "energy_ia_api"
ANSWER_WITHIN_S: Final = 20.0
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_RETRY_S: Final = 2.0
_LATE: Final = ("TimeoutError", "held")
_UNAVAILABLE: Final = ("StoreUnavailableError", "BusUnavailableError", "forgotten")
T = TypeVar("T")

_log = structlog.get_logger(__name__)


class CrossServiceRequest(ChatRequested):
    """A question of one user, asked by another service. Members that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(Protocol):
    """What `DirectRequests.answer` does."""

    def __call__(
        self, event: CloudEvent, *, entrance: str, deadline_s: float, identity: Identity | None
    ) -> Coroutine[Any, Any, Message | Retry]:
        """Return a request's reply, or when to ask again. Raises PermanentError(`request-differs`)."""
        ...


def cross_service_routes(
    callers: Callers,
    *,
    answer: Answer,
    identity: Identity,
    clock: Clock,
    source: str,
    within_s: float = ANSWER_WITHIN_S,
) -> list[web.RouteDef]:
    """Return the route. `source`: CloudEvents source of this service. `within_s`: time an answer may take."""
    route = _CrossService(answer, identity, clock, f"{source}/{ENTRANCE}", within_s)
    return [web.post(CROSS_SERVICE_PATH, callers.guarded(Level.TOKEN, route.ask))]


class _CrossService:
    def __init__(
        self, answer: Answer, identity: Identity, clock: Clock, source: str, within_s: float
    ) -> None:
        self._answer = answer
        self._identity = identity
        self._clock = clock
        self._source = source
        self._within_s = within_s
        self._turns = Turns()
        self._given_up: set[asyncio.Task[Any]] = set()

    async def ask(self, request: web.Request, caller: Caller) -> web.Response:
        key = _idempotency_key(request)
        asked = await read_body(request, CrossServiceRequest)
        if asked.source != ALLOWED_SOURCE:
            said = "Fuente no autorizada para este endpoint"  # to the letter what the service has always said
            return problem_response(403, said, reason="foreign-source")
        if asked.user_id != caller.user_id and Role.SERVICE not in caller.roles:
            said = "user_id must be the caller's own, unless the caller has the role 'service'"
            return problem_response(403, said, reason="foreign-user")
        event = self._make_event(asked, caller, key)
        try:
            answered = await self._within(self._in_turn(asked, event, caller))
        except PermanentError as error:
            if error.reason != REQUEST_DIFFERS:
                raise
            said = f"another body was sent with this {IDEMPOTENCY_KEY}; a new request needs a new key"
            return problem_response(422, said, reason="idempotency-key-reused")
        except TimeoutError:
            return _too_late(f"there was no answer within {self._within_s:g} s", _RETRY_S)
        return _not_answered(answered) if isinstance(answered, Retry) else _answered(answered)

    def _make_event(self, asked: ChatRequested, caller: Caller, key: str | None) -> CloudEvent:
        """Return the request as an event; the same caller's same key always gives the same id."""
        # an id has no line end, so two different pairs never make the same text
        scoped = hashlib.sha256(f"{caller.user_id}\n{key}".encode()).hexdigest()
        return CloudEvent(
            id=uuid.uuid4().hex if key is None else scoped,
            source=self._source,
            type=FAMILY.requested.name,
            time=self._clock.now(),
            data=asked.model_dump_json(exclude_none=True).encode("utf-8"),
        )

    async def _in_turn(self, asked: ChatRequested, event: CloudEvent, caller: Caller) -> Message | Retry:
        """Ask when it is a conversation's turn: the bus would order its messages, too, and none has to be decided twice."""
        deadline_s = asyncio.get_running_loop().time() + self._within_s
        identity = self._identity
        if caller.user_id == asked.user_id and caller.display_name is not None:
            identity = _ByToken(identity, caller.display_name)
        conversation = f"{asked.user_id}\n{asked.conversation_id}" if asked.conversation_id else ""
        async with self._turns.take(conversation):
            return await self._answer(event, entrance=ENTRANCE, deadline_s=deadline_s, identity=identity)

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work for so long, then leave it: cancelled, so that it is given up or has been done, but not waited for.

        Raises TimeoutError.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task,), timeout=self._within_s)
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            if not task.done():
                self._given_up.add(task)
                task.add_done_callback(self._forget)
                task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("late_answer_failed", error=type(error).__name__)


@record()
class _ByToken:
    """Knows the caller by the name in his token where the accounts know none."""

    accounts: Identity
    name: str

    async def display_name(self, user_id: str) -> str | None:
        return await self.accounts.display_name(user_id) or self.name


def _idempotency_key(request: web.Request) -> str | None:
    """Return the header's value, None without it. Raises web.HTTPBadRequest if it cannot be one."""
    values = request.headers.getall(IDEMPOTENCY_KEY, ())
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise web.HTTPBadRequest(
            text=f"{IDEMPOTENCY_KEY} must be given once, 1..200 printable ASCII characters without spaces"
        )
    return values[0]


def _answered(message: Message) -> web.Response:
    """Return a stored reply, byte for byte; a stored refusal as the problem that it is."""
    status, media_type = 200, JSON_MEDIA_TYPE
    if message.attributes["ce-type"] == FAMILY.failed.name:
        problem = strict_json.loads(message.data)
        assert isinstance(problem, dict)  # noqa: S101  # a Problem, written by the dispatcher
        status, media_type = int(str(problem["status"])), PROBLEM_MEDIA_TYPE
    headers = {"Cache-Control": "no-store"}
    return web.Response(
        status=status, body=message.data, content_type=media_type, charset="utf-8", headers=headers
    )


def _not_answered(retry: Retry) -> web.Response:
    if retry.cause in _LATE:
        return _too_late("the answer took too long", retry.after_s)
    if retry.cause in _UNAVAILABLE:
        headers = {"Retry-After": _seconds(retry.after_s)}
        return problem_response(
            503, "the store does not answer; ask again", headers=headers, reason="store-unavailable"
        )
    return problem_response(500, "an unexpected error occurred; it has been logged")


def _too_late(said: str, after_s: float) -> web.Response:
    detail = (
        f"{said}; ask again, with the same {IDEMPOTENCY_KEY} if there was one: what is done is not done twice"
    )
    return problem_response(504, detail, headers={"Retry-After": _seconds(after_s)}, reason="too-late")


def _seconds(after_s: float) -> str:
    return str(max(1, math.ceil(after_s)))
