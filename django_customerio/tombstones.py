"""Tombstones: people who were deleted or merged, while something older may be on its way.

What of them commits late is discarded, and the delete is said once more when no request that
was under way can be applied any longer, unless something newer was said of the person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.db.models import QuerySet

from .batches import Item, merged_away
from .clock import DatabaseClock
from .identifiers import lane_of
from .lanes import Lease
from .models import OutboxMessage, Tombstone
from .rows import Row

REMEMBER_DELETES = timedelta(days=1)
"""How long rows of deleted people that commit late are still discarded."""

Kind = OutboxMessage.Kind


def ended(items: Iterable[Item]) -> dict[str, Item]:
    """Who is gone over there once these deletes and merges were accepted."""
    return {
        merged_away(item.rows[0]) if item.kind == Kind.MERGE else item.person: item
        for item in items
    }


def lay(people: Mapping[str, Item], *, using: str, workspace: str, settle: float) -> None:
    """Note who is gone; ``settle`` as in ``settling.accept``."""
    forget_at = int(REMEMBER_DELETES.total_seconds() * 1000)
    Tombstone.objects.using(using).bulk_create(
        [
            Tombstone(
                workspace=workspace,
                lane=lane_of(person),
                person=person,
                kind=item.kind,
                message_id=item.rows[-1].id,
                body=item.text,
                repeat_at=DatabaseClock() + int(settle * 1000),
                forget_at=DatabaseClock() + forget_at,
            )
            for person, item in people.items()
        ]
    )


def lay_to_rest(tombstones: Iterable[int], *, using: str) -> None:
    """Do not repeat these deletes."""
    Tombstone.objects.using(using).filter(pk__in=list(tombstones)).update(repeat_at=0)


def postpone(tombstones: Iterable[int], *, using: str, seconds: float) -> None:
    """Repeat these deletes later, for they may be what makes a request fail."""
    Tombstone.objects.using(using).filter(pk__in=list(tombstones)).update(
        repeat_at=DatabaseClock() + int(seconds * 1000)
    )


def forget(*, using: str, workspace: str, now: int) -> None:
    """Remove those that are a day old."""
    Tombstone.objects.using(using).filter(workspace=workspace, forget_at__lte=now).delete()


def due_lanes(*, using: str, workspace: str, now: int) -> set[int]:
    """Lanes in which a delete is to be said once more."""
    due = _due(using, workspace, now).values_list("lane", flat=True)
    return set(due.distinct())


def are_in(leases: Sequence[Lease], *, using: str, workspace: str) -> bool:
    """Say whether any of these lanes has a tombstone."""
    return _in(leases, using, workspace).exists()


def of(
    rows: Sequence[Row], leases: Sequence[Lease], *, using: str, workspace: str
) -> list[Tombstone]:
    """Tombstones of the people of these rows: a busy site has many of others."""
    people = {row.person for row in rows}
    return list(_in(leases, using, workspace).filter(person__in=people)) if people else []


def repetitions(
    leases: Sequence[Lease], *, using: str, workspace: str, now: int, limit: int
) -> list[Item]:
    """Deletes to say again now; not while newer messages of the person wait.

    What those say, if anything, decides.
    """
    numbers = [lease.number for lease in leases]
    due = list(_due(using, workspace, now).filter(lane__in=numbers).order_by("pk")[:limit])
    if not due:
        return []
    newest: dict[str, int] = {}
    pending = OutboxMessage.objects.using(using).filter(
        workspace=workspace,
        lane__in=numbers,
        state=OutboxMessage.State.PENDING,
        person__in={grave.person for grave in due},
        id__gt=min(grave.message_id for grave in due),
    )
    for person, pk in pending.order_by().values_list("person", "pk"):
        newest[person] = max(pk, newest.get(person, 0))
    return [
        Item(kind=grave.kind, person=grave.person, text=grave.body, rows=[], tombstone=grave.pk)
        for grave in due
        if newest.get(grave.person, 0) <= grave.message_id
    ]


def _due(using: str, workspace: str, now: int) -> QuerySet[Tombstone]:
    return Tombstone.objects.using(using).filter(
        workspace=workspace, repeat_at__gt=0, repeat_at__lte=now
    )


def _in(leases: Sequence[Lease], using: str, workspace: str) -> QuerySet[Tombstone]:
    return Tombstone.objects.using(using).filter(
        workspace=workspace, lane__in=[lease.number for lease in leases]
    )
