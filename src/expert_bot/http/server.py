"""The aiohttp application, assembled from route groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import hdrs, web

from expert_bot.http.problems import Handler, problems

MAX_BODY_BYTES: Final = (
    14 * 1024 * 1024
)  # only where a route asks for it: push, a 10 MB message in base64, wrapped
DEFAULT_BODY_BYTES: Final = 1024 * 1024


def make_app(*route_groups: Iterable[web.RouteDef]) -> web.Application:
    """Return an application that serves the given routes, answers every error as a problem, and takes no compressed body.

    Run it with `auto_decompress=False`: what is refused should not be unpacked first.
    """
    app = web.Application(middlewares=[problems, _refuse_compressed], client_max_size=DEFAULT_BODY_BYTES)
    for routes in route_groups:
        app.add_routes(routes)
    app.on_response_prepare.append(_set_headers)
    return app


@web.middleware
async def _refuse_compressed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Limits count bytes as they come: a compressed body would have another size, and may not even be what it says."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.strip().lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="send the body as it is, without Content-Encoding")
    return await handler(request)


async def _set_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
