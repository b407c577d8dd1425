"""Link: a short URL that leads to a page of an allowed domain, for a while."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from expert_bot.schemas.envelope import RFC3339_PATTERN
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.schemas.identifiers import UserId

MAX_URL_CHARS: Final = 2048
LINK_ID_PATTERN: Final = r"^[0-9A-Za-z]{10,64}$"


class LinkRequested(EventData):
    """A short link is to be made."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_URL_CHARS,
            description="Where the link leads: http or https, a host of the allowed domains, no user name or password.",
        ),
    ]
    user_id: UserId
    purpose: Annotated[
        str | None, Field(min_length=1, max_length=200, description="What the link is for, for its owner.")
    ] = None
    expires_at: Annotated[
        str | None,
        Field(
            pattern=RFC3339_PATTERN,
            description="When the link stops leading anywhere: later than the request, by at most five years. Default: "
            "after 90 days.",
        ),
    ] = None


class LinkCreated(EventData):
    """The short link."""

    link_id: Annotated[str, Field(pattern=LINK_ID_PATTERN, description="The link's id.")]
    short_url: Annotated[str, Field(description="The URL to give to people.")]
    expires_at: Annotated[
        str, Field(pattern=RFC3339_PATTERN, description="When the link stops leading anywhere.")
    ]


FAMILY: Final = EventFamily(
    name="link",
    requested=EventType(
        name="com.smarwatt.link.requested.v1",
        data=LinkRequested,
        summary="A short link is to be made.",
        example={"url": "https://www.smarwatt.com/facturas/ayuda", "user_id": "user-ana", "purpose": "help"},
    ),
    replies=(
        EventType(
            name="com.smarwatt.link.created.v1",
            data=LinkCreated,
            summary="The short link, and until when it works.",
            example={
                "link_id": "4Gk2mZ0xQw7B",
                "short_url": "https://bot.smarwatt.com/api/v1/links/resolve/4Gk2mZ0xQw7B",
                "expires_at": "2027-01-31T09:30:00Z",
            },
        ),
    ),
    ordering_key=lambda data: data.user_id,
    handler_timeout_s=15.0,
)
