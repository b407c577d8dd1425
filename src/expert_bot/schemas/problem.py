"""Problem details (RFC 9457) as the data of a `*.failed` reply."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Why a request died, for whoever asked."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    type: Annotated[str, Field(description="URI of the problem's kind.")]
    title: Annotated[str, Field(description="The kind of problem in one sentence.")]
    status: Annotated[int, Field(ge=400, le=599, description="The HTTP status this problem would have.")]
    detail: Annotated[
        str, Field(max_length=900, description="What was wrong with this request, and what is allowed.")
    ]
    instance: Annotated[
        str | None, Field(description="URI reference of this occurrence: the request's event id.")
    ] = None
    reason: Annotated[
        str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="The dead letter's reason code.")
    ]
    retriable: Annotated[bool, Field(description="Whether sending the same request again may succeed.")]
