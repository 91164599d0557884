"""Whether this is a test run, in which nothing is queued or sent unless a test asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.core import mail


class _Allowed:
    """How many blocks allow the real thing now. All threads count: senders are threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.blocks = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.blocks += number


_allowed = _Allowed()


def in_test_run() -> bool:
    """Say whether Django's test environment is set up, by its own sign, whatever the runner."""
    return hasattr(mail, "outbox")


def is_quiet() -> bool:
    """Say whether this is a test run that did not ask for the real thing."""
    return in_test_run() and not _allowed.blocks


@contextmanager
def sending_allowed() -> Iterator[None]:
    """Let a test run queue and send, to addresses of this machine, while the block lasts."""
    _allowed.add(1)
    try:
        yield
    finally:
        _allowed.add(-1)
