"""`POST /push/{subscription}`: Pub/Sub push deliveries, wrapped and unwrapped, into the same `process` as pull.

Source: Pub/Sub push subscription reference (JSON envelope; without wrapper, attributes are HTTP headers and metadata are
`x-goog-pubsub-*` headers).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Final

import structlog
from aiohttp import hdrs, web

from expert_bot.consumers.fairness import tenant_of
from expert_bot.delivery import Delivery, Outcome, Retry
from expert_bot.errors import MalformedEventError
from expert_bot.http.oidc_keys import KeysUnavailableError
from expert_bot.http.problems import problem_response
from expert_bot.http.push_auth import Authenticate, NotAuthorizedError
from expert_bot.http.push_limits import OverLimitError, PushLimits
from expert_bot.http.server import MAX_BODY_BYTES
from expert_bot.http.signed_tokens import NotAuthenticatedError
from expert_bot.publishers.pubsub_limits import MAX_DATA_BYTES
from expert_bot.schemas import strict_json
from expert_bot.schemas.envelope import parse_timestamp
from expert_bot.schemas.pubsub import CONTENT_TYPE, PREFIX, STRUCTURED_MEDIA_TYPE

METADATA_PREFIX: Final = "x-goog-pubsub-"
BODY_TIMEOUT_S: Final = 30.0
_STRUCTURED_PREFIX: Final = "application/cloudevents"

_log = structlog.get_logger(__name__)

Process = Callable[[Delivery], Awaitable[Outcome]]


class BadPushError(Exception):
    """The request is not a Pub/Sub push delivery; the message says what one looks like."""


def push_routes(
    process: Process,
    subscriptions: Collection[str],
    deadline_s: float,
    *,
    authenticate: Authenticate,
    limits: PushLimits | None = None,
) -> list[web.RouteDef]:
    """Return the push route. `deadline_s`: time a delivery may take, below the subscription's ack deadline.

    `authenticate`: passes before the body is read. `limits`: what may run at once; None: anything.
    """
    running = limits or PushLimits(total=sys.maxsize, per_tenant=sys.maxsize)

    async def push(request: web.Request) -> web.Response:
        subscription = request.match_info["subscription"]
        if subscription not in subscriptions:
            known = ", ".join(sorted(subscriptions))  # no secret: infra/topics.json has them
            return problem_response(404, f"no subscription {subscription!r} here; known: {known}")
        try:
            await authenticate(subscription, request.headers.getall(hdrs.AUTHORIZATION, ()))
            with running.slot():
                delivery = await _receive(request, subscription, deadline_s)
                with running.tenant_slot(tenant_of(delivery.data, delivery.ordering_key)):
                    return _settle(await process(delivery))
        except (NotAuthenticatedError, NotAuthorizedError, KeysUnavailableError) as error:
            return _refuse(subscription, error)
        except OverLimitError as error:
            status = 429 if error.of_tenant else 503
            return problem_response(status, f"{error} at once; try again later", headers=_retry_after(1.0))

    return [web.post("/push/{subscription}", push)]


async def _receive(request: web.Request, subscription: str, deadline_s: float) -> Delivery:
    """Read the request's delivery. Raises HTTPException for what is none."""
    until_s = asyncio.get_running_loop().time() + deadline_s
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.clone(client_max_size=MAX_BODY_BYTES).read()
        delivery = decode_push(subscription, request.headers, body, until_s)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body took longer than {BODY_TIMEOUT_S:g} s") from error
    except BadPushError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    if len(delivery.data) > MAX_DATA_BYTES:  # no bus ever held it, and no dead letter could
        raise web.HTTPRequestEntityTooLarge(
            MAX_DATA_BYTES, text=f"a Pub/Sub message has at most {MAX_DATA_BYTES} bytes of data"
        )
    return delivery


def decode_push(subscription: str, headers: Mapping[str, str], body: bytes, deadline_s: float) -> Delivery:
    """Read one push request as a delivery, whichever form it has.

    An unwrapped delivery shows itself by `ce-*` or `x-goog-pubsub-*` headers, a CloudEvents content type, or a body that
    is itself a structured event; a body with a `message` member is wrapped. Anything else was published by someone too:
    it is delivered as it is and ends as a dead letter. Raises BadPushError for an empty body or a broken wrapper.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    if _is_unwrapped(lowered):
        return _unwrapped(subscription, lowered, body, deadline_s)
    if not body:
        raise BadPushError("the body is empty; send a wrapped or an unwrapped Pub/Sub push delivery")
    try:
        document = strict_json.loads(body)
    except MalformedEventError:
        document = None
    if isinstance(document, dict) and "message" in document:
        return _wrapped(subscription, document, deadline_s)
    attributes: dict[str, str] = {}
    if isinstance(document, dict) and "specversion" in document:
        attributes[CONTENT_TYPE] = STRUCTURED_MEDIA_TYPE
    return Delivery(subscription=subscription, data=body, attributes=attributes, deadline_s=deadline_s)


def _is_unwrapped(headers: Mapping[str, str]) -> bool:
    return headers.get(CONTENT_TYPE, "").lower().startswith(_STRUCTURED_PREFIX) or any(
        name.startswith((PREFIX, METADATA_PREFIX)) for name in headers
    )


def _unwrapped(subscription: str, headers: Mapping[str, str], body: bytes, deadline_s: float) -> Delivery:
    attributes = {
        name: value
        for name, value in headers.items()
        if name.startswith((PREFIX, "dl-")) or name in (CONTENT_TYPE, "replayfor")
    }
    if attributes.get(CONTENT_TYPE) == "application/octet-stream":
        del attributes[CONTENT_TYPE]  # what HTTP clients say when nobody told them: not the event's own word
    published_at = headers.get(METADATA_PREFIX + "publish-time")
    return Delivery(
        subscription=subscription,
        data=body,
        attributes=attributes,
        message_id=headers.get(METADATA_PREFIX + "message-id", ""),
        ordering_key=headers.get(METADATA_PREFIX + "ordering-key", ""),
        published_at=_timestamp(published_at) if published_at else None,
        deadline_s=deadline_s,
    )


def _wrapped(subscription: str, document: Mapping[str, strict_json.JsonValue], deadline_s: float) -> Delivery:
    message = document["message"]
    if not isinstance(message, dict):
        raise BadPushError("`message` must be a JSON object")
    attributes = message.get("attributes") or {}
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise BadPushError("`message.attributes` must be an object of strings")
    attempt = document.get("deliveryAttempt")
    published_at = _text(message, "publishTime", "publish_time")
    return Delivery(
        subscription=subscription,
        data=_decode_base64(message.get("data", "")),
        attributes={name: str(value) for name, value in attributes.items()},
        message_id=_text(message, "messageId", "message_id"),
        ordering_key=_text(message, "orderingKey", "ordering_key"),
        published_at=_timestamp(published_at) if published_at else None,
        attempt=attempt if isinstance(attempt, int) else None,
        deadline_s=deadline_s,
    )


def _decode_base64(text: strict_json.JsonValue) -> bytes:
    if not isinstance(text, str):
        raise BadPushError("`message.data` must be a base64 string")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPushError("`message.data` is not valid base64") from error


def _text(message: Mapping[str, strict_json.JsonValue], *names: str) -> str:
    """Return the first of the members that is a string; Pub/Sub sends some names in two spellings."""
    return next((value for name in names if isinstance(value := message.get(name), str)), "")


def _timestamp(text: str) -> datetime:
    try:
        return parse_timestamp("publishTime", text)
    except MalformedEventError as error:
        raise BadPushError(f"the publish time {text[:40]!a} is not an RFC 3339 timestamp") from error


def _settle(outcome: Outcome) -> web.Response:
    """Map an outcome to a status: 204 when the work is durable, 503 to be delivered again."""
    if isinstance(outcome, Retry):
        return problem_response(
            503, "try again later", headers=_retry_after(outcome.after_s), cause=outcome.cause
        )
    return web.Response(status=204)


def _refuse(
    subscription: str, error: NotAuthenticatedError | NotAuthorizedError | KeysUnavailableError
) -> web.Response:
    """Map a failed authentication to a status; every one of them makes Pub/Sub deliver again."""
    match error:
        case NotAuthenticatedError():
            status, reason, headers = 401, error.reason, {"WWW-Authenticate": "Bearer"}
            said = "a push needs the OIDC token of its subscription, signed by Google"
        case NotAuthorizedError():
            status, reason, headers = 403, "wrong-service-account", {}
            said = "the token is not of the service account that pushes this subscription"
        case KeysUnavailableError():
            status, reason, headers = 503, "keys-unavailable", _retry_after(error.retry_after_s)
            said = "the token cannot be checked right now"
    _log.warning("push_refused", subscription=subscription, status=status, reason=reason)
    return problem_response(status, said, headers=headers, reason=reason)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
