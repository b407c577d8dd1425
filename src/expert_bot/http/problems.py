"""Every error of the HTTP surface as problem details (RFC 9457), also those the framework raises by itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

PROBLEM_MEDIA_TYPE = "application/problem+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)


def problem_response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
) -> web.Response:
    """Return a problem; `detail` says what was wrong and what is allowed, `members` are extension members."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode("utf-8"),
        content_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem; unknown exceptions are logged with their traceback and say nothing outside."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem_response(
            405, f"{request.method} is not allowed here; allowed: {allowed}", headers={"Allow": allowed}
        )
    except web.HTTPNotFound:
        return problem_response(404, f"there is nothing at {request.path}")
    except web.HTTPRequestEntityTooLarge as error:
        return problem_response(413, error.text or "the body is too large")
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return problem_response(error.status, error.text or error.reason)
    except Exception:  # noqa: BLE001  # the last resort of this entry point; logged with its traceback
        _log.exception("request_failed", method=request.method, route=route_of(request))
        return problem_response(500, "an unexpected error occurred; it has been logged")


def route_of(request: web.Request) -> str:
    """Return the route's template: what logs may show of a path."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"
