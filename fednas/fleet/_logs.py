"""Structured logs of the programs that run for days: one JSON object a line, on stderr."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

__all__ = ["configure_logs"]


def configure_logs(**fields: str) -> None:
    """Log as JSON, or for people where stderr is a terminal; ``fields`` stand in every line."""

    def add(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, **fields}

    person = sys.stderr.isatty()
    # Files and lines, but not the variables of every frame: tokens and credentials are among them.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if person else (add, tracebacks)),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if person
            else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
