"""Sends in the thread that committed, before it goes on. For scripts and development."""

from __future__ import annotations

import threading

from django_customerio import delivery
from django_customerio.conf import get_settings

from .base import Sender

PATIENCE = 3.0
"""Seconds that the caller waits for one request with its retries."""

BUDGET = 10.0
"""Seconds after which no further request is begun: a backlog is not one caller's to send."""


class ImmediateSender(Sender):
    """Drains right after the commit; the caller waits for Customer.io."""

    def __init__(self) -> None:
        self._busy = threading.local()

    def wake(self, using: str, *, sweep: bool = False) -> None:
        """Drain the database now."""
        if getattr(self._busy, "draining", False):
            # A receiver of our own signals that saves something: it is drained by the loop
            # that is already running.
            return
        self._busy.draining = True
        failed: Exception | None = None
        try:
            for workspace in get_settings().workspaces:
                # Nobody looks later, so each look is one at everything; and what is wrong with
                # one workspace keeps nothing from the others.
                try:
                    delivery.drain(
                        using=using,
                        workspace=workspace,
                        sweep=True,
                        budget=BUDGET,
                        patience=PATIENCE,
                    )
                except Exception as error:
                    failed = failed or error
        finally:
            self._busy.draining = False
        if failed is not None:
            raise failed
