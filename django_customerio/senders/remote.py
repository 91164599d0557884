"""What the senders have in common whose work is done by a task queue's workers.

A message says only "look at this database". What there is to send stands in the outbox, so a
message that is lost, late or repeated costs a moment and never a message of the site.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections

from django_customerio import delivery, senders
from django_customerio.conf import get_settings
from django_customerio.exceptions import CustomerIOError

from .base import Sender

logger = logging.getLogger(__name__)

BUDGET = 25.0
"""Seconds after which a task begins no new batch: below the usual time limits of task queues,
and below the time that a stopping worker is usually given."""

WINDOW = 1.0
"""Seconds in which one process asks for one look at a database, however much it commits."""

MARGIN = 0.5
"""Seconds that a delayed look comes later than promised, for clocks that do not agree."""

REST = 15.0
"""Seconds in which a process does not try a broker again that failed."""

RECONNECT = 5.0
"""Seconds until the next look after the database failed."""


class Looks:
    """The looks that this process has asked for, so that not every commit asks.

    The first wake-up after a pause goes out at once. One that comes within WINDOW after it
    asks for a look at the window's end, and all further ones until that moment are covered by
    it. So each commit is followed by a look, which is asked for before or right after it, and
    no timer of this process has to live on for it: the broker keeps the delayed message.

    Times are of this process's monotonic clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, bool], list[float]] = {}

    def claim(self, using: str, *, sweep: bool, delay: float = 0.0) -> float | None:
        """Decide over one look.

        Returns:
            Seconds after which the look is to happen, or None where one that was asked for
            before comes late enough, and not much too late.
        """
        now = time.monotonic()
        with self._lock:
            asked = self._asked.get((using, sweep), [])
            # A look that begins now may have read before this commit.
            ahead = [at for at in asked if at > now]
            if any(at <= now + delay + WINDOW for at in ahead):
                return None
            past = [at for at in asked if at <= now][-1:]
            at = max([now + delay, *(each + WINDOW for each in past)])
            self._asked[using, sweep] = [*past, *sorted([*ahead, at])]
        return at - now

    def forget(self, using: str, *, sweep: bool) -> None:
        """A message did not get through: nothing that was asked for counts."""
        with self._lock:
            self._asked.pop((using, sweep), None)


class Process:
    """What belongs to one process: a forked child inherits none of it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.looks = Looks()
        self.lock = threading.Lock()
        self.started = False
        self.rests_until = 0.0


class RemoteSender(Sender):
    """Asks workers elsewhere to look at the outbox."""

    process_class: type[Process] = Process

    def __init__(self) -> None:
        self._process = self.process_class()

    @property
    def process(self) -> Process:
        """The state of this process, by its pid, since some servers skip the hooks of a fork."""
        process = self._process
        if process.pid != os.getpid():
            # Two threads may both make one: that costs one message more.
            process = self._process = self.process_class()
        return process

    def can_delay(self) -> bool:
        """Whether the queue takes messages for later."""
        return True

    def send(self, using: str, *, sweep: bool, delay: float) -> None:
        """Publish one message.

        Args:
            delay: seconds before which the look must not begin.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Ask once for a look at everything, for what an earlier process left."""
        process = self.process
        if not process.started:
            process.started = True
            for alias in delivery.outbox_aliases():
                self.ask(alias, sweep=True)

    def wake(self, using: str, *, sweep: bool = False) -> None:
        """Ask for a look, unless one is coming."""
        self.ask(using, sweep=sweep)

    def ask(self, using: str, *, sweep: bool, delay: float = 0.0) -> None:
        """Ask for a look in some seconds, unless one is coming. Raises nothing."""
        process = self.process
        if self.is_resting():
            return
        try:
            self.validate()
            if self.can_delay():
                wait = process.looks.claim(using, sweep=sweep, delay=delay)
            else:
                # Without a later look to rely on, each wake-up goes out.
                wait = None if delay else 0.0
            if wait is not None:
                self.send(using, sweep=sweep, delay=wait + MARGIN if wait else 0.0)
        except Exception as error:
            self.rest()
            process.looks.forget(using, sweep=sweep)
            logger.error(
                "No worker could be told to look at the outbox of %r; what was committed waits "
                "in it for the sweep: %s",
                using,
                _say(error),
            )

    def rest(self) -> None:
        """The broker failed."""
        self.process.rests_until = time.monotonic() + REST

    def is_resting(self) -> bool:
        """Whether the broker failed so lately that requests should not wait for it again."""
        return time.monotonic() < self.process.rests_until


def work(using: str, *, sweep: bool, budget: float = BUDGET) -> None:
    """Drain one database, in a worker, and ask for another look where one is needed."""
    if using not in delivery.outbox_aliases():
        logger.error("A message names a database that has no outbox here; it is dropped.")
        return
    delay = _drain(using, sweep=sweep, budget=budget)
    sender = senders.get_sender()
    # With another sender only the sweep works here, and it comes again by itself.
    if delay is not None and isinstance(sender, RemoteSender):
        sender.ask(using, sweep=sweep, delay=delay)


def work_everywhere() -> None:
    """Look at everything: the guarantee behind messages that may be lost."""
    aliases = delivery.outbox_aliases()
    for alias in aliases:
        work(alias, sweep=True, budget=BUDGET / len(aliases))


def _drain(using: str, *, sweep: bool, budget: float) -> float | None:
    """Drain all workspaces; returns the seconds until another look is worth while, if one is."""
    ends = time.monotonic() + budget
    delays = []
    workspaces = list(get_settings().workspaces)
    for position, workspace in enumerate(workspaces):
        # Each has its share, or a large backlog of the first would starve the others.
        left = max(0.0, ends - time.monotonic()) / (len(workspaces) - position)
        try:
            report = delivery.drain(using=using, workspace=workspace, budget=left, sweep=sweep)
        except DatabaseError as error:
            # The class only: what a driver says may quote values.
            logger.warning(
                "The database %r failed while its outbox was drained (%s); a later look tries "
                "again.",
                using,
                type(error).__name__,
            )
            connections[using].close()
            delays.append(RECONNECT)
        except Exception as error:
            logger.error(
                "Draining the outbox of %r failed; the next sweep tries again: %s",
                using,
                _say(error),
            )
        else:
            if report.outcome == "stopped":
                delays.append(0.0)
            elif report.resume_in is not None:
                delays.append(report.resume_in)
    return min(delays, default=None)


def _say(error: Exception) -> str:
    """Foreign errors may quote values, and brokers' their addresses: only the name of those."""
    is_ours = isinstance(error, CustomerIOError | ImproperlyConfigured)
    return str(error) if is_ours else type(error).__name__
