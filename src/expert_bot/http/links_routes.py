"""`/api/v1/links/...`: make a short link, and follow one.

Making one is the work of the handler of `link.requested`, committed here: the caller waits for it, nobody else does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from expert_bot.errors import PermanentError, PreconditionFailedError, StoreUnavailableError
from expert_bot.handlers import Context
from expert_bot.handlers.link_requested import handle
from expert_bot.http.callers import Callers, Level
from expert_bot.http.firebase_tokens import Caller
from expert_bot.http.json_bodies import read_body
from expert_bot.http.link_clicks import LinkClicks
from expert_bot.http.problems import problem_response
from expert_bot.http.turned_away import unavailable
from expert_bot.links.stored import NOT_FOUND, RESOLVE_PATH, LinkRules, WhyNot, link_key, resolve
from expert_bot.ports import Clock, Document, Documents
from expert_bot.publishers import RequestClient
from expert_bot.schemas.envelope import RFC3339_PATTERN, CloudEvent
from expert_bot.schemas.events.link import LINK_ID_PATTERN, MAX_URL_CHARS, LinkCreated, LinkRequested

CREATE_PATH: Final = "/api/v1/links/create"
FOLLOW_PATH: Final = f"{RESOLVE_PATH}{{link_id}}"
_PLACES_TO_TRY: Final = 5
"""Others can have taken a link's id at the same time; that even one has is one case in 2**71."""
_LINK_ID: Final = re.compile(LINK_ID_PATTERN, re.ASCII)
_STATUS: Final = {"links-off": 501}
_QUIET: Final = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
"""The page that a link leads to does not learn its id, and no cache keeps where a link leads."""

_log = structlog.get_logger(__name__)


class CreateRequest(BaseModel):
    """The link to make: as of `link.requested`, for the caller."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARS, description="Where the link leads.")]
    purpose: Annotated[
        str | None, Field(min_length=1, max_length=200, description="What the link is for.")
    ] = None
    expires_at: Annotated[
        str | None,
        Field(pattern=RFC3339_PATTERN, description="When it stops leading anywhere; default: after 90 days."),
    ] = None


def links_routes(
    callers: Callers,
    *,
    documents: Documents,
    requests: RequestClient,
    make_context: Callable[[CloudEvent], Context],
    rules: LinkRules | None,
    clock: Clock,
    clicks: LinkClicks,
) -> list[web.RouteDef]:
    """Return the two routes.

    `requests`: makes events as this service. `make_context`: what handlers know of an event. `rules`: None: no link is
    made, and none leads anywhere. `clicks`: runs as long as the application does.
    """
    links = _Links(
        documents=documents,
        requests=requests,
        make_context=make_context,
        rules=rules,
        clock=clock,
        clicks=clicks,
    )
    return [
        web.post(CREATE_PATH, callers.guarded(Level.TOKEN, links.create)),
        web.get(FOLLOW_PATH, links.follow),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    documents: Documents
    requests: RequestClient
    make_context: Callable[[CloudEvent], Context]
    rules: LinkRules | None
    clock: Clock
    clicks: LinkClicks

    async def create(self, request: web.Request, caller: Caller) -> web.Response:
        asked = await read_body(request, CreateRequest)
        wanted = LinkRequested(user_id=caller.user_id, **asked.model_dump())
        try:
            created = await self._make(wanted)
        except PermanentError as error:
            return problem_response(_STATUS.get(error.reason, 422), error.detail, reason=error.reason)
        except StoreUnavailableError as error:
            return unavailable(error, "the link cannot be stored right now; ask again")
        headers = {"Location": created.short_url, "Cache-Control": "no-store"}
        return web.json_response(created.model_dump(), status=201, headers=headers)

    async def follow(self, request: web.Request) -> web.Response:
        link_id = request.match_info["link_id"]
        try:
            document = await self._find(link_id)
        except StoreUnavailableError as error:
            return unavailable(error, "links cannot be read right now")
        url = self._resolve(document)
        if isinstance(url, WhyNot) or document is None:
            return problem_response(404, NOT_FOUND, headers=_QUIET)
        owner_id = document.fields.get("user_id")
        if request.method == "GET" and isinstance(owner_id, str):  # HEAD only looks where it would lead
            self.clicks.count(owner_id, link_id)
        return web.Response(status=302, headers={"Location": url, **_QUIET})

    async def _make(self, wanted: LinkRequested) -> LinkCreated:
        """Make a link as the event's handler would. Raises StoreUnavailableError, or PermanentError as it does."""
        context = self.make_context(self.requests.make_request(wanted))
        for _ in range(_PLACES_TO_TRY):
            result = await handle(wanted, context)
            try:
                if result.writes:  # none: a commit that was repeated on the way had been made before
                    await self.documents.commit(result.writes)
            except PreconditionFailedError:
                continue
            (reply,) = result.replies
            return LinkCreated.model_validate(reply.data.model_dump())
        raise StoreUnavailableError("every id that a link could have had was taken meanwhile")

    async def _find(self, link_id: str) -> Document | None:
        """Return a stored link; None, too, for what can be no link's id. Raises StoreUnavailableError."""
        if _LINK_ID.fullmatch(link_id) is None:
            return None
        return await self.documents.get(link_key(link_id))

    def _resolve(self, document: Document | None) -> str | WhyNot:
        if self.rules is None:
            return WhyNot.UNKNOWN
        url = resolve(document, self.clock.now(), self.rules.domains)
        if isinstance(url, WhyNot) and url is not WhyNot.UNKNOWN:
            _log.info("link_leads_nowhere", why=url.value)
        return url
