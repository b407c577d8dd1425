"""From the dead-letter topic into the archive: a letter is acknowledged once it is stored, and never given up."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from expert_bot.deadletters.archive import store_letter
from expert_bot.deadletters.record import DeadLetterRecord, read_record
from expert_bot.delivery import Ack, Delivery, Outcome, Retry
from expert_bot.errors import StoreUnavailableError
from expert_bot.ports import Clock, Documents

_MAX_AT_ONCE: Final = 8
_RETRY_OUTAGE_S: Final = 10.0
_RETRY_REFUSED_S: Final = 600.0

_log = structlog.get_logger(__name__)


class Archiver:
    """The `process` of the dead letters' subscription. Works on eight letters at a time: each may have 10 MB."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)

    async def process(self, delivery: Delivery) -> Outcome:
        """Store one letter; Ack once it is there, Retry in every other case: there is no dead letter of a dead letter."""
        async with self._slots:
            record = read_record(delivery, self._clock.now())
            for reduced in (False, True):
                try:
                    is_new = await store_letter(self._documents, record, reduced=reduced)
                except StoreUnavailableError as error:
                    _log.warning("dead_letter_waits", letter_id=record.facts.id, error=str(error))
                    return Retry(_RETRY_OUTAGE_S, type(error).__name__)
                except Exception:  # noqa: BLE001  # a reduced form may do; logged with its traceback
                    _log.exception("dead_letter_refused", letter_id=record.facts.id, reduced=reduced)
                else:
                    _log_archived(record, is_new=is_new, reduced=reduced)
                    return Ack(duplicate=not is_new)
            return Retry(_RETRY_REFUSED_S, "refused by the store")


def _log_archived(record: DeadLetterRecord, *, is_new: bool, reduced: bool) -> None:
    facts = record.facts
    _log.info(
        "dead_letter_archived",
        letter_id=facts.id,
        reason=facts.reason,
        fingerprint=facts.fingerprint,
        subscription=facts.subscription,
        event_id=facts.event_id,
        duplicate=not is_new,
        reduced=reduced,
    )
