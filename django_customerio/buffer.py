"""``QUEUE = "memory"``: history waits here, for many rows to share one INSERT.

It stands between the commit and the outbox, and sends nothing itself, so order, erase and
delivery stay one path. Its price is what a SIGKILL finds in it.

Only what is worth no statement of its own waits (``LIGHT``). Everything else goes into the
outbox with the caller's transaction as ever, unless something of the same person still waits
here: then it queues up behind that, and the commit writes both.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .inserts import KIND, PERSON, WORKSPACE, Values
from .senders.thread import needs_caller
from .writer import Writer, of_person

logger = logging.getLogger(__name__)

LIGHT = frozenset({"event", "anonymous_event", "page", "screen"})
"""Kinds that wait here."""


class _Process:
    """What one process has, made anew in each that was forked."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.writers: dict[str, Writer | None] = {}
        self.is_ending = False


_process = _Process()


def _this_process() -> _Process:
    # By the pid, for some servers skip the hooks of a fork. What waits in the parent is the
    # parent's to write.
    global _process
    if _process.pid != os.getpid():
        _process = _Process()
    return _process


def _writer(using: str) -> Writer | None:
    """The writer of a database; None where writes of another thread would break requests."""
    process = _this_process()
    try:
        return process.writers[using]
    except KeyError:
        return _make_writer(process, using)


def _make_writer(process: _Process, using: str) -> Writer | None:
    with process.lock:
        if not process.writers:
            _listen()
        made = None if needs_caller(using) else Writer(using, is_ending=process.is_ending)
        return process.writers.setdefault(using, made)


def _listen() -> None:
    """Hear of the end of this process.

    ``multiprocessing`` runs its finalizers at the end of its children, in which nothing else
    runs, and by ``atexit`` everywhere. A child of Celery's runs neither, but says goodbye.
    """
    Finalize(None, _end, exitpriority=100)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        celery.worker_process_shutdown.connect(
            _end, weak=False, dispatch_uid="django_customerio.buffer"
        )


def _end(**kwargs: object) -> None:
    """From now on nothing waits."""
    process = _this_process()
    process.is_ending = True
    for writer in _writers():
        writer.is_ending = True
        writer.close()


def _writers() -> list[Writer]:
    return [writer for writer in list(_this_process().writers.values()) if writer is not None]


class _Pending:
    """Rows of one savepoint, until the commit."""

    __slots__ = ("at_once", "rows", "writer")

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.rows: list[Values] = []
        self.at_once = False

    def commit(self) -> None:
        """Hand them to the writer. A method, for Django names a callback that fails."""
        self.writer.add(self.rows, at_once=self.at_once)


def _registered(callback: object) -> _Pending | None:
    """What a callback of a transaction holds, if it is one of ours."""
    owner = getattr(callback, "__self__", None)
    return owner if isinstance(owner, _Pending) else None


def put(connection: BaseDatabaseWrapper, row: Values) -> bool:
    """Take a row with the caller's transaction, or leave it to the caller to insert.

    Returns:
        Whether it was taken.

    Raises:
        QueueFull: there is no room; nothing was queued.
    """
    writer = _writer(connection.alias)
    in_transaction = connection.in_atomic_block
    if writer is None or not (in_transaction or _commits_itself(connection)):
        return False
    is_light = row[KIND] in LIGHT
    if not (is_light or _waiting(connection, writer, row[WORKSPACE], row[PERSON])):
        return False
    writer.admit(in_transaction=in_transaction)
    if not in_transaction:
        writer.add((row,), at_once=not is_light)
        return True
    pending = _pending(connection, writer)
    pending.rows.append(row)
    if not is_light:
        pending.at_once = True
    return True


def _commits_itself(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is in autocommit mode, without connecting to find out.

    Code that commits by hand does not tell Django, and so not us.
    """
    if connection.connection is None:
        return bool(connection.settings_dict["AUTOCOMMIT"])
    return connection.autocommit


def _pending(connection: BaseDatabaseWrapper, writer: Writer) -> _Pending:
    """What shares the fate of a row that is said now, and was registered last."""
    if connection.run_on_commit:
        savepoints, callback, *_ = connection.run_on_commit[-1]
        registered = _registered(callback)
        if registered is not None and savepoints == set(connection.savepoint_ids):
            return registered
    pending = _Pending(writer)
    transaction.on_commit(pending.commit, using=connection.alias, robust=True)
    return pending


def _waiting(
    connection: BaseDatabaseWrapper, writer: Writer, workspace: str, person: str
) -> set[str]:
    """The ULIDs of what waits of one person, here or for the commit of this transaction."""
    found = writer.of_person(workspace, person)
    for _, callback, *_ in connection.run_on_commit:
        registered = _registered(callback)
        if registered is not None:
            found |= of_person(registered.rows, workspace, person)
    return found


def cancel(*, using: str, workspace: str, person: str) -> None:
    """Forget, with the transaction that is open, what waits of one person in this process."""
    writer = _this_process().writers.get(using)
    if writer is None:
        return
    ulids = _waiting(connections[using], writer, workspace, person)
    if ulids:
        transaction.on_commit(_remover(writer, ulids, workspace, person), using=using, robust=True)


def _remover(writer: Writer, ulids: set[str], workspace: str, person: str) -> Callable[[], None]:
    def remove() -> None:
        try:
            writer.remove(ulids, workspace, person)
        except DatabaseError as error:
            logger.error(
                "What was written of somebody while they were erased could not be removed from "
                "the outbox of %r (%s). Say erase() again.",
                writer.using,
                type(error).__name__,
            )

    return remove


def flush() -> int:
    """Write all that waits in this process.

    Inside a transaction it would share its fate, so there a thread does it, soon.

    Returns:
        How many messages still wait.
    """
    found = [writer for writer in _writers() if writer.rows]
    for writer in found:
        connection = connections[writer.using]
        if connection.in_atomic_block or not _commits_itself(connection):
            writer.hand_over()
        else:
            writer.write()
    return sum(len(writer.rows) for writer in found)


def close() -> None:
    """Write all that waits, and end the threads. What is said later begins anew."""
    for writer in _writers():
        writer.close()
