"""Log lines about messages: receivers of our own signals, like anybody's could be.

The logger is ``django_customerio``. Each line names no person, value or key; what the
signals tell is attached as extras: ``customerio_ulid``, ``customerio_message_id``,
``customerio_kind``, ``customerio_workspace``, ``customerio_using`` and, where something
failed, ``customerio_error``.
"""

from __future__ import annotations

import logging
from typing import Any

from . import signals

logger = logging.getLogger("django_customerio")

LINES = (
    (signals.message_queued, logging.DEBUG, "queued"),
    (signals.message_sent, logging.DEBUG, "sent"),
    (signals.message_failed, logging.WARNING, "failed and will be tried again"),
    (signals.message_dead, logging.ERROR, "is dead: look at it, then resend or discard it"),
)
EXTRAS = ("ulid", "message_id", "kind", "workspace", "using", "error")


class LogLine:
    """A receiver that writes one signal's line."""

    def __init__(self, level: int, outcome: str) -> None:
        self.level = level
        self.outcome = outcome

    def __call__(self, **kwargs: Any) -> None:
        """Write the line, with what the signal told as extras."""
        if not logger.isEnabledFor(self.level):
            return
        told = {key: kwargs[key] for key in EXTRAS if key in kwargs}
        if not isinstance(told.get("error", ""), str):
            # An exception is no part of the contract, and can hold Customer.io's own words.
            told["error"] = type(told["error"]).__name__
        error = f" ({told['error']})" if "error" in told else ""
        logger.log(
            self.level,
            "%s %s %s%s",
            told.get("kind"),
            told.get("ulid"),
            self.outcome,
            error,
            extra={f"customerio_{key}": value for key, value in told.items()},
        )


def connect() -> None:
    """Connect the log lines that the logger's level lets through. Idempotent.

    A line for each message costs throughput even where nobody reads it, so the two of level
    DEBUG are connected only where that level is on when Django starts.
    """
    for signal, level, outcome in LINES:
        if logger.isEnabledFor(level):
            signal.connect(
                LogLine(level, outcome),
                weak=False,
                dispatch_uid=f"django_customerio.observe.{outcome.split()[0]}",
            )
