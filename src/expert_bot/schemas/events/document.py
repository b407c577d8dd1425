"""Document: a consumption file, or what Datadis says of a supply, that a household uploads."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from expert_bot.schemas.fact import DataQuality, DecimalText, Fact, IsoDate
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.schemas.identifiers import DocumentId, UserId

MAX_INLINE_BYTES: Final = 9 * 1024 * 1024
MAX_REJECTED_LISTED: Final = 100
Zone = Literal["peninsula", "baleares", "canarias", "ceuta", "melilla"]


class DocumentUploaded(EventData):
    """A household uploads a document: either where it is (`uri`) or the document itself (`content`)."""

    user_id: UserId
    document_id: DocumentId
    uri: Annotated[
        str | None,
        Field(
            max_length=2000,
            pattern=r"^(gs|file)://",
            description="Where the file is: `gs://BUCKET/OBJECT`; `file:///PATH` in embedded mode and with emulators.",
        ),
    ] = None
    content: Annotated[
        str | None, Field(min_length=1, description="The file itself, for files up to 9 MiB.")
    ] = None
    content_encoding: Annotated[
        Literal["text", "base64"], Field(description="How `content` holds the file's bytes.")
    ] = "text"
    format: Annotated[
        str | None,
        Field(
            max_length=40, description="The layout, if the caller knows it; found from the content if absent."
        ),
    ] = None
    zone: Annotated[
        Zone | None,
        Field(
            description="Where the supply point is; its clock labels the hours. Default: what the profile knows, else peninsula."
        ),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.uri is None) == (self.content is None):
            raise ValueError("exactly one of uri and content must be given")
        return self


class RejectedRow(BaseModel):
    """A row that was not used."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    line: Annotated[int, Field(ge=0, description="Number of the line (or JSON element) in the file, from 1.")]
    reason: Annotated[str, Field(description="What was wrong and what is allowed.")]


class DocumentProcessed(EventData):
    """What was read from a document, and what it changed."""

    document_id: DocumentId
    status: Annotated[
        Literal["processed", "unusable"],
        Field(description="Whether anything of the document was used."),
    ]
    layout: Annotated[str, Field(description="The layout that was found.", examples=["datadis_web_csv"])]
    rows_read: Annotated[int, Field(ge=0, description="Rows of the file, or elements of a JSON list.")]
    rows_accepted: Annotated[int, Field(ge=0, description="Hours used.")]
    rows_rejected: Annotated[int, Field(ge=0, description="Rows not used.")]
    rejected: Annotated[
        list[RejectedRow],
        Field(max_length=MAX_REJECTED_LISTED, description="The first rejected rows, by line."),
    ]
    hours_inserted: Annotated[
        int,
        Field(
            ge=0,
            description="Hours that were not known before; 0 where an earlier attempt of the same event had stored them.",
        ),
    ]
    hours_changed: Annotated[int, Field(ge=0, description="Hours whose value is another one now.")]
    first_day: Annotated[IsoDate | None, Field(description="First local day of the accepted hours.")]
    last_day: Annotated[IsoDate | None, Field(description="Last local day of the accepted hours.")]
    energy_kwh: Annotated[DecimalText, Field(description="Energy of the accepted hours.")]
    also_read: Annotated[
        list[Literal["contract", "power_maxima"]],
        Field(description="What else the document held and the profile now knows."),
    ]
    notes: Annotated[
        list[str],
        Field(
            description="What is odd about the document and how it was read, such as a CUPS with wrong check letters."
        ),
    ]
    facts: Annotated[list[Fact], Field(description="Every number above that a household may be told.")]
    data_quality: DataQuality | None


FAMILY: Final = EventFamily(
    name="document",
    requested=EventType(
        name="com.smarwatt.document.uploaded.v1",
        data=DocumentUploaded,
        summary="A household uploads a consumption file, or what Datadis says of its supply.",
        example={
            "user_id": "user-ana",
            "document_id": "doc-1",
            "content": "fecha,hora,consumo,met_obtencion\n2023-04-01,1,0.123,Real\n",
        },
    ),
    replies=(
        EventType(
            name="com.smarwatt.document.processed.v1",
            data=DocumentProcessed,
            summary="The document was read: rows accepted and rejected, period covered, quality.",
            example={
                "document_id": "doc-1",
                "status": "processed",
                "layout": "household_csv",
                "rows_read": 1,
                "rows_accepted": 1,
                "rows_rejected": 0,
                "rejected": [],
                "hours_inserted": 1,
                "hours_changed": 0,
                "first_day": "2023-04-01",
                "last_day": "2023-04-01",
                "energy_kwh": "0.123",
                "also_read": [],
                "notes": [],
                "facts": [],
                "data_quality": {"coverage_pct": "4.1", "estimated_pct": "0.0", "data_until": "2023-04-01"},
            },
        ),
    ),
    ordering_key=lambda data: data.user_id,
    handler_timeout_s=120.0,
    max_data_bytes=MAX_INLINE_BYTES,
)
