"""Replies as messages: the same request always gives the same reply ids, and correlation, tracing and order are carried on."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

from expert_bot.delivery import Message
from expert_bot.handlers import Reply
from expert_bot.ports import Clock
from expert_bot.records import record
from expert_bot.schemas import pubsub
from expert_bot.schemas.envelope import CloudEvent

_NAMESPACE: Final = uuid.NAMESPACE_URL.bytes
_PASSED_ON_EXTENSIONS: Final = ("traceparent", "tracestate", "expirytime")


def reply_id(source: str, event_id: str, handler: str, index: int) -> str:
    """Return the id of a handler's n-th reply to an event: always the same for the same request."""
    # control characters cannot occur in the parts, so the separator keeps them apart
    name = f"{source}\n{event_id}\n{handler}\n{index}"
    digest = bytearray(hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # RFC 9562, version 5; `uuid.uuid5` gives the same, four times slower
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@record()
class ReplyEncoder:
    """Encodes the replies of one service. `source`: CloudEvents source of everything emitted."""

    source: str
    clock: Clock

    def encode(
        self, cause: CloudEvent, topic: str, key: str, reply: Reply, author: str, index: int
    ) -> Message:
        """Encode a reply to an event: deterministic id, correlation, causation, tracing and ordering carried on."""
        carried = {name: cause.extensions[name] for name in _PASSED_ON_EXTENSIONS if name in cause.extensions}
        carried["correlationid"] = cause.correlation_id
        carried["causationid"] = cause.id
        if key:
            carried["partitionkey"] = key
        event = CloudEvent(
            id=reply_id(cause.source, cause.id, author, index),
            source=self.source,
            type=reply.type.name,
            time=self.clock.now(),
            data=reply.data.__pydantic_serializer__.to_json(reply.data),
            extensions=carried,
        )
        return pubsub.encode_binary(event, topic)
