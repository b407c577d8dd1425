"""Analysis: a household's consumption looked at in one of several ways."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from expert_bot.schemas.fact import DataQuality, DecimalText, Fact, FactPeriod
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.schemas.identifiers import TaskId, UserId

AnalysisKind = Literal[
    "consumption",
    "bill_check",
    "tariff_comparison",
    "contracted_power",
    "forecast",
    "anomalies",
    "solar",
    "recommendations",
]


class PowerKw(BaseModel):
    """Contracted power in kW by power period."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    P1: DecimalText
    P2: DecimalText


class AnalysisParameters(BaseModel):
    """What an analysis may be told; each kind uses what it needs, and what is absent comes from the user's profile."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    zone: Annotated[
        Literal["peninsula", "baleares", "canarias", "ceuta", "melilla"] | None,
        Field(description="Where the supply point is."),
    ] = None
    power_kw: PowerKw | None = None
    tariff: Annotated[
        dict[str, JsonValue] | None,
        Field(description="The current tariff, as `contract.tariff` of `expert-bot bill`."),
    ] = None
    offers: Annotated[
        list[dict[str, JsonValue]] | None,
        Field(
            max_length=500,
            description="Offers to compare, as of `expert-bot compare`; default: those stored.",
        ),
    ] = None
    current_offer_id: Annotated[
        str | None, Field(max_length=200, description="The offer the home has now: savings are against it.")
    ] = None
    province: Annotated[str | None, Field(max_length=60, description="For `solar`.")] = None
    surplus_price_eur_per_kwh: Annotated[DecimalText | None, Field(description="For `solar`.")] = None
    backtest_days: Annotated[int | None, Field(ge=1, le=365, description="For `forecast`.")] = None
    bill: Annotated[
        dict[str, JsonValue] | None,
        Field(description="For `bill_check`: the input of `expert-bot check-bill`, without files."),
    ] = None


class AnalysisRequested(EventData):
    """A household's data are to be analysed."""

    user_id: UserId
    kind: Annotated[AnalysisKind, Field(description="Which analysis.")]
    period: Annotated[
        FactPeriod | None,
        Field(
            description="Local days to look at, for `consumption` and `anomalies` (default: all) and `tariff_comparison` (the last 12 "
            "full months); `forecast` begins on its first day (the first one the readings do not reach the end of)."
        ),
    ] = None
    parameters: AnalysisParameters = AnalysisParameters()
    task_id: Annotated[
        TaskId | None,
        Field(description="The task to keep up to date; derived from the event's id if absent."),
    ] = None


class AnalysisCompleted(EventData):
    """The result of an analysis."""

    task_id: TaskId
    kind: Annotated[AnalysisKind, Field(description="Which analysis.")]
    status: Annotated[
        Literal["success", "no_data", "not_possible"],
        Field(
            description="Computed; there is no consumption to compute on; it cannot be computed from what is known. In the "
            "last two cases `result` has only `reason`."
        ),
    ]
    result: Annotated[
        dict[str, JsonValue],
        Field(description="As the command of the same kind prints with `--json`; decimals as text."),
    ]
    facts: Annotated[list[Fact], Field(description="Every number of the result with its source.")]
    data_quality: DataQuality | None


FAMILY: Final = EventFamily(
    name="analysis",
    requested=EventType(
        name="com.smarwatt.analysis.requested.v1",
        data=AnalysisRequested,
        summary="A household's consumption is to be analysed.",
        example={"user_id": "user-ana", "kind": "consumption", "task_id": "task-1"},
    ),
    replies=(
        EventType(
            name="com.smarwatt.analysis.completed.v1",
            data=AnalysisCompleted,
            summary="The result, with the facts behind every number.",
            example={
                "task_id": "task-1",
                "kind": "consumption",
                "status": "success",
                "result": {"kwh": {"P1": "74.435", "P2": "81.768", "P3": "137.113"}},
                "facts": [],
                "data_quality": {"coverage_pct": "100.0", "estimated_pct": "0.0", "data_until": "2023-04-30"},
            },
        ),
    ),
    ordering_key=lambda data: data.user_id,
    handler_timeout_s=60.0,
    max_data_bytes=1024 * 1024,
)
