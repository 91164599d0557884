"""Delete what was kept long enough."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from django_customerio.conf import get_settings
from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand
from django_customerio.models import OutboxMessage, SentMessage

CHUNK = 1000


class Command(CustomerIOCommand):
    """``customerio_prune``: the ledger by ``KEEP_SENT``, dead messages if asked to."""

    help = (
        "Delete entries of the ledger that are older than KEEP_SENT, in small steps that hold no "
        "locks for long; with --dead-older-than also dead messages. Run it daily."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--dead-older-than",
            type=float,
            metavar="DAYS",
            help="Also delete dead messages that were said more than DAYS ago. They were never "
            "accepted, so this loses them.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say what would go.")
        shared.add_workspace(parser)
        shared.add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune each database."""
        chosen = shared.workspaces(options["workspace"])
        keep = get_settings().keep_sent
        # Without a ledger nothing that an older setting kept is wanted either.
        sent_before = timezone.now() - (keep if keep is not None else timedelta(0))
        for alias in shared.databases(options["database"]):
            sent = SentMessage.objects.using(alias).filter(sent_at__lt=sent_before)
            if options["workspace"]:
                sent = sent.filter(workspace__in=chosen)
            self._prune(sent, "entry of the ledger", "entries of the ledger", alias, options)
            if options["dead_older_than"] is None:
                continue
            dead = OutboxMessage.objects.using(alias).filter(
                state=OutboxMessage.State.DEAD,
                created_at__lt=timezone.now() - timedelta(days=options["dead_older_than"]),
            )
            if options["workspace"]:
                dead = dead.filter(workspace__in=chosen)
            self._prune(dead, "dead message", "dead messages", alias, options)

    def _prune(
        self, rows: QuerySet[Any], one: str, many: str, alias: str, options: dict[str, Any]
    ) -> None:
        def what(count: int) -> str:
            return f"{count:,} {one if count == 1 else many} on {alias}"

        if options["dry_run"]:
            self.stdout.write(f"Would delete {what(rows.count())}.")
            return
        progress = shared.Progress(self.stdout, verbosity=options["verbosity"])
        total = rows.count() if self.stdout.isatty() else 0
        deleted = _delete_in_chunks(
            rows,
            lambda count: progress.say(
                f"deleted {count:,} of {total:,}" if total else f"deleted {what(count)}"
            ),
        )
        progress.clear()
        if options["verbosity"]:
            self.stdout.write(f"Deleted {what(deleted)}.")


def _delete_in_chunks(rows: QuerySet[Any], progress: Callable[[int], None]) -> int:
    """Delete by primary keys, a chunk at a time, from the oldest on.

    The condition is in each DELETE again: a dead row may have been resent in between.
    """
    deleted = 0
    last = 0
    while True:
        ids = list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if not ids:
            return deleted
        last = ids[-1]
        deleted += rows.filter(pk__in=ids)._raw_delete(rows.db)
        progress(deleted)
