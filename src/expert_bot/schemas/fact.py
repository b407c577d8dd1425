"""A number (or date, or direction) a reply states, with everything needed to check it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

IsoDate = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="Local calendar date, YYYY-MM-DD.")
]
DecimalText = Annotated[
    str,
    Field(
        pattern=r"^-?[0-9]+(\.[0-9]+)?$",
        max_length=60,
        description="Exact decimal number as text, '.' as separator.",
        examples=["47.546"],
    ),
]


class FactPeriod(BaseModel):
    """The local calendar days a fact is about, Europe/Madrid."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    start: IsoDate
    end: Annotated[IsoDate, Field(description="First day after the period (exclusive).")]


class DataQuality(BaseModel):
    """How complete the data behind a fact is."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    coverage_pct: Annotated[
        DecimalText, Field(description="Hours with a reading as a percentage of the period's hours.")
    ]
    estimated_pct: Annotated[
        DecimalText, Field(description="Estimated hours as a percentage of the hours with a reading.")
    ]
    data_until: Annotated[IsoDate | None, Field(description="Last local day with a reading for this user.")]


class Fact(BaseModel):
    """One value the answer states."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    id: Annotated[
        str, Field(pattern=r"^[a-z0-9_]+$", description="What the value is, e.g. `consumption_p1`.")
    ]
    value: Annotated[
        DecimalText | str, Field(description="Decimal as text, ISO date, or an enumerated word.")
    ]
    unit: Annotated[
        Literal[
            "kWh",
            "kW",
            "kWp",
            "%",
            "EUR",
            "EUR/kWh",
            "EUR/kW/day",
            "EUR/year",
            "kWh/year",
            "years",
            "days",
            "h",
            "ratio",
            "percentile",
            "date",
            "direction",
            "word",
        ],
        Field(description="Unit of the value."),
    ]
    period: FactPeriod | None = None
    source: Annotated[str, Field(description="The query or rule the value comes from.")]
    data_quality: DataQuality | None = None
