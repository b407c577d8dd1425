"""What Pub/Sub accepts in one message, checked before anything is sent.

Source: https://cloud.google.com/pubsub/quotas#resource_limits. The emulator enforces none of these but the size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from expert_bot.delivery import Message
from expert_bot.errors import MessageRefusedError

MAX_DATA_BYTES: Final = 10_000_000
MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTE_NAME_BYTES: Final = 256
MAX_ATTRIBUTE_VALUE_BYTES: Final = 1024
MAX_ORDERING_KEY_BYTES: Final = 1024
RESERVED_PREFIX: Final = "goog"
_MAX_BYTES_PER_CHAR: Final = 4


def check_limits(message: Message) -> None:
    """Raise MessageRefusedError, naming the limit, if Pub/Sub could never accept this message."""
    if len(message.data) > MAX_DATA_BYTES:
        raise MessageRefusedError(
            "payload-too-large", f"data has {len(message.data)} bytes; at most {MAX_DATA_BYTES} are allowed"
        )
    if not message.data and not message.attributes:
        raise _refused("a message needs data or at least one attribute")
    if len(message.attributes) > MAX_ATTRIBUTES:
        raise _refused(f"{len(message.attributes)} attributes; at most {MAX_ATTRIBUTES} are allowed")
    if message.ordering_key and len(message.ordering_key.encode()) > MAX_ORDERING_KEY_BYTES:
        raise _refused(f"the ordering key is longer than {MAX_ORDERING_KEY_BYTES} bytes")
    if not _obviously_fine(message.attributes):
        for name, value in message.attributes.items():
            _check_attribute(name, value)


def _obviously_fine(attributes: Mapping[str, str]) -> bool:
    """Tell at a glance, for all attributes at once, what holds for nearly every message; False if it takes a closer look."""
    longest = max(map(len, attributes.values()), default=0)
    return longest <= MAX_ATTRIBUTE_VALUE_BYTES // _MAX_BYTES_PER_CHAR and _are_names_fine(tuple(attributes))


@lru_cache(maxsize=256)
def _are_names_fine(names: tuple[str, ...]) -> bool:
    """Tell it of the few sets of names that there are, once each."""
    return all(
        0 < len(name.encode()) <= MAX_ATTRIBUTE_NAME_BYTES and not name.startswith(RESERVED_PREFIX)
        for name in names
    )


def _check_attribute(name: str, value: str) -> None:
    if not name or len(name.encode()) > MAX_ATTRIBUTE_NAME_BYTES:
        raise _refused(f"attribute name {name[:60]!a} must have 1..{MAX_ATTRIBUTE_NAME_BYTES} bytes")
    if name.startswith(RESERVED_PREFIX):
        raise _refused(f"attribute name {name[:60]!a} must not start with {RESERVED_PREFIX!r}")
    if len(value.encode()) > MAX_ATTRIBUTE_VALUE_BYTES:
        raise _refused(f"attribute {name[:60]!a} is longer than {MAX_ATTRIBUTE_VALUE_BYTES} bytes")


def _refused(detail: str) -> MessageRefusedError:
    return MessageRefusedError("message-refused", detail)
