"""The aiohttp application, assembled from route groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from expert_bot.http.problems import problems

MAX_BODY_BYTES: Final = (
    14 * 1024 * 1024
)  # only where a route asks for it: push, a 10 MB message in base64, wrapped
DEFAULT_BODY_BYTES: Final = 1024 * 1024


def make_app(*route_groups: Iterable[web.RouteDef]) -> web.Application:
    """Return an application that serves the given routes and answers every error as a problem."""
    app = web.Application(middlewares=[problems], client_max_size=DEFAULT_BODY_BYTES)
    for routes in route_groups:
        app.add_routes(routes)
    app.on_response_prepare.append(_set_headers)
    return app


async def _set_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
