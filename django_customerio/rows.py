"""Rows of the outbox as sending needs them, read in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections, router
from django.utils import timezone

from .clock import clock_sql
from .conf import get_settings
from .lanes import PAUSE_LIMIT, Lease
from .models import OutboxMessage


def outbox_aliases() -> tuple[str, ...]:
    """Aliases of the databases that have an outbox."""
    databases = get_settings().databases
    return tuple(
        alias
        for alias in connections
        if (databases is None or alias in databases)
        and router.allow_migrate_model(alias, OutboxMessage)
    )


class Row(NamedTuple):
    """A row of the outbox, as far as sending needs it."""

    id: int
    ulid: str
    lane: int
    person: str
    kind: str
    site: str
    model: str
    object_pk: str
    name: str
    attribute_names: str
    body: str
    attempts: int
    expired: bool
    overdue: bool
    waiting: bool


@lru_cache(maxsize=64)
def _select(using: str, limit: int, lanes: int, closed: int) -> str:
    connection = connections[using]
    quote = connection.ops.quote_name
    now = clock_sql(connection)
    limit_ms = int(PAUSE_LIMIT * 1000)
    open_only = f"AND person NOT IN ({', '.join(['%s'] * closed)})" if closed else ""
    one = f"""
        SELECT id, ulid, lane, person, kind, site, model, object_pk, name, attribute_names, body,
               attempts, CASE WHEN expires_at <= %s THEN 1 ELSE 0 END,
               CASE WHEN first_failed_at <= %s THEN 1 ELSE 0 END,
               CASE WHEN retry_at > {now} AND retry_at <= {now} + {limit_ms} THEN 1 ELSE 0 END
          FROM {quote(OutboxMessage._meta.db_table)}
         WHERE workspace = %s AND lane = %s AND state = 'pending' {open_only}
         ORDER BY workspace, lane, state, id LIMIT {limit:d}"""
    if lanes == 1:
        return one
    # Each lane by its own walk of the index; one ORDER BY over several would sort them all.
    return " UNION ALL ".join(f"SELECT * FROM ({one}) AS lane{n}" for n in range(lanes))


def read(
    leases: Sequence[Lease], *, using: str, workspace: str, limit: int, patience: float
) -> list[Row]:
    """Read the first rows of leased lanes, in order, in one statement.

    Those of people whose messages have to wait are left out, or they would fill what is read
    and keep their neighbours from being sent. Floors do not count here: a transaction that took
    long may have committed below them, and what follows of its people must come after it.

    Args:
        limit: rows of each lane.
        patience: seconds from its first failure after which a row is overdue.
    """
    adapt = connections[using].ops.adapt_datetimefield_value
    now = timezone.now()
    moments = [adapt(now), adapt(now - timedelta(seconds=patience))]
    closed = sorted({person for lease in leases for person in lease.closed})
    parameters: list[Any] = []
    for lease in leases:
        parameters += [*moments, workspace, lease.number, *closed]
    with connections[using].cursor() as cursor:
        cursor.execute(_select(using, limit, len(leases), len(closed)), parameters)
        rows = [Row._make(row) for row in cursor.fetchall()]
    if len(leases) > 1:
        rows.sort(key=_by_id)
    return rows


def _by_id(row: Row) -> int:
    return row.id
