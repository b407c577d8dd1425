"""The exception tree. Every error carries the facts of its failure; outcomes and HTTP statuses are mapped elsewhere, once.

`TransientError`: the same event may succeed later. `PermanentError`: it never will, and `reason` (kebab-case) says why.
"""

from __future__ import annotations


class ExpertBotError(Exception):
    """Base of every error this service raises on purpose."""


class SettingError(ExpertBotError):
    """A setting is missing or wrong; the message names the variable, its value and what is allowed."""


class UsageError(ExpertBotError):
    """A command was given something it cannot use; the message says what is allowed."""


class TransientError(ExpertBotError):
    """A dependency is down or busy; try again after `retry_after_s` seconds (None: the caller's backoff decides)."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailableError(TransientError):
    """Documents or Analytics did not answer, or answered that they cannot right now."""


class BusUnavailableError(TransientError):
    """The bus did not confirm a publish, or a subscription cannot be read right now."""


class PreconditionFailedError(ExpertBotError):
    """An atomic commit was refused because a document was not in the expected state; nothing was written."""


class PermanentError(ExpertBotError):
    """The event can never succeed as it is.

    `reason` is a kebab-case code from `schemas.dead_letter.REASONS` (or a handler's own), `detail` one line that
    says what was wrong and what is allowed, without personal data.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class MalformedEventError(PermanentError):
    """The bytes are not the CloudEvent the contract asks for."""


class MessageRefusedError(PermanentError):
    """The bus can never accept this message (too large, too many attributes)."""
