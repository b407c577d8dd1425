"""Bodies of requests: read within a size and a time, strictly, and by a schema."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from expert_bot.errors import MalformedEventError
from expert_bot.schemas import strict_json
from expert_bot.schemas.data import describe_violations
from expert_bot.schemas.envelope import is_json_media_type

MAX_JSON_BYTES: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 5.0
Model = TypeVar("Model", bound=BaseModel)


async def read_body(
    request: web.Request,
    schema: type[Model],
    *,
    max_bytes: int = MAX_JSON_BYTES,
    timeout_s: float = BODY_TIMEOUT_S,
) -> Model:
    """Return a request's JSON body, as its schema has it.

    Raises web.HTTPException, whose text says what is allowed: 408, 413, 415, 400 for what is not JSON with one meaning, 422
    naming each wrong member, never its value.
    """
    if not is_json_media_type(request.content_type):
        raise web.HTTPUnsupportedMediaType(text="the body must be application/json")
    body = await _read(request, max_bytes, timeout_s)
    try:
        document = strict_json.loads(body)
    except MalformedEventError as error:
        raise web.HTTPBadRequest(text=f"the body is not valid JSON: {error.detail}") from error
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise web.HTTPUnprocessableEntity(text=describe_violations(error)) from error


async def _read(request: web.Request, max_bytes: int, timeout_s: float) -> bytes:
    too_large = web.HTTPRequestEntityTooLarge(
        max_bytes, request.content_length or 0, text=f"a body has at most {max_bytes} bytes here"
    )
    if (request.content_length or 0) > max_bytes:
        raise too_large
    try:
        async with asyncio.timeout(timeout_s):
            return await request.clone(client_max_size=max_bytes).read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body took longer than {timeout_s:g} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large from error
    except ConnectionError as error:  # whoever sent it is gone: no mistake of ours
        raise web.HTTPBadRequest(text="the body ended early") from error
