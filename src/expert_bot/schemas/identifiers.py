"""Identifiers that several event families carry."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

USER_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:@|+=-]{0,127}$"
UserId = Annotated[
    str, Field(pattern=USER_ID_PATTERN, description="The user's account id.", examples=["user-ana"])
]
RECORD_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
DocumentId = Annotated[
    str, Field(pattern=RECORD_ID_PATTERN, description="The document's id, unique among the user's documents.")
]
TaskId = Annotated[
    str, Field(pattern=RECORD_ID_PATTERN, description="The task's id, unique among the user's tasks.")
]
