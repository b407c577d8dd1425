"""Fields that people write into JSON files: exact numbers, dates, and errors that name each wrong one."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, NoReturn, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from expert_bot.energy.calendar import FIRST_YEAR, LAST_YEAR
from expert_bot.errors import UsageError

_NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,30})?", re.ASCII)
_MOST_DIGITS: Final = 40
"""A larger exponent is refused before it is written out: 1e999999999 has a thousand million digits."""

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TAGS: Final = frozenset({"fixed", "pvpc", "one_price", "per_period", "blocks"})
"""Names of alternatives, which pydantic puts into the place of an error but the document does not have."""


def read_number(value: object) -> Decimal:
    """Read a JSON number, kept exact, or decimal text. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError('must be a number, such as 3.45 or "3.45"')  # noqa: TRY004 # pydantic reports ValueError
    if isinstance(value, Decimal) and abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError("must be a number with at most 9 digits before the point")
    text = value if isinstance(value, str) else f"{value:f}" if isinstance(value, Decimal) else str(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f'must be a number with at most 9 digits before the point, not "{text[:20]}"')
    return Decimal(text)


def read_date(value: object) -> date:
    """Read `YYYY-MM-DD`. Raises ValueError."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("must be a date YYYY-MM-DD")
    try:
        day = date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value} is not a date of the calendar") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"must be between the years {FIRST_YEAR} and {LAST_YEAR}")
    return day


MAX_POWER_KW: Final = 15
"""Most that a 2.0TD supply may contract in a period."""


def read_power_kw(value: object) -> Decimal:
    """Read a contracted power in kW, above 0 and at most 15. Raises ValueError."""
    power_kw = read_number(value)
    if not 0 < power_kw <= MAX_POWER_KW:
        raise ValueError(f"a 2.0TD supply has more than 0 and at most {MAX_POWER_KW} kW, not {power_kw:f}")
    return power_kw


Number = Annotated[Decimal, BeforeValidator(read_number)]
Day = Annotated[date, BeforeValidator(read_date)]
PowerKw = Annotated[Decimal, BeforeValidator(read_power_kw)]
PriceEurPerKwh = Annotated[Number, Field(ge=-10, le=10)]
EurPerKwDay = Annotated[Number, Field(ge=0, le=10)]
EnergyKwh = Annotated[Number, Field(ge=0, le=1_000_000)]
Eur = Annotated[Number, Field(ge=-100_000, le=100_000)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
FileName = Annotated[str, Field(min_length=1, max_length=1000)]


class Document(BaseModel):
    """An object of the input: no unknown members."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _names_what_is_allowed(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            raise ValidationError.from_exception_data(
                cls.__name__, [cls._told(each) for each in found]
            ) from None

    @classmethod
    def _told(cls, found: ErrorDetails) -> InitErrorDetails:
        """Return an error with the allowed members where one is unknown to this object itself."""
        message = found["msg"]
        if found["type"] == "extra_forbidden" and len(found["loc"]) == 1:
            allowed = ", ".join(field.alias or name for name, field in cls.model_fields.items())
            message = f"is unknown; allowed: {allowed}"
        elif found["type"] == "model_type" and not found["loc"]:
            message = "must be an object"
        error = PydanticCustomError(
            "missing" if found["type"] == "missing" else "wrong", "{told}", {"told": message}
        )
        return InitErrorDetails(type=error, loc=found["loc"], input=found["input"])


def parse_json(content: bytes, name: str) -> Any:  # noqa: ANN401 # any JSON document
    """Parse JSON with exact numbers, without duplicate members. Raises UsageError."""
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_int=_read_int,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error


def describe(error: ValidationError) -> str:
    """Return every wrong field and what is allowed, in one line."""
    lines = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part)[:40] for part in each["loc"] if part not in _TAGS)
        message = "is missing" if each["type"] == "missing" else each["msg"].removeprefix("Value error, ")
        lines.append(f"{place}: {message}" if place else message)
    return "; ".join(lines)


def _read_int(text: str) -> int:
    return int(text) if len(text) <= 20 else _refuse_constant(text[:20])  # noqa: PLR2004 # no amount is longer


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not an allowed number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return found
