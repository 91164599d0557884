"""What waits in memory for one database, and the thread that writes it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable

from django.db import DataError, IntegrityError, connections

from . import senders
from .conf import get_settings
from .exceptions import QueueFull
from .inserts import KIND, PERSON, ULID, WORKSPACE, Values, chunks, insert
from .messages import lane_of
from .models import OutboxMessage

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LAST_PAUSE = 30.0
"""Seconds until the next attempt after the database failed; doubled from one to the other."""

EXIT_WAIT = 10.0
"""Seconds that the end of a process waits for the last write."""

_REFUSED = (DataError, IntegrityError, ValueError)
"""What a database, or its driver, says of a row that it will never take."""


class Writer:
    """Holds rows that are committed, in order, and writes them to the outbox.

    Args:
        using: alias of the database.
        is_ending: the process ends, so that no thread may start and nothing may wait.
    """

    def __init__(self, using: str, *, is_ending: bool = False) -> None:
        self.using = using
        self.rows: deque[Values] = deque()
        self.is_ending = is_ending
        self.retry_at = 0.0
        self._seconds = get_settings().memory_seconds
        self._pause = FIRST_PAUSE
        # Both may be entered again by a signal handler, or a wrapper of the INSERT, that tracks.
        self._lock = threading.RLock()
        self._writing = threading.RLock()
        self._is_writing = False
        self._news = threading.Event()
        self._enough = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, rows: Iterable[Values], *, at_once: bool = False) -> None:
        """Take committed rows; *at_once* writes them before it returns, if the database can."""
        settings = get_settings()
        self._seconds = settings.memory_seconds
        with self._lock:
            self.rows.extend(rows)
            count = len(self.rows)
        if not self._news.is_set():
            self._news.set()
            at_once = not self._is_served() or at_once
        if count >= settings.memory_size and not self._enough.is_set():
            self._enough.set()
        if at_once or (count >= settings.memory_limit and not self.is_resting):
            self.write()

    @property
    def is_resting(self) -> bool:
        """Whether the database failed so lately that another attempt is no use."""
        return time.monotonic() < self.retry_at

    def admit(self, *, in_transaction: bool) -> None:
        """Make room for one more.

        Raises:
            QueueFull: there is none, and the database does not take what waits.
        """
        settings = get_settings()
        if len(self.rows) < settings.memory_limit:
            return
        # Inside of a transaction it cannot be written here, or it would share its fate; the
        # commit does it, as long as the database is well.
        if self.is_resting or not (in_transaction or self.write()):
            raise QueueFull(
                f"Nothing was queued: {len(self.rows):,} messages wait in memory, and the "
                f"database {self.using!r} does not take them. Look into why, or raise "
                f"{settings.path('MEMORY_LIMIT')}."
            )

    def of_person(self, workspace: str, person: str) -> set[str]:
        """The ULIDs of what waits of one person."""
        with self._lock:
            rows = list(self.rows)
        return of_person(rows, workspace, person)

    def remove(self, ulids: set[str], workspace: str, person: str) -> None:
        """Forget rows of one person, also where they were written in the meantime."""
        with self._writing:
            with self._lock:
                kept = [row for row in self.rows if row[ULID] not in ulids]
                gone = len(self.rows) - len(kept)
                self.rows.clear()
                self.rows.extend(kept)
            if gone < len(ulids):
                OutboxMessage.objects.using(self.using).filter(
                    lane=lane_of(person), workspace=workspace, person=person, ulid__in=ulids
                ).delete()

    def write(self) -> bool:
        """Write all that waits, in this thread, outside of any transaction.

        Returns:
            Whether nothing is left of what waited. An error is logged, and keeps it here.
        """
        with self._writing:
            if self._is_writing:
                return False
            self._is_writing = True
            try:
                written = self._write()
            except Exception as error:
                self._rest(error)
                return False
            finally:
                self._is_writing = False
            self.retry_at, self._pause = 0.0, FIRST_PAUSE
        if written:
            senders.wake(self.using)
        return True

    def _write(self) -> int:
        with self._lock:
            rows = list(self.rows)
        for chunk in chunks(self.using, rows):
            try:
                insert(self.using, chunk)
            except _REFUSED:
                for row in chunk:
                    self._write_alone(row)
            else:
                self._forget(len(chunk))
        return len(rows)

    def _write_alone(self, row: Values) -> None:
        try:
            insert(self.using, [row])
        except _REFUSED as error:
            logger.error(
                "The database %r refuses a message of kind %r (%s), which is lost.",
                self.using,
                row[KIND],
                type(error).__name__,
            )
        self._forget(1)

    def _forget(self, count: int) -> None:
        with self._lock:
            for _ in range(count):
                self.rows.popleft()

    def _rest(self, error: Exception) -> None:
        pause = self._pause * random.uniform(0.8, 1.2)  # noqa: S311
        self.retry_at = time.monotonic() + pause
        self._pause = min(2 * self._pause, LAST_PAUSE)
        # The class only: what a driver says may quote values.
        logger.warning(
            "%d messages wait in memory, for the database %r failed (%s); the next attempt is in "
            "%.1f s.",
            len(self.rows),
            self.using,
            type(error).__name__,
            pause,
        )

    def hand_over(self) -> None:
        """Have the thread write soon."""
        self._news.set()
        self._enough.set()
        self._is_served()

    def _is_served(self) -> bool:
        """Whether a thread cares for what waits; starts it."""
        with self._lock:
            # At its end the interpreter starts no thread any more.
            ends = self.is_ending or not threading.main_thread().is_alive()
            if self._thread is None and not ends:
                thread = threading.Thread(
                    target=self._run, name=f"django_customerio buffer {self.using}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system has no room for one more
                    self._news.clear()
                    return False
                self._thread = thread
            if self._thread is None:
                self._news.clear()
            return self._thread is not None

    def _run(self) -> None:
        try:
            while True:
                if not self._news.wait(self._seconds):
                    # On a site that is quiet no connection of ours stays open.
                    connections.close_all()
                    self._news.wait()
                self._enough.wait(self._seconds)
                self._news.clear()
                self._enough.clear()
                is_last = self._closing.is_set()
                done = self.write()
                if is_last:
                    return
                if not done:
                    connections[self.using].close()
                    self._closing.wait(max(0.0, self.retry_at - time.monotonic()))
                    self._news.set()
                    self._enough.set()
        finally:
            connections.close_all()

    def close(self) -> None:
        """Write what waits and end the thread. What is added later begins anew."""
        thread = self._thread
        if thread is not None:
            self._closing.set()
            self._news.set()
            self._enough.set()
            thread.join(EXIT_WAIT)
        if thread is None or not thread.is_alive():
            with self._lock:
                self._thread = None
                for event in (self._closing, self._news, self._enough):
                    event.clear()
            # Added while the thread was ending, or where none could start.
            if self.rows and not self.is_resting:
                self.write()
        if self.rows:
            logger.error(
                "%d messages still wait in memory for the database %r; they are lost if the "
                "process ends now.",
                len(self.rows),
                self.using,
            )


def of_person(rows: Iterable[Values], workspace: str, person: str) -> set[str]:
    """The ULIDs of the rows of one person."""
    return {row[ULID] for row in rows if row[PERSON] == person and row[WORKSPACE] == workspace}
