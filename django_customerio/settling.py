"""What becomes of rows once it is known: accepted, dead, held, or not to be said at all.

Short transactions, and none while a request is under way. Deleting what Customer.io
accepted needs no lease, for accepted is accepted whoever asked; what is *remembered* of a
person is written only under the lease of their lane, or an owner who overslept would
overwrite what the next one knows better.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import connections, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from . import fingerprints, lanes
from .batches import ALONE, Item, Kind, Row, merged_away
from .clock import DatabaseClock
from .conf import WorkspaceSettings, get_settings
from .fingerprints import Hashes
from .identifiers import lane_of
from .lanes import Lease
from .mapping import registry
from .models import OutboxMessage, SentMessage, Tombstone

REMEMBER_DELETES = timedelta(days=1)
"""How long rows of deleted people that commit late are still discarded."""

State = OutboxMessage.State


def accept(
    items: Sequence[Item],
    *,
    using: str,
    workspace: WorkspaceSettings,
    leases: Collection[Lease],
    answer: str,
    settle: float,
) -> None:
    """Finish what Customer.io accepted.

    Args:
        settle: seconds after which no request that was under way can be applied any longer.
    """
    keeps_ledger = get_settings().keep_sent is not None
    ids = [row.id for item in items for row in item.rows]
    if not any(_is_remembered(item) for item in items):
        if not keeps_ledger:
            delete(ids, using=using)
            return
        with transaction.atomic(using=using):
            _copy_to_ledger(ids, using=using, answer=answer)
            delete(ids, using=using)
        return
    said = {item.person: item for item in items if _is_by_value(item)}
    # Read before the transaction begins: on SQLite one that reads first may not write.
    known = fingerprints.load(
        said, using=using, workspace=workspace.alias, seal=fingerprints.seal(workspace.site)
    )
    with transaction.atomic(using=using):
        remember(items, known, using=using, workspace=workspace, leases=leases, settle=settle)
        if keeps_ledger:
            read = [item for item in items if item.rows and item.rows[0].kind == Kind.STATE]
            told = [row.id for item in items for row in item.rows if row.kind != Kind.STATE]
            _write_ledger(read, using=using, answer=answer)
            _copy_to_ledger(told, using=using, answer=answer)
        delete(ids, using=using)


def _is_remembered(item: Item) -> bool:
    return (
        item.hashes is not None
        or item.kind in ALONE
        or item.kind == Kind.IDENTIFY
        or item.tombstone is not None
    )


def remember(
    items: Sequence[Item],
    known: Mapping[str, Hashes],
    *,
    using: str,
    workspace: WorkspaceSettings,
    leases: Collection[Lease],
    settle: float,
) -> None:
    """Note what Customer.io knows of people from now on."""
    learned = {item.person: item.hashes for item in items if item.hashes is not None}
    for person, hashes in known.items():
        learned.setdefault(person, hashes)
    for item in items:
        if _is_by_value(item) and item.person in learned:
            # What code said by hand is no longer what the database told: the next look
            # tells those attributes again.
            for name in _names(item):
                learned[item.person].pop(name, None)
    learn(learned, using=using, workspace=workspace, leases=leases)
    ended = [item for item in items if item.kind in ALONE and item.rows]
    if ended:
        people = {_ended(item): item for item in ended}
        fingerprints.forget(people, using=using, workspace=workspace.alias)
        forget_at = int(REMEMBER_DELETES.total_seconds() * 1000)
        Tombstone.objects.using(using).bulk_create(
            [
                Tombstone(
                    workspace=workspace.alias,
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
    repeated = [item.tombstone for item in items if item.tombstone is not None]
    if repeated:
        lay_to_rest(repeated, using=using)


def learn(
    learned: dict[str, Hashes],
    *,
    using: str,
    workspace: WorkspaceSettings,
    leases: Collection[Lease],
) -> None:
    """Store fingerprints, of those lanes only that are still ours."""
    if not learned:
        return
    lane = {person: lane_of(person) for person in learned}
    concerned = set(lane.values())
    mine = {
        lease.number
        for lease in sorted(leases, key=lambda lease: lease.number)
        if lease.number in concerned
        and lanes.renew(lease, using=using, seconds=get_settings().lease)
    }
    fingerprints.store(
        {person: hashes for person, hashes in learned.items() if lane[person] in mine},
        using=using,
        workspace=workspace.alias,
        seal=fingerprints.seal(workspace.site),
    )


def _is_by_value(item: Item) -> bool:
    return item.kind == Kind.IDENTIFY and item.hashes is None


def _names(item: Item) -> set[str]:
    """The attributes an explicit identify told, less those the site does not own."""
    row = item.rows[0]
    person_map = registry.by_label(row.model) if row.model else None
    elsewhere = (
        {each.name for each in person_map.bound_attributes if each.owner == "customerio"}
        if person_map
        else set()
    )
    return set(row.attribute_names.split(",")) - elsewhere


def _ended(item: Item) -> str:
    """Who is gone over there once the item was accepted."""
    return merged_away(item.rows[0]) if item.kind == Kind.MERGE else item.person


def lay_to_rest(tombstones: Iterable[int], *, using: str) -> None:
    """Do not repeat these deletes."""
    Tombstone.objects.using(using).filter(pk__in=list(tombstones)).update(repeat_at=0)


def die(rows: Sequence[Row], *, using: str, answer: str) -> int:
    """Give up on messages, with the reason, until a person sends them again."""
    return (
        OutboxMessage.objects.using(using)
        .filter(pk__in=[row.id for row in rows], state=State.PENDING)
        .update(
            state=State.DEAD,
            answer=answer,
            attempts=F("attempts") + 1,
            first_failed_at=Coalesce("first_failed_at", timezone.now()),
        )
    )


def hold(rows: Sequence[Row], *, using: str) -> int:
    """Keep messages that were meant for another site from being sent."""
    return (
        OutboxMessage.objects.using(using)
        .filter(pk__in=[row.id for row in rows], state=State.PENDING)
        .update(
            state=State.HELD,
            answer="Queued for another SITE_ID than this site's: not sent.",
        )
    )


def count_attempt(rows: Sequence[Row], *, using: str, wait: float, answer: str) -> None:
    """Count a failed attempt of a message that was sent alone, and let it wait by itself."""
    OutboxMessage.objects.using(using).filter(
        pk__in=[row.id for row in rows], state=State.PENDING
    ).update(
        attempts=F("attempts") + 1,
        first_failed_at=Coalesce("first_failed_at", timezone.now()),
        retry_at=DatabaseClock() + int(wait * 1000),
        answer=answer,
    )


@lru_cache(maxsize=8)
def _delete(using: str) -> str:
    connection = connections[using]
    table = connection.ops.quote_name(OutboxMessage._meta.db_table)
    if connection.vendor == "postgresql":
        return f"DELETE FROM {table} WHERE id = ANY(%s)"
    if connection.vendor == "mysql":
        # Left alone, MariaDB scans the table for a long list and then waits for the open
        # transactions of the site.
        return f"DELETE o FROM {table} AS o FORCE INDEX (PRIMARY) WHERE o.id IN ({{ids}})"
    return f"DELETE FROM {table} WHERE id IN ({{ids}})"


def delete(ids: Sequence[int], *, using: str) -> int:
    """Take rows out of the outbox; returns how many were still there."""
    if not ids:
        return 0
    statement = _delete(using)
    with connections[using].cursor() as cursor:
        if "{ids}" in statement:
            cursor.execute(statement.format(ids=",".join(map(str, ids))))
        else:
            cursor.execute(statement, [list(ids)])
        return int(cursor.rowcount)


_COPIED = (
    "ulid", "workspace", "person", "kind", "model", "object_pk", "name", "attribute_names", "cause"
)  # fmt: skip


@lru_cache(maxsize=8)
def _copy(using: str) -> str:
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, _COPIED))
    condition = "id = ANY(%s)" if connection.vendor == "postgresql" else "id IN ({ids})"
    return (
        f"INSERT INTO {quote(SentMessage._meta.db_table)} ({columns}, queued_at, sent_at, answer)"
        f" SELECT {columns}, created_at, %s, %s"
        f" FROM {quote(OutboxMessage._meta.db_table)} WHERE {condition}"
    )


def _copy_to_ledger(ids: Sequence[int], *, using: str, answer: str) -> None:
    # From the rows that are still there, so that an erase in the meantime wins; no value
    # travels.
    if not ids:
        return
    statement = _copy(using)
    connection = connections[using]
    parameters: list[Any] = [
        connection.ops.adapt_datetimefield_value(timezone.now()),
        answer,
    ]
    if "{ids}" in statement:
        statement = statement.format(ids=",".join(map(str, ids)))
    else:
        parameters.append(list(ids))
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _write_ledger(items: Sequence[Item], *, using: str, answer: str) -> None:
    """Note state rows under the name of what they came to say."""
    rows = OutboxMessage.objects.using(using).filter(pk__in=[item.rows[0].id for item in items])
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update()
    there = {
        row[0]: row[1:]
        for row in rows.order_by("pk").values_list(
            "pk", "ulid", "workspace", "cause", "created_at"
        )
    }
    now = timezone.now()
    sent = []
    for item in items:
        row = item.rows[0]
        if row.id not in there:
            continue
        ulid, workspace, cause, created_at = there[row.id]
        sent.append(
            SentMessage(
                ulid=ulid,
                workspace=workspace,
                person=item.person,
                kind=item.kind,
                model=row.model,
                object_pk=row.object_pk,
                attribute_names=item.names,
                cause=cause,
                queued_at=created_at,
                sent_at=now,
                answer=answer,
            )
        )
    SentMessage.objects.using(using).bulk_create(sent)
