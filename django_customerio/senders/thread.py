"""A thread of the web process itself: works after ``pip install``.

It starts with the first request or the first commit of a process, never at import, so that
servers that fork have forked by then; it knows its process by the pid, since some servers
skip the hooks of a fork. At exit it gives its lanes back and sends no more.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time

from django.db import Error as DatabaseError
from django.db import connections

from django_customerio import delivery
from django_customerio.conf import get_settings

from .base import Sender
from .immediate import ImmediateSender

logger = logging.getLogger(__name__)

SWEEP = 5.0
"""Seconds between two looks without a wake-up; they find what a lost one left."""

RECONNECT = 0.5
"""Seconds until the next look after the database failed."""

EXIT_WAIT = 3.0
"""Seconds that the end of the process waits for the request under way."""


class ThreadSender(Sender):
    """One draining thread per process, woken after each commit."""

    def __init__(self) -> None:
        # One a process: a fork may happen while a thread that is not in the child holds it.
        self._locks: dict[int, threading.Lock] = {}
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._caller = ImmediateSender()
        self._forget_process()

    def _forget_process(self) -> None:
        self._wakes: dict[str, bool] = {}
        self._news = threading.Event()
        self._closing = threading.Event()

    @property
    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    @property
    def is_alive(self) -> bool:
        """Whether the thread of this process runs."""
        return self._pid == os.getpid() and self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to drain, with a look for what an earlier process left."""
        if not self.is_alive:
            for alias in delivery.outbox_aliases():
                if not needs_caller(alias):
                    self.wake(alias, sweep=True)

    def wake(self, using: str, *, sweep: bool = False) -> None:
        """Have the thread look at a database."""
        if needs_caller(using):
            self._caller.wake(using, sweep=sweep)
            return
        self._start_thread()
        # One operation, safe beside the thread that takes the wakes away.
        self._wakes[using] = sweep or self._wakes.get(using, False)
        self._news.set()

    def _start_thread(self) -> None:
        if self.is_alive:
            return
        with self._lock:
            if self.is_alive or _process_ends():
                return
            # After a fork the old events may be locked by a thread that is not here.
            self._forget_process()
            self._pid = os.getpid()
            self._thread = threading.Thread(
                target=self._run,
                args=(self._closing, self._news),
                name="django_customerio",
                daemon=True,
            )
            self._thread.start()
            atexit.register(self.close)

    def close(self) -> None:
        """End the thread: it finishes its request and gives its lanes back."""
        if not self.is_alive:
            return
        self._closing.set()
        self._news.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EXIT_WAIT)

    def _run(self, closing: threading.Event, news: threading.Event) -> None:
        pause = SWEEP
        swept = time.monotonic()
        try:
            while not closing.is_set():
                woken = news.wait(pause)
                news.clear()
                if closing.is_set():
                    break
                wakes = self._take_wakes()
                if not woken or time.monotonic() - swept >= SWEEP:
                    swept = time.monotonic()
                    wakes = {
                        alias: True
                        for alias in delivery.outbox_aliases()
                        if not needs_caller(alias)
                    }
                pause = self._drain(wakes, closing)
        finally:
            connections.close_all()

    def _take_wakes(self) -> dict[str, bool]:
        wakes: dict[str, bool] = {}
        while self._wakes:
            alias, sweep = self._wakes.popitem()
            wakes[alias] = sweep
        return wakes

    def _drain(self, wakes: dict[str, bool], closing: threading.Event) -> float:
        """Drain databases; returns the seconds until another look is worth while."""
        pause = SWEEP * random.uniform(0.8, 1.2)  # noqa: S311
        for alias, sweep in wakes.items():
            for workspace in get_settings().workspaces:
                try:
                    report = delivery.drain(
                        using=alias,
                        workspace=workspace,
                        # The others want their turn, too.
                        budget=SWEEP,
                        should_stop=closing.is_set,
                        sweep=sweep,
                        company=True,
                    )
                except DatabaseError as error:
                    # The class only: what a driver says may quote values.
                    logger.warning(
                        "The database %r failed while its outbox was drained (%s); the next "
                        "look tries again.",
                        alias,
                        type(error).__name__,
                    )
                    connections[alias].close()
                    pause = min(pause, RECONNECT)
                except Exception as error:
                    logger.error(
                        "Draining the outbox of %r failed (%s); the next look tries again.",
                        alias,
                        type(error).__name__,
                    )
                else:
                    if report.outcome == "stopped":
                        pause = 0.0
                    elif report.resume_in is not None:
                        pause = min(pause, max(0.1, report.resume_in))
        return pause


def needs_caller(alias: str) -> bool:
    """Whether a thread of its own would break requests on this database.

    On SQLite without ``transaction_mode = "IMMEDIATE"`` a transaction of the site that reads
    and then writes fails at once when another connection wrote in between.
    """
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return False
    mode = (connection.settings_dict.get("OPTIONS") or {}).get("transaction_mode") or ""
    return str(mode).upper() not in ("IMMEDIATE", "EXCLUSIVE")


def _process_ends() -> bool:
    """Whether the interpreter is going down and starts no thread any more."""
    return not threading.main_thread().is_alive()
