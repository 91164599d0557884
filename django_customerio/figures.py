"""How the outbox fares: what waits, what died, what is paused, when it last went well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from .clock import DatabaseClock
from .lanes import PAUSE_LIMIT
from .models import Lane, OutboxMessage, WorkspaceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one workspace on one database. Ages and pauses are seconds."""

    database: str
    workspace: str
    pending: int = 0
    held: int = 0
    dead: int = 0
    oldest_pending_age: float | None = None
    """How long ago the oldest pending message was said; None without one."""
    paused_lanes: int = 0
    paused_for: float | None = None
    """How long the whole workspace still pauses; None if it does not."""
    pause_reason: str = ""
    last_success: float | None = None
    """How long ago Customer.io last accepted something; None if never."""
    heartbeat: float | None = None
    """How long ago a worker last looked for work; None if never."""

    @property
    def waiting(self) -> int:
        """All that is in the outbox."""
        return self.pending + self.held + self.dead


def read_figures(using: str, workspaces: Iterable[str]) -> list[Figures]:
    """Read the figures of a database in four statements.

    Args:
        using: alias of the database.
        workspaces: aliases to list even if nothing was ever said there. Others that have
            messages are listed too, for those would be overlooked.
    """
    found: dict[str, dict[str, Any]] = {alias: {} for alias in workspaces}
    _count(using, found)
    _read_lanes(using, found)
    _read_status(using, found)
    return [
        Figures(database=using, workspace=workspace, **values)
        for workspace, values in found.items()
    ]


def _count(using: str, found: dict[str, dict[str, Any]]) -> None:
    # Reads nothing but the index of the lanes.
    counts = (
        OutboxMessage.objects.using(using)
        .order_by()
        .values_list("workspace", "state")
        .annotate(Count("id"), Min("id"))
    )
    oldest = []
    for workspace, state, count, first in counts:
        found.setdefault(workspace, {})[state] = count
        if state == OutboxMessage.State.PENDING:
            oldest.append(first)
    ages = (
        OutboxMessage.objects.using(using)
        .order_by()
        .filter(pk__in=oldest)
        .values_list("workspace", "created_at")
    )
    now = timezone.now()
    for workspace, created in ages:
        found[workspace]["oldest_pending_age"] = max(0.0, (now - created).total_seconds())


_PAUSED = Q(
    paused_until__gt=DatabaseClock(),
    paused_until__lte=DatabaseClock() + int(PAUSE_LIMIT * 1000),
)


def _read_lanes(using: str, found: dict[str, dict[str, Any]]) -> None:
    lanes = (
        Lane.objects.using(using)
        .order_by()
        .values_list("workspace")
        .annotate(paused=Count("id", filter=_PAUSED))
    )
    for workspace, paused in lanes:
        if workspace in found:
            found[workspace]["paused_lanes"] = paused


def _read_status(using: str, found: dict[str, dict[str, Any]]) -> None:
    for status in WorkspaceStatus.objects.using(using).annotate(now=DatabaseClock()):
        values = found.get(status.workspace)
        if values is None:
            continue
        ahead = (status.paused_until - status.now) / 1000
        if 0 < ahead <= PAUSE_LIMIT:
            values["paused_for"] = ahead
            values["pause_reason"] = status.pause_reason
        for name in ("last_success", "heartbeat"):
            instant = getattr(status, name)
            if instant:
                values[name] = max(0.0, (status.now - instant) / 1000)
