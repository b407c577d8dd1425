"""What a route asks of its caller: declared where the route is, checked before anything else of the request is looked at."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

import structlog
from aiohttp import hdrs, web

from expert_bot.errors import StoreUnavailableError
from expert_bot.http.firebase_tokens import Caller, Role, TokenReader
from expert_bot.http.oidc_keys import KeysUnavailableError
from expert_bot.http.problems import problem_response, route_of
from expert_bot.http.signed_tokens import NotAuthenticatedError

_STORE_RETRY_S: Final = 5.0
_LEVEL: Final = "caller_level"

_log = structlog.get_logger(__name__)


class Level(StrEnum):
    """How much a route asks for. `enterprise`: a verified e-mail and an account that is not disabled."""

    TOKEN = "token"  # noqa: S105  # the level's name
    ADMIN = "admin"
    ENTERPRISE = "enterprise"


CallerHandler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
IsRevoked = Callable[[str, int], Awaitable[bool]]
"""Takes a user id and the token's `auth_time`; tells whether the account may no longer use it. Raises StoreUnavailableError."""


class ForbiddenError(Exception):
    """Who calls is known, and he may not; `reason` is a kebab-case code, `detail` says what would be needed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Callers:
    """Decides who calls, and whether he may.

    `is_revoked` is asked on the levels above `token`, and of services on every level: a token lives an hour, and most
    callers see nothing but their own.
    """

    def __init__(self, reader: TokenReader, is_revoked: IsRevoked) -> None:
        self._reader = reader
        self._is_revoked = is_revoked

    async def caller_of(self, request: web.Request, level: Level) -> Caller:
        """Return who calls. Raises NotAuthenticatedError, ForbiddenError, KeysUnavailableError, StoreUnavailableError."""
        signed_in = await self._reader.read(request.headers.getall(hdrs.AUTHORIZATION, ()))
        caller = signed_in.caller
        if level is Level.ADMIN and Role.ADMIN not in caller.roles:
            raise ForbiddenError("needs-admin", "this needs an account with the role 'admin'")
        if level is Level.ENTERPRISE and not caller.email_verified:
            raise ForbiddenError(
                "needs-verified-email", "this needs an account with a verified e-mail address"
            )
        is_powerful = level is not Level.TOKEN or Role.SERVICE in caller.roles
        if is_powerful and await self._is_revoked(caller.user_id, signed_in.auth_time):
            raise NotAuthenticatedError("revoked")
        return caller

    def guarded(self, level: Level, handler: CallerHandler) -> Handler:
        """Return a route's handler that is called with who calls, if he may; `level_of` tells the level."""

        async def guard(request: web.Request) -> web.StreamResponse:
            try:
                caller = await self.caller_of(request, level)
            except (
                NotAuthenticatedError,
                ForbiddenError,
                KeysUnavailableError,
                StoreUnavailableError,
            ) as error:
                return _refuse(request, error)
            return await handler(request, caller)

        guard.__dict__[_LEVEL] = level
        return guard


def level_of(handler: object) -> Level | None:
    """Return what a route's handler asks of its caller; None: it is open to everybody, or has its own check."""
    level = getattr(handler, _LEVEL, None)
    return level if isinstance(level, Level) else None


def _refuse(
    request: web.Request,
    error: NotAuthenticatedError | ForbiddenError | KeysUnavailableError | StoreUnavailableError,
) -> web.Response:
    match error:
        case NotAuthenticatedError():
            status, reason = 401, error.reason
            said = f"this needs a bearer token of a signed-in user ({reason})"
            invalid = "" if reason == "no-token" else ' error="invalid_token"'
            headers = {"WWW-Authenticate": f"Bearer{invalid}"}
        case ForbiddenError():
            status, reason, said, headers = 403, error.reason, error.detail, {}
        case KeysUnavailableError():
            status, reason, headers = 503, "keys-unavailable", _retry_after(error.retry_after_s)
            said = "the token cannot be checked right now"
        case StoreUnavailableError():
            status, reason, headers = 503, "accounts-unavailable", _retry_after(error.retry_after_s)
            said = "the account cannot be checked right now"
    _log.warning("caller_refused", route=route_of(request), status=status, reason=reason)
    return problem_response(status, said, headers=headers, reason=reason)


def _retry_after(after_s: float | None) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(_STORE_RETRY_S if after_s is None else after_s)))}
