"""Chat: a household's question and the answer to it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from expert_bot.schemas.envelope import RFC3339_PATTERN
from expert_bot.schemas.fact import Fact
from expert_bot.schemas.families import EventData, EventFamily, EventType
from expert_bot.schemas.identifiers import UserId

ConversationId = Annotated[
    str, Field(min_length=1, max_length=200, description="Groups the turns of one conversation of one user.")
]
LanguageTag = Annotated[
    str, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$", description="BCP 47 language tag.")
]


class PreviousMessage(BaseModel):
    """A turn the caller remembers; unknown members are allowed and ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    role: Annotated[str, Field(max_length=40, description="Who spoke: user or assistant.")]
    content: Annotated[str, Field(max_length=8000, description="What was said.")]


class ConversationContext(BaseModel):
    """What the caller knows of the conversation so far; unknown members are allowed and ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    previous_messages: Annotated[list[PreviousMessage | str], Field(max_length=50)] = Field(
        default_factory=list
    )
    current_topic: Annotated[str | None, Field(max_length=200)] = None


class ChatRequested(EventData):
    """A household asks something."""

    message: Annotated[
        str, Field(min_length=1, max_length=4000, pattern=r"\S", description="The question, as typed.")
    ]
    user_id: UserId
    source: Annotated[
        str, Field(min_length=1, max_length=100, description="The system that asks, e.g. `energy_ia_api`.")
    ]
    conversation_id: ConversationId | None = None
    conversation_context: ConversationContext | None = None
    language: Annotated[LanguageTag | None, Field(description="Language the answer should be in.")] = None


class UserContext(BaseModel):
    """What the answer assumed about the user."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    user_name: Annotated[str, Field(description="Display name of the account, or `Usuario`.")]
    has_complete_data: Annotated[
        bool, Field(description="Whether the last 12 full months of consumption are at least 90 % covered.")
    ]
    home_type: Annotated[str | None, Field(description="Kind of home, null while unknown.")]
    consumption_profile: Annotated[
        Literal["punta", "llano", "valle"] | None,
        Field(description="The tariff period with most of the last 12 months' energy, null without data."),
    ]


class ChatResponded(EventData):
    """The answer to a chat request."""

    status: Annotated[
        Literal["success", "no_data", "needs_clarification", "unsupported"],
        Field(
            description="Answered; no data to answer from; one thing must be asked first; not something it can do yet."
        ),
    ]
    response: Annotated[str, Field(description="The answer, plain text, in `language`.")]
    conversation_id: ConversationId
    user_context: UserContext
    timestamp: Annotated[
        str,
        Field(
            pattern=RFC3339_PATTERN,
            description="The instant the answer refers to: when the question was asked.",
        ),
    ]
    facts: Annotated[
        list[Fact], Field(description="Every number in `response`, with its unit, period and source.")
    ]
    engine: Annotated[str, Field(description="What phrased the answer.", examples=["templates"])]
    degraded: Annotated[list[str], Field(description="What was asked for and could not be given.")]
    language: LanguageTag
    suggestions: Annotated[list[str], Field(description="Questions that can be asked next.")]


FAMILY: Final = EventFamily(
    name="chat",
    requested=EventType(
        name="com.smarwatt.chat.requested.v1",
        data=ChatRequested,
        summary="A household asks a question.",
        example={
            "message": "¿Cuánto consumí en abril de 2023?",
            "user_id": "user-ana",
            "source": "energy_ia_api",
            "conversation_id": "conv-1",
            "language": "es",
        },
    ),
    replies=(
        EventType(
            name="com.smarwatt.chat.responded.v1",
            data=ChatResponded,
            summary="The answer, with the facts behind every number.",
            example={
                "status": "success",
                "response": "En abril de 2023 consumiste 293,316 kWh.",
                "conversation_id": "conv-1",
                "user_context": {
                    "user_name": "Ana",
                    "has_complete_data": True,
                    "home_type": None,
                    "consumption_profile": "valle",
                },
                "timestamp": "2023-05-02T09:30:00Z",
                "facts": [
                    {
                        "id": "consumption_total",
                        "value": "293.316",
                        "unit": "kWh",
                        "period": {"start": "2023-04-01", "end": "2023-05-01"},
                        "source": "user_profiles_enriched.usage",
                        "data_quality": {
                            "coverage_pct": "100",
                            "estimated_pct": "3.3",
                            "data_until": "2023-07-15",
                        },
                    }
                ],
                "engine": "templates",
                "degraded": [],
                "language": "es",
                "suggestions": ["¿Cuánto consumí en marzo de 2023?"],
            },
        ),
    ),
    ordering_key=lambda data: data.conversation_id or data.user_id,
)
