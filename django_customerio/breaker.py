"""The breaker of a workspace: when nobody should send, and who may try first afterwards.

Its row is shared by all workers. It is read once a turn and written only when something
changed: a success after failures, a failure, a refusal, and a sign of life now and then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connections

from .clock import clock_sql
from .lanes import PAUSE_LIMIT, without_waiting
from .models import WorkspaceStatus

FAILURES_BEFORE_PAUSE = 3
"""Requests in a row, over all workers, that fail before the workspace pauses."""

PAUSE_CAP = 30.0
"""Seconds. Two requests a minute hurt nobody, and the backlog waits no longer than that."""

KEY_PAUSE = 300.0
"""Seconds after Customer.io refused the key."""

SETTINGS_PAUSE = 300.0
"""Seconds after an answer that only other settings can change."""

HANDFUL = 5
"""Messages that may die in a row while nothing else is accepted."""

COMPANY = 0.05
"""Seconds from one small request to the next, over all workers of a workspace: without it a
dozen web processes make hundreds of requests a second with two messages each."""

LIFE_SIGN = 5.0
"""Seconds between two notes of success or life, where nothing else needs writing."""


def backoff(failures: int, *, cap: float) -> float:
    """Full jitter: a random wait in seconds, up to two to the power of the failures."""
    return random.uniform(0, min(cap, 2.0 ** min(failures, 20)))  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How the workspace stood at the last look. Instants are the database's milliseconds."""

    now: int
    paused_for: float
    reason: str
    failures: int
    refusals: int
    last_success: int
    heartbeat: int
    slot_in: float
    """Seconds until a small request may start."""


@lru_cache(maxsize=8)
def _table(using: str) -> tuple[str, str]:
    connection = connections[using]
    return connection.ops.quote_name(WorkspaceStatus._meta.db_table), clock_sql(connection)


def look(*, using: str, workspace: str, key_hash: str) -> Gate:
    """Read how the workspace stands. A pause for another API key does not count."""
    table, now = _table(using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {now}, paused_until, pause_reason, paused_key, failures, refusals,"
            f" last_success, heartbeat, slot FROM {table} WHERE workspace = %s",
            [workspace],
        )
        row = cursor.fetchone()
    if row is None:
        WorkspaceStatus.objects.using(using).bulk_create(
            [WorkspaceStatus(workspace=workspace)], ignore_conflicts=True
        )
        return look(using=using, workspace=workspace, key_hash=key_hash)
    clock, until, reason, paused_key, failures, refusals, last_success, heartbeat, slot = row
    ahead = (until - clock) / 1000
    if not 0 < ahead <= PAUSE_LIMIT or (paused_key and paused_key != key_hash):
        ahead = 0.0
    return Gate(
        now=clock,
        paused_for=ahead,
        reason=reason if ahead else "",
        failures=failures,
        refusals=refusals,
        last_success=last_success,
        heartbeat=heartbeat,
        slot_in=(slot - clock) / 1000 if 0 < slot - clock <= COMPANY * 1000 else 0.0,
    )


def take_slot(*, using: str, workspace: str) -> bool:
    """Take the right to the next small request; False when another worker was quicker."""
    table, now = _table(using)
    interval = int(COMPANY * 1000)
    return _execute(
        using,
        # One that lies further ahead than ever given comes from a clock that went back.
        f"UPDATE {table} SET slot = {now} + %s WHERE workspace = %s"
        f" AND (slot <= {now} OR slot > {now} + %s){without_waiting(using)}",
        [interval, workspace, interval],
    )


def try_first(gate: Gate, *, using: str, workspace: str, seconds: float) -> bool:
    """After failures one worker tries alone; the others stay paused until it knows more."""
    table, now = _table(using)
    return _execute(
        using,
        f"UPDATE {table} SET paused_until = {now} + %s, pause_reason = %s, paused_key = ''"
        f" WHERE workspace = %s AND failures = %s AND (paused_until <= {now}"
        f" OR paused_until > {now} + %s OR paused_key <> '')",
        [
            int(seconds * 1000),
            "one worker is trying whether Customer.io answers again",
            workspace,
            gate.failures,
            int(PAUSE_LIMIT * 1000),
        ],
    )


def succeeded(*, using: str, workspace: str) -> None:
    """Note that Customer.io accepted something: failures are over, the pause ends."""
    table, now = _table(using)
    _execute(
        using,
        f"UPDATE {table} SET failures = 0, refusals = 0, paused_until = 0, pause_reason = '',"
        f" paused_key = '', last_success = {now}, heartbeat = {now} WHERE workspace = %s",
        [workspace],
    )


def beat(*, using: str, workspace: str) -> None:
    """Note that a worker is alive."""
    table, now = _table(using)
    _execute(using, f"UPDATE {table} SET heartbeat = {now} WHERE workspace = %s", [workspace])


def failed(*, using: str, workspace: str, reason: str, retry_after: float | None) -> float:
    """Count a request that failed; several in a row pause the workspace.

    Returns:
        Seconds of the pause, 0 when there is none yet.
    """
    count = _count("failures", using=using, workspace=workspace)
    if count < FAILURES_BEFORE_PAUSE and retry_after is None:
        return 0.0
    # The jitter keeps a floor, or a run of small draws would hammer a server in trouble.
    seconds = max(1.0, backoff(count, cap=PAUSE_CAP), min(retry_after or 0.0, KEY_PAUSE))
    pause(using=using, workspace=workspace, reason=reason, seconds=seconds)
    return seconds


def refused(*, using: str, workspace: str) -> bool:
    """Count a message that was refused for good; False when it must not die of that.

    A server that refuses everything is broken, not the messages: after a handful in a row
    without a success the rest stays pending and the workspace pauses.
    """
    return _count("refusals", using=using, workspace=workspace) <= HANDFUL


def pause(*, using: str, workspace: str, reason: str, seconds: float, key_hash: str = "") -> None:
    """Let nobody send for a while, or nobody with this API key."""
    table, now = _table(using)
    _execute(
        using,
        f"UPDATE {table} SET paused_until = {now} + %s, pause_reason = %s, paused_key = %s"
        f" WHERE workspace = %s",
        [int(seconds * 1000), reason[:200], key_hash, workspace],
    )


def _count(column: str, *, using: str, workspace: str) -> int:
    table, _ = _table(using)
    _execute(
        using, f"UPDATE {table} SET {column} = {column} + 1 WHERE workspace = %s", [workspace]
    )
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} WHERE workspace = %s", [workspace])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _execute(using: str, statement: str, parameters: list[Any]) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return bool(cursor.rowcount == 1)
