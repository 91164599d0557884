"""What the commands share: which databases and workspaces, words for ages, progress."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from django_customerio.conf import get_settings
from django_customerio.delivery import outbox_aliases
from django_customerio.exceptions import InvalidMessage
from django_customerio.messages import Identifiers

WRONG_SETTINGS = 2
"""Exit code of a command that the settings, or missing tables, keep from working."""

TYPES = ("id", "email", "phone", "cio_id", "anonymous_id")
"""What a person can be known by at Customer.io."""


def add_workspace(parser: ArgumentParser) -> None:
    """Add ``--workspace``."""
    parser.add_argument("--workspace", metavar="W", help="Only this workspace; default: all.")


def add_database(parser: ArgumentParser) -> None:
    """Add ``--database``."""
    parser.add_argument(
        "--database", metavar="ALIAS", help="Only this database; default: all with an outbox."
    )


def add_yes(parser: ArgumentParser) -> None:
    """Add ``--yes`` and ``--dry-run``."""
    parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")
    parser.add_argument("--yes", action="store_true", help="Do not ask.")


def workspaces(chosen: str | None) -> list[str]:
    """List the workspaces, or the chosen one.

    Raises:
        CommandError: the settings are wrong (exit code 2), or do not know the workspace.
    """
    try:
        known = list(get_settings().workspaces)
    except ImproperlyConfigured as error:
        raise CommandError(str(error), returncode=WRONG_SETTINGS) from None
    if chosen is None:
        return known
    if chosen not in known:
        raise CommandError(
            f"There is no workspace {chosen!r}: CUSTOMERIO has {', '.join(known)}.",
            returncode=WRONG_SETTINGS,
        )
    return [chosen]


def databases(chosen: str | None) -> list[str]:
    """List the databases with an outbox, or the chosen one.

    Raises:
        CommandError: the database has no outbox (exit code 2).
    """
    known = list(outbox_aliases())
    if chosen is None:
        return known
    if chosen not in known:
        raise CommandError(
            f"The database {chosen!r} has no outbox: {', '.join(known) or 'none'} has.",
            returncode=WRONG_SETTINGS,
        )
    return [chosen]


def require_tables(aliases: Iterable[str]) -> None:
    """See to it that the databases have our tables.

    Raises:
        CommandError: tables are missing (exit code 2), or a database cannot be asked.
    """
    ours = [
        model._meta.db_table for model in apps.get_app_config("django_customerio").get_models()
    ]
    for alias in aliases:
        try:
            there = connections[alias].introspection.table_names()
        except DatabaseError as error:
            raise CommandError(f"The database {alias!r} failed: {first_line(error)}.") from None
        if missing := [name for name in ours if name not in there]:
            raise CommandError(
                f"The database {alias!r} lacks the table {missing[0]}: run manage.py migrate"
                f"{'' if alias == 'default' else f' --database {alias}'}.",
                returncode=WRONG_SETTINGS,
            )


def first_line(error: Exception) -> str:
    """What a database says of itself; other errors may quote values, so only their names."""
    if isinstance(error, OperationalError | ProgrammingError | InterfaceError):
        text = str(error).strip().partition(chr(10))[0].rstrip(".")
        return f"{type(error).__name__}: {text}"
    return type(error).__name__


def person(text: str) -> tuple[Identifiers, bool]:
    """Read who is meant by ``id:42`` or ``email:ada@example.com``; a plain text is an id.

    Returns:
        The person, and whether the text says how they are known.

    Raises:
        CommandError: nobody can be known by that.
    """
    kind, colon, value = text.partition(":")
    says = bool(colon) and kind in TYPES
    try:
        return Identifiers.parse({kind: value} if says else text), says
    except InvalidMessage as error:
        raise CommandError(str(error)) from None


def duration(seconds: float) -> str:
    """Say a duration for a terminal: "3 h 20 min"."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 60:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{days:.0f} days"


def plural(count: int, noun: str = "message") -> str:
    """Say how many."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Progress:
    """One line that is rewritten where a person watches, a line now and then elsewhere."""

    def __init__(self, out: OutputWrapper, *, verbosity: int, every: float = 5.0) -> None:
        self._out = out
        self._watched = out.isatty()
        self._quiet = verbosity < 1
        self._every = 0.1 if self._watched else every
        self._next = 0.0 if self._watched else time.monotonic() + every
        self._width = 0

    def say(self, line: str) -> None:
        """Show how far the work is; most calls show nothing, to save time."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + self._every
        if self._watched:
            self._out.write("\r" + line.ljust(self._width), ending="")
            self._width = len(line)
        else:
            self._out.write(line)
        self._out.flush()

    def clear(self) -> None:
        """Take the rewritten line away, before something else is printed."""
        if self._width:
            self._out.write("\r" + " " * self._width + "\r", ending="")
            self._width = 0


def confirm(out: OutputWrapper, question: str, options: dict[str, Any]) -> bool:
    """Ask where a person watches; without one, ``--yes`` is needed."""
    if options["yes"]:
        return True
    if not (out.isatty() and _stdin_is_a_person()):
        raise CommandError("Nobody is here to ask: say --yes to do it, --dry-run to look.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _stdin_is_a_person() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
