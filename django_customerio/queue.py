"""Into the outbox, with the caller's transaction.

One plain INSERT on the same database as the change it tells of, so both commit or neither
does. Only the wake-up waits for the commit: losing it costs a moment, never a message. With
``QUEUE = "memory"`` history waits in ``buffer`` first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

from django.db import connections, router, transaction
from django.utils import timezone

from . import buffer, senders
from .cause import current_cause
from .conf import get_settings, get_workspace
from .ids import new_ulid
from .inserts import statement as _statement
from .messages import Identifiers, Message, lane_of
from .models import OutboxMessage
from .signals import message_queued
from .testmode import is_quiet

if TYPE_CHECKING:
    from .mapping import PersonMap

logger = logging.getLogger(__name__)

_MISSING_TABLE_RECHECK = 5.0
"""Seconds until a database without our table is looked at again."""


class Capture(Protocol):
    """Sees what would have been queued in a test run (``django_customerio.testing``)."""

    def add_state(
        self, *, person_map: PersonMap, person: Identifiers, object_pk: str, using: str
    ) -> None: ...

    def add_message(
        self, message: Message, *, using: str, workspace: str, model: str, object_pk: str
    ) -> None: ...


captures: list[Capture] = []
"""Innermost last. Only tests fill it."""


def put_state(*, person_map: PersonMap, person: Identifiers, object_pk: str, using: str) -> None:
    """Queue "look at this person again". Holds no value of the row."""
    settings = get_settings()
    if not settings.enabled:
        return
    if is_quiet():
        for capture in captures[-1:]:
            capture.add_state(
                person_map=person_map, person=person, object_pk=object_pk, using=using
            )
        return
    _insert(
        using,
        _Row(
            workspace=person_map.workspace,
            person=person.key,
            kind=OutboxMessage.Kind.STATE.value,
            model=person_map.label,
            object_pk=object_pk,
        ),
    )


def person_of(message: Message) -> Identifiers:
    """Whose order a message keeps; an invitation, which is for nobody known, has its own."""
    person: Identifiers | None = message.person
    return person or Identifiers("anonymous_id", message.id)  # type: ignore[attr-defined]


def put_message(
    message: Message,
    *,
    using: str,
    workspace: str = "default",
    person: Identifiers | None = None,
    model: str = "",
    object_pk: str = "",
    expires: datetime | timedelta | None = None,
    at_once: bool = False,
) -> None:
    """Queue a message as it is.

    Args:
        person: whose order it keeps; the message's own person by default.
        model: label of the mapped model it is about, so that the map's ``when`` is asked at
            sending.
        object_pk: primary key of that row.
        expires: a moment, or the time from now, after which it is worthless.
        at_once: with this transaction, even if something of the person waits in memory.

    Raises:
        InvalidMessage: the message breaks a limit; nothing was stored.
        QueueFull: with ``QUEUE = "memory"``, there is no room; nothing was stored.
    """
    settings = get_settings()
    if not settings.enabled:
        return
    body = message.as_json()
    if is_quiet():
        for capture in captures[-1:]:
            capture.add_message(
                message, using=using, workspace=workspace, model=model, object_pk=object_pk
            )
        return
    _insert(
        using,
        _Row(
            workspace=workspace,
            person=(person or person_of(message)).key,
            kind=message.kind,
            model=model,
            object_pk=object_pk,
            name=message.name,
            attribute_names=",".join(message.attribute_names),
            body=body,
            size=len(body.encode()),
            ulid=getattr(message, "id", None),
            expires_at=timezone.now() + expires if isinstance(expires, timedelta) else expires,
        ),
        at_once=at_once,
    )


@dataclass(slots=True, kw_only=True)
class _Row:
    workspace: str
    person: str
    kind: str
    model: str = ""
    object_pk: str = ""
    name: str = ""
    attribute_names: str = ""
    body: str = ""
    size: int = 0
    ulid: str | None = None
    expires_at: datetime | None = None


def _insert(using: str, row: _Row, *, at_once: bool = False) -> None:
    if not has_outbox(using):
        return
    connection = connections[using]
    adapt = connection.ops.adapt_datetimefield_value
    ulid = row.ulid or new_ulid()
    values = (
        ulid,
        row.workspace,
        get_workspace(row.workspace).site,
        lane_of(row.person),
        row.person,
        row.kind,
        "pending",
        row.model,
        row.object_pk,
        row.name,
        row.attribute_names,
        row.body,
        row.size,
        adapt(timezone.now()),
        current_cause(),
        adapt(row.expires_at) if row.expires_at is not None else None,
        0,
        0,
        "",
    )
    waits = get_settings().queue == "memory" and not at_once and buffer.put(connection, values)
    if not waits:
        # An error is the caller's to see, for it has spoilt their transaction.
        with connection.cursor() as cursor:
            cursor.execute(_statement(using), values)
    if message_queued.receivers:
        message_queued.send_robust(
            OutboxMessage,
            using=using,
            workspace=row.workspace,
            kind=row.kind,
            ulid=ulid,
        )
    if not waits:
        _wake_on_commit(using)


@cache
def _wake(using: str) -> Callable[[], None]:
    def wake() -> None:
        senders.wake(using)

    return wake


def _wake_on_commit(using: str) -> None:
    connection = connections[using]
    wake = _wake(using)
    if connection.in_atomic_block and connection.run_on_commit:
        # One wake-up a transaction is enough, but only if it shares this message's fate: one
        # registered in a savepoint that is rolled back vanishes with it.
        savepoints, registered, *_ = connection.run_on_commit[-1]
        if registered is wake and savepoints <= set(connection.savepoint_ids):
            return
    if not connection.in_atomic_block and not connection.get_autocommit():
        # The caller commits by hand, which Django does not tell: the sweep finds the row.
        return
    transaction.on_commit(wake, using=using, robust=True)


_tables: dict[str, float] = {}
"""Alias to infinity where the table was seen, else to when it was missed."""


def has_outbox(using: str) -> bool:
    """Say whether the database has our table; asked before the first INSERT, not by failing.

    A failing INSERT would spoil the caller's transaction on PostgreSQL.
    """
    seen = _tables.get(using, -_MISSING_TABLE_RECHECK)
    now = time.monotonic()
    if seen > now:
        return True
    if now - seen < _MISSING_TABLE_RECHECK:
        return False
    databases = get_settings().databases
    if (databases is not None and using not in databases) or not router.allow_migrate_model(
        using, OutboxMessage
    ):
        logger.error(
            "Nothing is queued on database %r: it has no outbox by DATABASES of CUSTOMERIO or "
            "by a router. Route the app django_customerio to it, like the mapped models.",
            using,
        )
        _tables[using] = now
        return False
    if OutboxMessage._meta.db_table in connections[using].introspection.table_names():
        _tables[using] = float("inf")
        return True
    logger.error(
        "Nothing is queued on database %r: it lacks the table %s. Run manage.py migrate.",
        using,
        OutboxMessage._meta.db_table,
    )
    _tables[using] = now
    return False


def forget_tables() -> None:
    """Look at the databases again; for tests and after ``migrate``."""
    _tables.clear()
