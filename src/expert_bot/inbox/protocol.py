"""The inbox's state machine: claim, decide, commit, publish, mark sent; take over what others left; sweep.

Every step is a write that only succeeds on the version last seen, so any two workers, and any worker twice, can run any
step at any time. The order commit -> publish -> mark sent -> acknowledge is what makes nothing lost and nothing done twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from expert_bot.delivery import Ack, DeadLetter, Delivery, Message, Outcome, Retry
from expert_bot.errors import (
    BusUnavailableError,
    MessageRefusedError,
    PermanentError,
    PreconditionFailedError,
    StoreUnavailableError,
    TransientError,
)
from expert_bot.inbox.claims import Claims, Held, Owned
from expert_bot.inbox.entry import (
    COLLECTION,
    REPLIED,
    Entry,
    State,
    commit_fields,
    committed_entry,
    entry_key,
    read_entry,
)
from expert_bot.inbox.heartbeats import LeaseLostError
from expert_bot.inbox.lease import Lease, WriteConflictError
from expert_bot.inbox.work import NOWHERE, Failpoints, InboxSettings, NoFailpoints, Work
from expert_bot.ports import Clock, DocKey, Document, Documents, Fields, Publisher, Where
from expert_bot.schemas.dead_letter import DEAD_LETTER_TOPIC, CauseOfDeath, encode_dead_letter, first_frame
from expert_bot.schemas.envelope import CloudEvent

_MAX_CONFLICTS: Final = 20
_FIRST_HOLD_S: Final = 0.02
_LONGEST_HOLD_S: Final = 1.0
_BASE_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 600.0
_PUBLISH_TIMEOUT_S: Final = 60.0
_EXPLAIN_TIMEOUT_S: Final = 30.0
_REMEMBERED: Final = 10_000
_NO_DEADLINE_S: Final = 600.0

_log = structlog.get_logger(__name__)


class Inbox:
    """Runs work on events with exactly one effect each. Safe for any number of tasks, processes and machines."""

    def __init__(
        self,
        *,
        documents: Documents,
        publisher: Publisher,
        clock: Clock,
        settings: InboxSettings,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._documents = documents
        self._publisher = publisher
        self._clock = clock
        self._settings = settings
        self._failpoints = failpoints or NoFailpoints()
        self._running: dict[DocKey, asyncio.Future[None]] = {}
        self._published: OrderedDict[DocKey, int] = OrderedDict()  # and in which replay
        self._claims = Claims(documents, clock, settings)

    async def handle(self, delivery: Delivery, event: CloudEvent, work: Work) -> Outcome:
        """Bring one delivery of an event to its outcome.

        Returns Ack or DeadLetter only once everything is durable and confirmed. Raises CancelledError, after giving up
        the claim, or whatever a store raises that is no outage (a mistake of ours): the delivery must then come again.
        """
        loop = asyncio.get_running_loop()
        until_s = delivery.deadline_s or loop.time() + _NO_DEADLINE_S
        key = entry_key(delivery.subscription, event.source, event.id)
        while (running := self._running.get(key)) is not None:  # a duplicate in this process: await its turn
            await asyncio.wait((running,), timeout=max(0.0, until_s - loop.time()))
            if loop.time() >= until_s:
                return Retry(_BASE_RETRY_S, "held")
        done = self._running[key] = loop.create_future()
        try:
            return await self._handle(key, delivery, work, until_s)
        except TransientError as error:
            return Retry(error.retry_after_s or _BASE_RETRY_S, _kind(error))
        finally:
            del self._running[key]
            done.set_result(None)

    async def stored(self, subscription: str, event: CloudEvent) -> tuple[Message, ...]:
        """Return the messages that are stored for an event; none while its outcome is open.

        Raises StoreUnavailableError.
        """
        document = await self._documents.get(entry_key(subscription, event.source, event.id))
        return read_entry(document).messages if document is not None else ()

    async def sweep(self, *, limit: int = 100) -> int:
        """Publish what dead workers committed but did not live to send; return how many events were completed.

        Raises StoreUnavailableError or BusUnavailableError; what is left is found by the next sweep.
        """
        abandoned = await self._documents.find(
            COLLECTION,
            [Where("state", "==", State.COMMITTED.value), Where("lease_until", "<", self._clock.now())],
            limit=limit,
        )
        completed = 0
        for document in abandoned:
            entry = read_entry(document)
            if entry.needs_delivery or document.key in self._running:
                continue  # its next delivery brings the bytes; or it is being completed right here
            done = self._running[document.key] = asyncio.get_running_loop().create_future()
            try:
                completed += await self._complete_abandoned(document, entry)
            finally:
                del self._running[document.key]
                done.set_result(None)
        return completed

    async def _complete_abandoned(self, document: Document, entry: Entry) -> bool:
        owned = await self._claims.take_over(document, entry)
        if isinstance(owned, Held):
            return False
        self._forget_other_lives(owned.lease.key, entry.replay)
        try:
            await self._send(owned.lease, entry.messages, entry.replay, owned.lease.deadline)
        except LeaseLostError:
            return False
        except TransientError:
            await self._give_up(owned.lease, {})
            raise
        return True

    async def _handle(self, key: DocKey, delivery: Delivery, work: Work, until_s: float) -> Outcome:
        await self._failpoints.reach("P0")
        hold_s = _FIRST_HOLD_S
        while True:
            claim = await self._claims.claim(key, delivery.replay)
            if isinstance(claim, Owned):
                try:
                    outcome = await self._own(claim, delivery, work, until_s)
                    if delivery.replay <= claim.entry.replay or isinstance(outcome, Retry):
                        return outcome  # otherwise it has completed an earlier life, and its own is to come
                except LeaseLostError:
                    _log.warning("lease_lost", inbox_key=key.id)
            elif claim is None:
                return Ack(duplicate=True)
            else:
                remaining_s = until_s - asyncio.get_running_loop().time()
                if remaining_s <= 0:
                    return Retry(_BASE_RETRY_S, "held")
                lease_left_s = (claim.until - self._clock.now()).total_seconds()
                await asyncio.sleep(
                    max(_FIRST_HOLD_S, min(hold_s, remaining_s, max(lease_left_s, _FIRST_HOLD_S)))
                )
                hold_s = min(hold_s * 2, _LONGEST_HOLD_S)

    async def _own(self, owned: Owned, delivery: Delivery, work: Work, until_s: float) -> Outcome:
        """Bring an owned event to its end, or give it up so that the next delivery finds it free."""
        lease, entry = owned.lease, owned.entry
        self._forget_other_lives(lease.key, entry.replay)
        try:
            if entry.state is State.CLAIMED:
                await self._failpoints.reach("P1")
                decided = await self._decide_and_commit(owned, delivery, work)
                if isinstance(decided, Retry):
                    return decided
                entry = decided
            await self._send(lease, _complete(entry, delivery), entry.replay, until_s)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._wind_up(lease)))
            raise
        except TransientError:
            if lease.key not in self._published:  # only this process knows that nothing is left but the mark
                await self._give_up(lease, {})
            raise
        return Ack() if entry.outcome == REPLIED else DeadLetter(entry.outcome)

    async def _decide_and_commit(self, owned: Owned, delivery: Delivery, work: Work) -> Entry | Retry:
        """Run the handler and commit what it decided, its death included; Retry when it may succeed later."""
        attempts = owned.entry.attempts
        for _ in range(_MAX_CONFLICTS):
            try:
                return await self._try_handler(owned, work)
            except WriteConflictError:
                continue
            except LeaseLostError:
                raise
            except PermanentError as error:
                return await self._commit_death(owned, delivery, work, error)
            except Exception as error:  # noqa: BLE001  # unknown errors retry until the attempts are used up; logged there
                retry = await self._note_failure(owned.lease, attempts, error)
                if retry is not None:
                    return retry
                exhausted = PermanentError(
                    "attempts-exhausted", f"{attempts + 1} attempts failed, the last with {_kind(error)}"
                )
                exhausted.__cause__ = error
                return await self._commit_death(owned, delivery, work, exhausted)
        raise StoreUnavailableError(f"a handler's writes conflicted {_MAX_CONFLICTS} times in a row")

    async def _try_handler(self, owned: Owned, work: Work) -> Entry:
        decision = await owned.lease.run(work.decide(), timeout_s=work.timeout_s)
        entry = committed_entry(owned.entry, REPLIED, decision.messages)
        await self._failpoints.reach("P2")
        await owned.lease.commit(commit_fields(entry), decision.writes, until_s=owned.lease.deadline)
        return entry

    async def _commit_death(
        self, owned: Owned, delivery: Delivery, work: Work, error: PermanentError
    ) -> Entry:
        """Commit an event's death: tell the requester, and keep the original with the reason.

        Raises TransientError: the event then comes again, and dies again.
        """
        for _ in range(_MAX_CONFLICTS):
            try:
                return await self._try_death(owned, delivery, work, error)
            except WriteConflictError:
                continue
        raise StoreUnavailableError(f"a death's writes conflicted {_MAX_CONFLICTS} times in a row")

    async def _try_death(self, owned: Owned, delivery: Delivery, work: Work, error: PermanentError) -> Entry:
        cause = CauseOfDeath(
            reason=error.reason,
            detail=error.detail,
            error_class=_kind(error.__cause__ or error),
            handler=work.handler,
            attempts=owned.entry.attempts + 1,
            frame=first_frame(error.reason, error.__cause__ or error),
        )
        explained = work.explain_death(cause, owned.entry.replay)
        try:
            told = await owned.lease.run(explained, timeout_s=_EXPLAIN_TIMEOUT_S)
        except TimeoutError as timeout:
            raise StoreUnavailableError("what is known of the request could not be read in time") from timeout
        letter = encode_dead_letter(delivery, cause, replay=owned.entry.replay)
        entry = committed_entry(owned.entry, error.reason, (*told.messages, letter))
        await self._failpoints.reach("P2")
        await owned.lease.commit(commit_fields(entry), told.writes, until_s=owned.lease.deadline)
        return entry

    async def _note_failure(self, lease: Lease, attempts: int, error: Exception) -> Retry | None:
        """Count a failed attempt and say when to try again; None when there is no attempt left."""
        expected = isinstance(error, TransientError | TimeoutError)
        _log.warning(
            "handler_failed",
            inbox_key=lease.key.id,
            attempts=attempts + 1,
            error=_kind(error),
            exc_info=None if expected else error,
        )
        if attempts + 1 >= self._settings.max_attempts:
            return None
        await self._give_up(lease, {"attempts": attempts + 1})
        asked_s = error.retry_after_s if isinstance(error, TransientError) else None
        return Retry(asked_s or min(_BASE_RETRY_S * 2**attempts, _LONGEST_RETRY_S), _kind(error))

    async def _send(self, lease: Lease, messages: Sequence[Message], replay: int, until_s: float) -> None:
        """Publish stored messages under the lease, then mark the event sent.

        Raises LeaseLostError, StoreUnavailableError, BusUnavailableError.
        """
        if lease.key not in self._published:
            await lease.ensure_held()
            await self._failpoints.reach("P3")
            try:
                await lease.run(self._publish(messages), timeout_s=_PUBLISH_TIMEOUT_S)
            except TimeoutError as error:
                raise BusUnavailableError("the bus did not confirm in time") from error
            except MessageRefusedError as error:  # ours to mend; tried again until it is
                raise BusUnavailableError(f"the bus refuses what is to be published: {error}") from error
            self._remember_published(lease.key, replay)
        await self._failpoints.reach("P4")
        await self._mark_sent(lease, until_s)
        await self._failpoints.reach("P5")

    async def _mark_sent(self, lease: Lease, until_s: float) -> None:
        expire_at = self._clock.now() + self._settings.retention
        await lease.commit({"state": State.SENT.value, "expire_at": expire_at}, until_s=until_s)
        self._published.pop(lease.key, None)

    async def _publish(self, messages: Sequence[Message]) -> None:
        leaving = [message for message in messages if message.topic != NOWHERE]
        if len(leaving) == 1:
            await self._publisher.publish(leaving[0])
        else:
            await asyncio.gather(*(self._publisher.publish(message) for message in leaving))

    def _forget_other_lives(self, key: DocKey, replay: int) -> None:
        if self._published.get(key, replay) != replay:
            del self._published[key]

    def _remember_published(self, key: DocKey, replay: int) -> None:
        """Remember confirmed publishes until they are marked, so that this process never repeats one."""
        self._published[key] = replay
        if len(self._published) > _REMEMBERED:
            self._published.popitem(last=False)

    async def _wind_up(self, lease: Lease) -> None:
        """Leave an event in the middle of its work: marked if only the mark was missing, free otherwise."""
        if lease.key not in self._published:
            await self._give_up(lease, {})
            return
        try:
            await self._mark_sent(lease, asyncio.get_running_loop().time())
        except (LeaseLostError, StoreUnavailableError):
            _log.warning(
                "mark_failed", inbox_key=lease.key.id
            )  # whoever takes over publishes the same bytes again

    async def _give_up(self, lease: Lease, fields: Fields) -> None:
        try:
            await lease.release(fields)
        except (PreconditionFailedError, StoreUnavailableError):
            _log.warning("release_failed", inbox_key=lease.key.id)  # the lease runs out by itself


def _complete(entry: Entry, delivery: Delivery) -> tuple[Message, ...]:
    """Return what is to be published; a dead letter too large to be stored takes its bytes from the delivery."""
    if not entry.needs_delivery:
        return entry.messages
    return tuple(
        replace(message, data=delivery.data) if message.topic == DEAD_LETTER_TOPIC else message
        for message in entry.messages
    )


def _kind(error: BaseException) -> str:
    return type(error).__name__
