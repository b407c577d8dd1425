"""What the core needs from the outside world, as promises. `tests/contract` states the same promises, line by line.

Adapters: `storage/` (Documents, Analytics), `publishers/` (Publisher), chosen in `adapters/` only.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, NewType, Protocol, Self

from expert_bot.delivery import Delivery, Message, Outcome
from expert_bot.ports_analytics import Analytics as Analytics  # noqa: PLC0414  # a port like those below, from its own room
from expert_bot.ports_analytics import StoreReport as StoreReport  # noqa: PLC0414  # likewise
from expert_bot.records import record
from expert_bot.schemas.topology import Topology

Value = None | bool | int | float | str | bytes | datetime | list["Value"] | dict[str, "Value"]
"""What a document field may hold. Datetimes are aware and come back in UTC with microseconds. No Decimal: store text."""

Fields = dict[str, Value]

Version = NewType("Version", str)
"""The store's own mark of a document's last change: opaque, differs after every write that changed that document.

Firestore keeps the mark when a write left every field as it was: a write that must be noticed carries something new.
"""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MAX_ID_BYTES: Final = 1500
DEFAULT_MAX_WORK_S: Final = 600.0
_SHORTEST_RESERVED: Final = len("____")


@lru_cache(maxsize=256)
def _is_collection(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


class _Address(NamedTuple):
    collection: str
    id: str


class DocKey(_Address):
    """Address of a document. ValueError if Firestore could not hold it (its rules bind every adapter)."""

    __slots__ = ()

    def __new__(cls, collection: str, id: str) -> Self:  # noqa: A002 - the field's standard term
        """Check and make an address."""
        if not _is_collection(collection):
            raise ValueError(f"collection {collection!r} must match {_NAME.pattern}")
        if (
            id in ("", ".", "..")
            or "/" in id
            or (id.startswith("__") and id.endswith("__") and len(id) >= _SHORTEST_RESERVED)
            or len(id.encode()) > MAX_ID_BYTES
        ):
            raise ValueError(
                f"document id must be 1..{MAX_ID_BYTES} bytes, without '/', not '.', '..' or '__x__'"
            )
        return super().__new__(cls, collection, id)


@record(kw_only=True)
class Document:
    """A document as it was read: `version` is the precondition for changing exactly this state."""

    key: DocKey
    fields: Fields
    version: Version


@record()
class Create:
    """Write a document that must not exist yet."""

    key: DocKey
    fields: Fields


@record()
class Put:
    """Write a whole document, whatever was there."""

    key: DocKey
    fields: Fields


@record()
class Update:
    """Replace the named top-level fields of a document that must exist, and be at `if_version` when that is given."""

    key: DocKey
    fields: Fields
    if_version: Version | None = None


@record()
class Delete:
    """Remove a document; absent is fine unless `if_version` is given."""

    key: DocKey
    if_version: Version | None = None


Write = Create | Put | Update | Delete


@record()
class Where:
    """A condition on one top-level field; `op` is one of `==`, `<`, `<=`, `>`, `>=`. Values of another type never match."""

    field: str
    op: str
    value: str | int | datetime


class DocumentReader(Protocol):
    """The reading half of Documents: all that handlers get."""

    async def get(self, key: DocKey) -> Document | None:
        """Return the document, or None if there is none. Reads are strongly consistent with confirmed commits.

        Raises StoreUnavailableError.
        """
        ...

    async def find(self, collection: str, where: Sequence[Where], *, limit: int) -> list[Document]:
        """Return up to `limit` documents for which every condition holds; order is unspecified.

        A document without the field never matches. Raises StoreUnavailableError.
        """
        ...


class Documents(DocumentReader, Protocol):
    """Small documents with optimistic concurrency. No locks: ownership is a document's `version`."""

    async def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Apply all writes or none, in order, and return their versions (same order; a deletion's has no meaning).

        Raises PreconditionFailedError (nothing written: Create on an existing document, Update on a missing one or at
        another version, Delete at another version) or StoreUnavailableError (unknown whether it was written).
        Top-level field names match `[A-Za-z_][A-Za-z0-9_]*`. A document appears at most once in one commit.
        """
        ...

    async def ping(self) -> None:
        """Return if the store answers; raise StoreUnavailableError if not."""
        ...

    async def close(self) -> None:
        """Free connections; safe to call twice."""
        ...


class Files(Protocol):
    """Uploaded files, read where they are."""

    async def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Return a file's bytes.

        Raises PermanentError (`document-uri-refused`, `document-not-found`, `document-too-large`) or
        StoreUnavailableError.
        """
        ...


class Publisher(Protocol):
    """Messages out. Messages of one ordering key published one after the other arrive in that order."""

    async def publish(self, message: Message) -> str:
        """Return the bus's message id once the message is durably accepted.

        Raises BusUnavailableError (unknown whether it was accepted: publishing the same bytes again is safe for
        everyone who dedupes by source and id) or MessageRefusedError (it never will be).
        """
        ...

    async def ping(self) -> None:
        """Return if the bus answers; raise BusUnavailableError if not."""
        ...

    async def close(self) -> None:
        """Send what is buffered, then free connections; safe to call twice."""
        ...


class Clock(Protocol):
    """The only source of the current time. May be wrong: correctness never depends on it."""

    def now(self) -> datetime:
        """Return the current instant, aware, UTC."""
        ...


class Identity(Protocol):
    """Who a user is, as far as the account record tells."""

    async def display_name(self, user_id: str) -> str | None:
        """Return the account's display name, or None if the account or its name is missing.

        Raises StoreUnavailableError.
        """
        ...


@record(kw_only=True)
class ApplyReport:
    """What setting up a topology did: names created now, and names that were there already."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


class BusAdmin(Protocol):
    """Topics and subscriptions of an embedded or emulated bus (in the cloud they are Terraform's)."""

    async def apply(self, topology: Topology) -> ApplyReport:
        """Create what is missing; change nothing that exists. Raises BusUnavailableError."""
        ...

    async def create_temporary_subscription(
        self, name: str, topic: str, *, filter_expression: str = ""
    ) -> None:
        """Create an unordered subscription that receives what is published from now on. Raises BusUnavailableError.

        `filter_expression`: Pub/Sub filter; a bus may deliver what it excludes all the same.
        """
        ...

    async def delete_subscription(self, name: str) -> None:
        """Delete a subscription; absent is fine. Raises BusUnavailableError."""
        ...


class Consumer(Protocol):
    """Messages in: takes deliveries of one subscription, hands each to `process`, settles it by its Outcome."""

    async def run(self) -> None:
        """Consume until drained. Survives every outage of the bus."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Stop taking, give running work `grace_s`, cancel the rest and hand it back for redelivery. Idempotent."""
        ...

    def stalled_for_s(self) -> float:
        """Seconds since the bus last answered; grows while the connection is down."""
        ...


class MakeConsumer(Protocol):
    """Makes the consumer of one subscription on whichever bus was picked."""

    def __call__(
        self,
        subscription: str,
        process: Callable[[Delivery], Awaitable[Outcome]],
        *,
        ordered: bool,
        max_work_s: float = DEFAULT_MAX_WORK_S,
    ) -> Consumer:
        """Return a consumer that has not started yet. `max_work_s`: seconds after which it gives `process` up."""
        ...
