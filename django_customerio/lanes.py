"""Lanes: who may send whose messages.

The people of a workspace are spread over 64 lanes. A lane is one small row, and whoever
wins one conditional UPDATE on it may send that lane's messages, lowest id first, until the
lease ends. So one person's messages keep their order, no message row is touched to claim
it, and a dead worker's lane frees itself. The same statements work on every database.

Each statement touches one lane and commits by itself: several lanes in one UPDATE would
deadlock with a neighbour who takes them in another order.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import connections

from .clock import clock_sql
from .identifiers import LANES
from .models import Lane, OutboxMessage

LEASE_LIMIT = 600.0
"""Seconds. A lease that ends later than this from now comes from a broken clock."""

PAUSE_LIMIT = 3600.0
"""Seconds, the same for pauses."""


FLOOR_SLACK = 1000
"""Ids below the last one done at which a look still begins: neighbours may commit in another
order than they counted. What commits later than that is found by a sweep."""


def floor_below(message_id: int) -> int:
    """Where the next look begins when everything below this id is done."""
    return max(0, message_id - 1 - FLOOR_SLACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """A lane as a look at the table found it."""

    id: int
    number: int
    epoch: int
    token: str
    failures: int
    failing_since: int
    lapses: int
    floor: int
    first_id: int | None
    """The lowest pending message, or None."""
    busy_for: float
    """Seconds until another worker's lease ends; 0 when free."""
    paused_for: float
    """Seconds until its pause ends; 0 when not paused."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """A lane that this worker holds. Times are of this process's monotonic clock."""

    id: int
    number: int
    epoch: int
    token: str
    floor: int
    failures: int
    failing_since: int
    lapses: int
    ends: float
    pause: float = 0.0
    """Seconds the lane shall wait after its release."""
    closed: set[str] = field(default_factory=set)
    """People whose messages must not be looked at again before the release."""

    def outlasts(self, seconds: float) -> bool:
        """Say whether the lease still holds in that many seconds."""
        return self.ends - time.monotonic() > seconds


@dataclass(frozen=True, slots=True)
class _Statements:
    look: str
    lease: str
    renew: str
    release: str


def without_waiting(using: str) -> str:
    """A condition that makes PostgreSQL commit its statement without waiting for the disk.

    For leases and their like: a server that crashes and forgets one has cut off its owner as
    well. What is renewed or settled later waits, and takes it along.
    """
    if connections[using].vendor != "postgresql":
        return ""
    return " AND set_config('synchronous_commit', 'off', true) = 'off'"


@lru_cache(maxsize=8)
def _statements(using: str) -> _Statements:
    connection = connections[using]
    quote = connection.ops.quote_name
    lane, outbox = quote(Lane._meta.db_table), quote(OutboxMessage._meta.db_table)
    now = clock_sql(connection)
    mine = "id = %s AND epoch = %s AND token = %s"
    soon = without_waiting(using)
    return _Statements(
        # A scalar subquery, for it stays 64 probes of the index: an EXISTS may be turned into
        # a join that reads the whole backlog.
        look=f"""
            SELECT l.id, l.number, l.epoch, l.token, l.failures, l.failing_since, l.lapses,
                   l.floor, l.leased_until, l.paused_until, {now},
                   (SELECT o.id FROM {outbox} o
                     WHERE o.workspace = l.workspace AND o.lane = l.number
                       AND o.state = 'pending' AND o.id > l.floor * %s
                     ORDER BY o.workspace, o.lane, o.state, o.id LIMIT 1)
              FROM {lane} l WHERE l.workspace = %s ORDER BY l.number""",
        lease=f"""
            UPDATE {lane} SET epoch = epoch + 1, token = %s, leased_until = {now} + %s,
                   lapses = %s
             WHERE {mine} AND (leased_until <= {now} OR leased_until > {now} + %s){soon}""",
        renew=f"UPDATE {lane} SET leased_until = {now} + %s, floor = %s WHERE {mine}",
        release=f"""
            UPDATE {lane} SET token = '', leased_until = 0, paused_until = {now} + %s,
                   floor = %s, failures = %s, failing_since = %s, lapses = %s
             WHERE {mine}{soon}""",
    )


def create(*, using: str, workspace: str) -> None:
    """Make the lanes of a workspace; those that exist stay."""
    Lane.objects.using(using).bulk_create(
        [Lane(workspace=workspace, number=number) for number in range(LANES)],
        ignore_conflicts=True,
    )


def look(*, using: str, workspace: str, sweep: bool = False) -> list[LaneView]:
    """Find the lanes and the first pending message of each, in one statement.

    Args:
        sweep: start from zero instead of from each lane's floor. A transaction may commit a
            lower id after a higher one was sent; only a sweep is sure to see it.
    """
    statement = _statements(using).look
    with connections[using].cursor() as cursor:
        cursor.execute(statement, [0 if sweep else 1, workspace])
        rows = cursor.fetchall()
    if len(rows) < LANES:
        create(using=using, workspace=workspace)
        return look(using=using, workspace=workspace, sweep=sweep)
    return [
        LaneView(
            id=id_,
            number=number,
            epoch=epoch,
            token=token,
            failures=failures,
            failing_since=failing_since,
            lapses=lapses,
            floor=floor,
            first_id=first_id,
            busy_for=_ahead(leased_until, now, LEASE_LIMIT) if token else 0.0,
            paused_for=_ahead(paused_until, now, PAUSE_LIMIT),
        )
        for id_, number, epoch, token, failures, failing_since, lapses, floor, leased_until,
        paused_until, now, first_id in rows
    ]  # fmt: skip


def _ahead(until: int, now: int, limit: float) -> float:
    """Seconds from ``now`` to ``until``; what lies too far ahead counts as over."""
    seconds = (until - now) / 1000
    return seconds if 0 < seconds <= limit else 0.0


def lease(view: LaneView, *, using: str, seconds: float) -> Lease | None:
    """Take a lane for some seconds, or None when another worker was quicker."""
    token = secrets.token_hex(16)
    taken = time.monotonic()
    # A token left behind tells that its owner died, or slept past its lease.
    lapses = view.lapses + 1 if view.token else view.lapses
    won = _execute(
        using,
        _statements(using).lease,
        [token, _ms(seconds), lapses, view.id, view.epoch, view.token, _ms(LEASE_LIMIT)],
    )
    if not won:
        return None
    return Lease(
        id=view.id,
        number=view.number,
        epoch=view.epoch + 1,
        token=token,
        floor=view.floor if view.first_id is None else floor_below(view.first_id),
        failures=view.failures,
        failing_since=view.failing_since,
        lapses=lapses,
        ends=taken + seconds,
    )


def renew(lease: Lease, *, using: str, seconds: float) -> bool:
    """Hold a lane for some seconds more; False when it belongs to somebody else by now."""
    taken = time.monotonic()
    kept = _execute(
        using,
        _statements(using).renew,
        [_ms(seconds), lease.floor, lease.id, lease.epoch, lease.token],
    )
    if kept:
        lease.ends = taken + seconds
    return kept


def release(leases: Iterable[Lease], *, using: str) -> None:
    """Give lanes back, in order of their numbers. One that was lost is left alone."""
    for lease in sorted(leases, key=lambda lease: lease.number):
        _execute(
            using,
            _statements(using).release,
            [
                _ms(lease.pause),
                lease.floor,
                lease.failures,
                lease.failing_since,
                lease.lapses,
                lease.id,
                lease.epoch,
                lease.token,
            ],
        )


def _execute(using: str, statement: str, parameters: list[Any]) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return bool(cursor.rowcount == 1)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
