"""Links as documents: the one place that knows a link's fields, how long one lives, and whether it still leads on.

`links/{link_id}`: url (canonical), user_id (its owner), purpose, created_at, expires_at, disabled, clicks, and
event_source and event_id of the request that it was made for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from expert_bot.links.hosts import AllowedDomains, UnsafeUrlError
from expert_bot.links.ids import LinkIds
from expert_bot.links.urls import safe_url
from expert_bot.ports import Create, DocKey, Document, Write
from expert_bot.records import record
from expert_bot.schemas.envelope import CloudEvent

COLLECTION: Final = "links"
RESOLVE_PATH: Final = "/api/v1/links/resolve/"
DEFAULT_LIFETIME: Final = timedelta(days=90)
LONGEST_LIFETIME: Final = timedelta(days=5 * 366)


@record(kw_only=True)
class LinkRules:
    """Where links may lead, how their ids are made, and what short URLs start with (no slash at the end)."""

    domains: AllowedDomains
    make_id: LinkIds
    public_url: str

    def short_url(self, link_id: str) -> str:
        """Return the URL that leads to a link's own."""
        return f"{self.public_url}{RESOLVE_PATH}{link_id}"


@record(kw_only=True)
class Link:
    """A link that is to be made. Instants are aware; `url` is canonical."""

    link_id: str
    url: str
    user_id: str
    purpose: str | None
    created_at: datetime
    expires_at: datetime


class WhyNot(Enum):
    """Why a link leads nowhere. For logs and its owner: outside, all of them are one answer, `NOT_FOUND`."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    EXPIRED = "expired"
    UNSAFE = "unsafe"


NOT_FOUND: Final = "there is no such link, or it is no longer valid"
"""What whoever follows a link that leads nowhere is told, whatever the reason."""


def link_key(link_id: str) -> DocKey:
    """Return where a link is. Raises ValueError for an id that no document can have."""
    return DocKey(COLLECTION, link_id)


def created(link: Link, event: CloudEvent) -> Write:
    """Return the write that makes a new link for a request, and for nobody else if the id is taken."""
    return Create(
        link_key(link.link_id),
        {
            "url": link.url,
            "user_id": link.user_id,
            "purpose": link.purpose,
            "created_at": link.created_at,
            "expires_at": link.expires_at,
            "disabled": False,
            "clicks": 0,
            "event_source": event.source,
            "event_id": event.id,
        },
    )


def is_of(document: Document, event: CloudEvent) -> bool:
    """Tell whether a link was made for this request."""
    fields = document.fields
    return (fields.get("event_source"), fields.get("event_id")) == (event.source, event.id)


def expiry(asked_at: datetime, wanted: datetime | None) -> datetime:
    """Return when a link asked for at `asked_at` expires: when it is wanted to, or after 90 days.

    Raises ValueError unless that is later than the question, by at most five years.
    """
    if wanted is None:
        return asked_at + DEFAULT_LIFETIME
    if not timedelta(0) < wanted - asked_at <= LONGEST_LIFETIME:
        raise ValueError(
            f"expires_at must be later than the request's time, by at most {LONGEST_LIFETIME.days} days"
        )
    return wanted


def expires_at(document: Document) -> datetime | None:
    """Return when a stored link expires; None if it does not say so."""
    instant = document.fields.get("expires_at")
    return instant if isinstance(instant, datetime) else None


def resolve(document: Document | None, now: datetime, domains: AllowedDomains) -> str | WhyNot:
    """Return the URL that a link leads to at an instant, or why it leads nowhere.

    A link is over at its `expires_at`. The URL is checked again: a domain that is allowed no longer is not led to.
    """
    if document is None:
        return WhyNot.UNKNOWN
    end, url = expires_at(document), document.fields.get("url")
    if document.fields.get("disabled") is not False:
        return WhyNot.DISABLED
    if end is None or now >= end:
        return WhyNot.EXPIRED
    try:
        return safe_url(url, domains) if isinstance(url, str) else WhyNot.UNSAFE
    except UnsafeUrlError:
        return WhyNot.UNSAFE
