"""Checks of the databases on which an outbox lives. They read settings and open nothing."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.db import connections, router

from django_customerio.delivery import outbox_aliases
from django_customerio.mapping import registry
from django_customerio.mixins import CustomerIOMixin
from django_customerio.models import OutboxMessage
from django_customerio.senders.thread import needs_caller
from django_customerio.validators import listing, suggest

from .settings import usable_settings

UNKNOWN_DATABASE = "django_customerio.E010"
"""DATABASES of CUSTOMERIO names an alias that the project's DATABASES lacks."""
NO_OUTBOX = "django_customerio.E011"
"""Rows of a mapped model can be saved where there is no outbox to tell of it."""
UNSUPPORTED_DATABASE = "django_customerio.E012"
"""The outbox would live on a database whose SQL this package does not speak."""
SQLITE_THREAD = "django_customerio.W010"
"""Two writers on SQLite fail with "database is locked", so the sender acts as immediate.

Tells of W011 as well, for the cure is the same.
"""
SQLITE_ATOMIC = "django_customerio.W011"
"""On SQLite a save that reads before it writes fails when another writer is at work."""

VENDORS = ("postgresql", "sqlite", "mysql")
SQLITE_CURE = (
    'Set DATABASES["{}"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE" (and "timeout" to 20).'
)


def check_databases(**kwargs: Any) -> list[checks.CheckMessage]:
    """Is there an outbox wherever a mapped row is saved, on a database that is supported?"""
    settings = usable_settings()
    if settings is None:
        return []
    found: list[checks.CheckMessage] = []
    where = settings.path("DATABASES")
    for alias in settings.databases or ():
        if alias not in connections:
            found.append(
                checks.Error(
                    f'{where} names "{alias}", which DATABASES does not have'
                    f"{suggest(alias, connections)}.",
                    hint=f"DATABASES has {listing(connections)}. Name one of them.",
                    id=UNKNOWN_DATABASE,
                )
            )
        elif not router.allow_migrate_model(alias, OutboxMessage):
            found.append(
                checks.Error(
                    f'{where} names "{alias}", but a database router keeps the outbox off it.',
                    hint=f'Let allow_migrate() of the router take the app "django_customerio" '
                    f'on "{alias}", or take the alias out of {where}.',
                    id=NO_OUTBOX,
                )
            )
    aliases = outbox_aliases()
    found += [
        checks.Error(
            f'The outbox cannot live on the database "{alias}": its vendor '
            f'"{connections[alias].vendor}" is not supported.',
            hint=f"Supported are {listing(VENDORS)}, the last with MariaDB. Name the aliases "
            f"that shall have an outbox in {where}.",
            id=UNSUPPORTED_DATABASE,
        )
        for alias in aliases
        if connections[alias].vendor not in VENDORS
    ]
    return found + _check_maps_have_outbox(aliases, settings.databases, where)


def _check_maps_have_outbox(
    aliases: tuple[str, ...], chosen: tuple[str, ...] | None, where: str
) -> list[checks.CheckMessage]:
    missing: dict[str, list[str]] = {}
    for person_map in registry:
        written = router.db_for_write(person_map.model)
        for alias in connections:
            if alias in aliases:
                continue
            # An alias that DATABASES leaves out on purpose counts only where rows go by default.
            lives = chosen is None and router.allow_migrate_model(alias, person_map.model)
            if lives or alias == written:
                missing.setdefault(alias, []).append(person_map.label)
    return [
        checks.Error(
            f'Rows of {", ".join(labels)} can be saved on the database "{alias}", which has no '
            "outbox: such a save would tell Customer.io nothing.",
            hint='Let allow_migrate() of the database router take the app "django_customerio" '
            f'on "{alias}" like the models, or name the aliases that shall have an outbox in '
            f"{where}.",
            id=NO_OUTBOX,
        )
        for alias, labels in missing.items()
    ]


def check_sqlite(**kwargs: Any) -> list[checks.CheckMessage]:
    """Do SQLite's transactions begin in a mode that can wait for another writer?"""
    settings = usable_settings()
    if settings is None or not settings.enabled:
        return []
    # Only the mixin's save() can open one.
    atomic = [each for each in registry if each.atomic and issubclass(each.model, CustomerIOMixin)]
    found: list[checks.CheckMessage] = []
    for alias in outbox_aliases():
        if not needs_caller(alias):
            continue
        labels = [each.label for each in atomic if router.db_for_write(each.model) == alias]
        if settings.sender == "thread":
            # One cure for both, so one warning.
            also = f" So can saving {', '.join(labels)}, which opens one." if labels else ""
            found.append(
                checks.Warning(
                    f'The sender "thread" acts as "immediate" on the SQLite database "{alias}", '
                    "and requests wait for Customer.io: beside a thread that writes, a "
                    'transaction of theirs would fail with "database is locked".' + also,
                    hint=SQLITE_CURE.format(alias),
                    id=SQLITE_THREAD,
                )
            )
        elif labels:
            found.append(
                checks.Warning(
                    f"Saving {', '.join(labels)} opens a transaction on the SQLite database "
                    f'"{alias}"; in its mode one that reads before it writes fails with '
                    '"database is locked" when another writer is at work.',
                    hint=SQLITE_CURE.format(alias) + " Or set atomic = False on the map.",
                    id=SQLITE_ATOMIC,
                )
            )
    return found
