"""`GET /api/v1/health`, `/ready`, `/version`: alive, able to work, and what is running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from expert_bot.errors import ExpertBotError

CHECK_TIMEOUT_S: Final = 2.0
Check = Callable[[], Awaitable[None]]


class Readiness:
    """Whether this process should be given work: every check passes and it is not stopping.

    `checks`: name -> coroutine function that returns if all is well and raises an ExpertBotError if not. `timeout_s`:
    time each of them gets.
    """

    def __init__(self, checks: Mapping[str, Check], *, timeout_s: float = CHECK_TIMEOUT_S) -> None:
        self._checks = dict(checks)
        self._timeout_s = timeout_s
        self._stopping = False

    def stop(self) -> None:
        """Be unready from now on."""
        self._stopping = True

    async def report(self) -> dict[str, str]:
        """Return each check's name with `ok` or what is wrong, within the checks' time."""
        results = await asyncio.gather(*(self._try(check) for check in self._checks.values()))
        report = dict(zip(self._checks, results, strict=True))
        report["accepting"] = "stopping" if self._stopping else "ok"
        return report

    async def _try(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await check()
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except ExpertBotError as error:
            return str(error)
        return "ok"


def health_routes(readiness: Readiness, version: Mapping[str, str]) -> list[web.RouteDef]:
    """Return the three public routes."""

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        report = await readiness.report()
        is_ready = all(result == "ok" for result in report.values())
        body = {"status": "ready" if is_ready else "not ready", "checks": report}
        return web.json_response(body, status=200 if is_ready else 503)

    async def show_version(_request: web.Request) -> web.Response:
        return web.json_response(dict(version))

    return [
        web.get("/api/v1/health", health),
        web.get("/api/v1/ready", ready),
        web.get("/api/v1/version", show_version),
    ]
