"""link.requested: make a short link that leads to a safe URL, one per request."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.errors import PermanentError
from expert_bot.handlers import Context, Reply, Result
from expert_bot.links.hosts import UnsafeUrlError
from expert_bot.links.stored import Link, LinkRules, created, expires_at, expiry, is_of, link_key
from expert_bot.links.urls import safe_url
from expert_bot.ports import Document
from expert_bot.schemas.envelope import format_timestamp, parse_timestamp
from expert_bot.schemas.events.link import FAMILY, LinkCreated, LinkRequested

HANDLES: Final = FAMILY.requested
CREATED: Final = FAMILY.replies[0]


async def handle(request: LinkRequested, context: Context) -> Result:
    """Make one link, or find the one that this request has already made.

    Writes: the link, if its id is still free. Raises StoreUnavailableError, or PermanentError (`links-off`,
    `unsafe-url`, `unusable-expiry`, `unusable-time`, `link-unreadable`), which repeats nothing of the URL.
    """
    rules = _rules(context)
    link_id, stored = await _place(rules, context)
    if stored is not None:
        return Result(replies=(_reply(rules, link_id, _end_of(stored)),))
    link = Link(
        link_id=link_id,
        url=_safe(request.url, rules),
        user_id=request.user_id,
        purpose=request.purpose,
        created_at=context.asked_at,
        expires_at=_expiry(request, context.asked_at),
    )

    return Result(replies=(_reply(rules, link_id, link.expires_at),), writes=(created(link, context.event),))


async def _place(rules: LinkRules, context: Context) -> tuple[str, Document | None]:
    """Return the id of this request's link and, if it is there already, the link. Raises StoreUnavailableError."""
    event = context.event
    attempt = 0
    while True:
        link_id = rules.make_id(event.source, event.id, attempt)
        document = await context.documents.get(link_key(link_id))
        if document is None or is_of(document, event):
            return link_id, document
        attempt += 1


def _rules(context: Context) -> LinkRules:
    if context.links is None:
        raise PermanentError("links-off", "this service makes no links; EXPERT_BOT_PUBLIC_URL must be set")
    return context.links


def _safe(url: str, rules: LinkRules) -> str:
    try:
        return safe_url(url, rules.domains)
    except UnsafeUrlError as error:
        raise PermanentError("unsafe-url", str(error)) from error


def _expiry(request: LinkRequested, asked_at: datetime) -> datetime:
    if not FIRST_YEAR <= asked_at.year <= LAST_YEAR:
        raise PermanentError(
            "unusable-time",
            f"the event's time must lie in the years {FIRST_YEAR}..{LAST_YEAR}, not {asked_at.year}",
        )
    wanted = request.expires_at
    try:
        return expiry(asked_at, parse_timestamp("expires_at", wanted) if wanted is not None else None)
    except (ValueError, PermanentError) as error:  # of the shape of a timestamp, but no instant
        detail = error.detail if isinstance(error, PermanentError) else str(error)
        raise PermanentError("unusable-expiry", detail) from error


def _end_of(stored: Document) -> datetime:
    end = expires_at(stored)
    if end is None:
        raise PermanentError("link-unreadable", "the stored link does not say when it expires")
    return end


def _reply(rules: LinkRules, link_id: str, until: datetime) -> Reply:
    data = LinkCreated(
        link_id=link_id, short_url=rules.short_url(link_id), expires_at=format_timestamp(until)
    )
    return Reply(CREATED, data)
