"""Records: small values that never change, cheap to make.

Like `dataclass(frozen=True, slots=True)`, but that a record does not change is checked by the type checker alone: a
frozen dataclass sets every field through `object.__setattr__`, which took a sixth of all time spent on an event.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class a record. `kw_only`: its fields are given by name only."""
    return dataclasses.dataclass(slots=True, kw_only=kw_only, unsafe_hash=True)
