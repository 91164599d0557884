"""Ending politely: the first signal asks, the second insists."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SLICE = 0.1
"""Seconds of sleep between two looks at the flag."""


class Stopper:
    """Says whether a signal came, or the time is up. To be used as a context manager.

    A plain flag and short sleeps, no ``Event``: setting one from a handler can deadlock with
    the wait that it interrupts.
    """

    def __init__(self, *, budget: float | None, say: Callable[[str], None]) -> None:
        self._ends = None if budget is None else time.monotonic() + budget
        self._say = say
        self._before: dict[int, Any] = {}
        self.signalled = False

    def __enter__(self) -> Self:
        # Only the main thread may listen to signals; elsewhere the budget is all there is.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signalled:
            raise SystemExit(128 + number)
        self.signalled = True
        self._say("Stopping after the request under way; once more stops at once.")

    @property
    def left(self) -> float | None:
        """Seconds of the budget that are left, None without one."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    def __call__(self) -> bool:
        """Say whether it is time to stop."""
        return self.signalled or self.left == 0.0

    def sleep(self, seconds: float) -> bool:
        """Sleep, but not past the time to stop; False when that has come."""
        ends = time.monotonic() + seconds
        while not self():
            rest = ends - time.monotonic()
            if rest <= 0:
                return True
            time.sleep(min(_SLICE, rest))
        return False
