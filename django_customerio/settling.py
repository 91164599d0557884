"""What becomes of rows once it is known: accepted, dead, held, or not to be said at all.

Short transactions, and none while a request is under way. Deleting an event that Customer.io
accepted needs no lease, for accepted is accepted whoever asked; what is *remembered* of a
person is written only under the lease of their lane, or an owner who overslept would
overwrite what the next one knows better.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from django.db import connections, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from . import fingerprints, lanes, tombstones
from .batches import ALONE, Item, Kind
from .clock import DatabaseClock
from .conf import WorkspaceSettings, get_settings
from .fingerprints import DOUBT, Hashes
from .lanes import Lease
from .mapping import registry
from .models import OutboxMessage, SentMessage
from .rows import Row

State = OutboxMessage.State


def accept(
    items: Sequence[Item],
    *,
    using: str,
    workspace: WorkspaceSettings,
    leases: Collection[Lease],
    answer: str,
    settle: float,
) -> Sequence[Item]:
    """Finish what Customer.io accepted.

    Args:
        settle: seconds after which no request that was under way can be applied any longer.

    Returns:
        The items that are finished. What must be remembered of a lane that somebody else owns
        by now is left to them: they say it again, and what they said since counts.
    """
    keeps_ledger = get_settings().keep_sent is not None
    if not any(_is_remembered(item) for item in items):
        ids = [row.id for item in items for row in item.rows]
        if keeps_ledger:
            with transaction.atomic(using=using):
                _move_to_ledger(ids, using=using, answer=answer)
        else:
            delete(ids, using=using)
        return items
    said = {item.person: item for item in items if _is_by_value(item)}
    # Read before the transaction begins: on SQLite one that reads first may not write.
    known = fingerprints.load(
        said, using=using, workspace=workspace.alias, seal=fingerprints.seal(workspace.site)
    )
    with transaction.atomic(using=using):
        ours = held({item.lane for item in items if _is_remembered(item)}, leases, using=using)
        items = [item for item in items if item.lane in ours or not _is_remembered(item)]
        remember(items, known, using=using, workspace=workspace, settle=settle)
        looks = [row.id for item in items for row in item.rows if row.kind == Kind.STATE]
        told = [row.id for item in items for row in item.rows if row.kind != Kind.STATE]
        if keeps_ledger:
            read = [item for item in items if item.rows and item.rows[0].kind == Kind.STATE]
            _write_ledger(read, using=using, answer=answer)
            _move_to_ledger(told, using=using, answer=answer)
            told = []
        delete([*looks, *told], using=using)
    return items


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
    settle: float,
) -> None:
    """Note what Customer.io knows of people from now on."""
    learned = {item.person: item.hashes for item in items if item.hashes is not None}
    for item in items:
        if _is_by_value(item) and item.person in known:
            learned.setdefault(item.person, known[item.person])
    for item in items:
        if _is_by_value(item) and item.person in learned:
            # What code said by hand is no longer what the database told: the next look
            # tells those attributes again.
            for name in _names(item) & learned[item.person].keys():
                learned[item.person][name] = ""
    learn(learned, using=using, workspace=workspace)
    gone = tombstones.ended(item for item in items if item.kind in ALONE and item.rows)
    if gone:
        fingerprints.forget(gone, using=using, workspace=workspace.alias)
        tombstones.lay(gone, using=using, workspace=workspace.alias, settle=settle)
    repeated = [item.tombstone for item in items if item.tombstone is not None]
    if repeated:
        tombstones.lay_to_rest(repeated, using=using)


def held(numbers: Collection[int], leases: Collection[Lease], *, using: str) -> set[int]:
    """Those of these lanes that are still ours, held for a while more."""
    return {
        lease.number
        for lease in sorted(leases, key=lambda lease: lease.number)
        if lease.number in numbers
        and lanes.renew(lease, using=using, seconds=get_settings().lease)
    }


def learn(learned: Mapping[str, Hashes], *, using: str, workspace: WorkspaceSettings) -> None:
    """Store fingerprints, of people whose lanes are ours."""
    fingerprints.store(
        learned,
        using=using,
        workspace=workspace.alias,
        seal=fingerprints.seal(workspace.site),
    )


def doubt(
    items: Sequence[Item],
    *,
    using: str,
    workspace: WorkspaceSettings,
    leases: Collection[Lease],
) -> None:
    """Note that a request without an answer may have told these things, or not.

    Otherwise a value that goes back to what was told before would never be told again.
    """
    told = [item for item in items if item.hashes is not None]
    if not told:
        return
    ours = held({item.lane for item in told}, leases, using=using)
    learn(
        {
            item.person: {
                **(item.hashes or {}),
                **dict.fromkeys(item.names.split(","), ""),
                DOUBT: "",
            }
            for item in told
            if item.lane in ours
        },
        using=using,
        workspace=workspace,
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


def count_attempt(
    rows: Sequence[Row], *, using: str, wait: float, answer: str, number: int = 1
) -> None:
    """Count a failed attempt of a message that was sent alone, and let it wait by itself."""
    OutboxMessage.objects.using(using).filter(
        pk__in=[row.id for row in rows], state=State.PENDING
    ).update(
        attempts=F("attempts") + number,
        first_failed_at=Coalesce("first_failed_at", timezone.now()),
        retry_at=DatabaseClock() + int(wait * 1000),
        answer=answer,
    )


def take_back_attempt(rows: Sequence[Row], *, using: str) -> None:
    """Make the counting of an attempt undone, of messages that were not waiting."""
    counted = OutboxMessage.objects.using(using).filter(
        pk__in=[row.id for row in rows], state=State.PENDING, attempts__gt=0
    )
    counted.update(
        attempts=F("attempts") - 1,
        first_failed_at=Case(When(attempts__gt=1, then=F("first_failed_at"))),
        retry_at=0,
        answer="",
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
def _move(using: str) -> str:
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, _COPIED))
    outbox = quote(OutboxMessage._meta.db_table)
    insert = (
        f"INSERT INTO {quote(SentMessage._meta.db_table)} ({columns}, queued_at, sent_at, answer)"
        f" SELECT {columns}, created_at, %s, %s FROM"
    )
    if connection.vendor == "postgresql":
        gone = f"DELETE FROM {outbox} WHERE id = ANY(%s) RETURNING *"
        return f"WITH gone AS ({gone}) {insert} gone"
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    return f"{insert} {outbox} WHERE id IN ({{ids}}){lock}"


def _move_to_ledger(ids: Sequence[int], *, using: str, answer: str) -> None:
    # From the rows that are still there, and no longer anybody else's to delete, so that an
    # erase in the meantime wins; no value travels.
    if not ids:
        return
    statement = _move(using)
    connection = connections[using]
    moment = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        if "{ids}" not in statement:
            cursor.execute(statement, [list(ids), moment, answer])
            return
        cursor.execute(statement.format(ids=",".join(map(str, ids))), [moment, answer])
    delete(ids, using=using)


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
