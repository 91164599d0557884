"""Outboxes to drain: made once by the product, then copied within the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import override_settings

import django_customerio as cio
from benchmarks.isolation import Place
from benchmarks.people.models import Bare, Mapped
from django_customerio.models import Fingerprint, Lane, OutboxMessage, SentMessage, Tombstone

EVENT_BYTES = 300
_TEMPLATE = "bench_template"


def migrate(place: Place) -> None:
    """Make the tables."""
    call_command("migrate", run_syncdb=True, verbosity=0)


def clear() -> None:
    """Empty all tables of the product, and forget its floors."""
    for model in (OutboxMessage, SentMessage, Lane, Fingerprint, Tombstone):
        _empty(model._meta.db_table)


def clear_ledger() -> None:
    """Empty the ledger."""
    _empty(SentMessage._meta.db_table)


def _empty(table: str) -> None:
    verb = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE TABLE"
    with connection.cursor() as cursor:
        cursor.execute(f"{verb} {table}")


def make_people(model: type[Bare | Mapped], count: int) -> None:
    """Fill a model with so many rows."""
    joined = datetime(2024, 5, 1, 12, tzinfo=UTC)
    _empty(model._meta.db_table)  # without signals, which would queue deletes
    model._base_manager.bulk_create(
        [
            model(
                email=f"person{number}@example.com",
                first_name=f"First {number}",
                last_name=f"Last {number}",
                joined_at=joined,
            )
            for number in range(count)
        ],
        batch_size=1000,
    )


def say_events(count: int, people: int) -> None:
    """Queue events of 300 bytes, for people in turn."""
    with transaction.atomic():
        for number in range(count):
            cio.track(f"person-{number % people:07d}", "purchased", {"text": "x" * _padding()})


def _padding() -> int:
    from django_customerio.messages import Event, Identifiers

    person = Identifiers("id", "person-0000000")
    return EVENT_BYTES - len(Event(person=person, name="purchased", data={"text": ""}).as_json())


def prepare_events(people: int = 10_000) -> None:
    """Make the template of the outbox from events of so many people."""
    clear()
    say_events(max(people, 2_000), people)
    _keep_template()


def prepare_states(count: int) -> None:
    """Make the template of the outbox from one look at each of so many new people."""
    clear()
    make_people(Mapped, count)
    with transaction.atomic():
        for person in Mapped.objects.order_by("pk"):
            cio.identify(person)
    _keep_template()


def _keep_template() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {_TEMPLATE}")
        cursor.execute(f"CREATE TABLE {_TEMPLATE} AS SELECT * FROM {OutboxMessage._meta.db_table}")


def fill(count: int) -> None:
    """Fill the outbox with so many rows of the template, again and again if need be."""
    table = OutboxMessage._meta.db_table
    _empty(table)
    columns = ", ".join(
        connection.ops.quote_name(field.column)
        for field in OutboxMessage._meta.concrete_fields
        if not field.primary_key
    )
    left = count
    while left > 0:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {_TEMPLATE} "
                f"ORDER BY id LIMIT {left:d}"
            )
            left -= cursor.rowcount
    with connection.cursor() as cursor:
        match connection.vendor:
            case "postgresql":  # as autovacuum does, sooner or later
                cursor.execute(f"VACUUM ANALYZE {table}")
            case "mysql":
                cursor.execute(f"ANALYZE TABLE {table}")
                cursor.fetchall()


@contextmanager
def configured(**changes: Any) -> Iterator[None]:
    """Change keys of ``CUSTOMERIO`` while the block lasts."""
    with override_settings(CUSTOMERIO={**settings.CUSTOMERIO, **changes}):
        yield
