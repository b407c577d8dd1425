"""Structured logs: one JSON line per fact, in the fields Cloud Logging reads. Never message text or personal data."""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, WrappedLogger

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(level: str, log_format: str) -> None:
    """Send structured logs to standard error. `log_format`: `json`, `console`, or `auto` (console on a terminal)."""
    as_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    if as_console:
        rendering: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()]
    else:
        rendering = [
            structlog.processors.format_exc_info,
            _cloud_logging_fields,
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _cloud_logging_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["severity"] = str(event.pop("level")).upper()
    event["message"] = event.pop("event")
    return event
