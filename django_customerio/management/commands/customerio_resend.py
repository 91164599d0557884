"""Send dead and held messages again."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from django_customerio import recovery
from django_customerio.campaigns import count_fresh_events
from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand
from django_customerio.models import OutboxMessage

CHUNK = 500

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Command(CustomerIOCommand):
    """``customerio_resend``: by state, person, event or age."""

    help = (
        "Send dead and held messages again. Without a filter all of them, in the order in which "
        "they were said. Asks first, where a person watches."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the filters."""
        parser.add_argument(
            "--state", choices=("dead", "held"), help="Only dead, or only held ones."
        )
        parser.add_argument(
            "--person", metavar="KEY", help="Of one person: 42, id:42 or email:ada@example.com."
        )
        parser.add_argument("--event", metavar="NAME", help="Events of this name.")
        parser.add_argument("--older-than", metavar="AGE", type=_age, help="Such as 90m, 12h, 3d.")
        parser.add_argument("--newer-than", metavar="AGE", type=_age, help="Such as 90m, 12h, 3d.")
        parser.add_argument("--limit", metavar="N", type=int, help="At most N, the oldest first.")
        shared.add_workspace(parser)
        shared.add_database(parser)
        shared.add_yes(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, warn, ask and resend."""
        chosen = shared.workspaces(options["workspace"])
        limit = options["limit"]
        if limit is not None and limit < 1:
            raise CommandError("--limit takes a number from 1 on.")
        found: dict[str, list[int]] = {}
        fresh = 0
        for alias in shared.databases(options["database"]):
            rows = _filter(OutboxMessage.objects.using(alias), chosen, options)
            left = None if limit is None else limit - sum(map(len, found.values()))
            ids = list(rows.order_by("pk").values_list("pk", flat=True)[:left])
            if ids:
                found[alias] = ids
                fresh += sum(
                    count_fresh_events(OutboxMessage.objects.using(alias).filter(pk__in=chunk))
                    for chunk in _chunks(ids)
                )
        total = sum(map(len, found.values()))
        if not total:
            self.stdout.write("No dead or held message matches.")
            return
        self.stdout.write(f"{shared.plural(total)} would be sent again.")
        if fresh:
            self.stderr.write(
                self.style.WARNING(
                    f"{shared.plural(fresh, 'event')} among them happened less than 72 hours ago: "
                    "if Customer.io has not seen them yet, they can start campaigns now and "
                    "people get messages."
                )
            )
        if options["dry_run"]:
            return
        if not shared.confirm(self.stdout, "Send again?", options):
            self.stdout.write("Nothing was changed.")
            return
        self._resend(found, total, options["verbosity"])

    def _resend(self, found: dict[str, list[int]], total: int, verbosity: int) -> None:
        progress = shared.Progress(self.stdout, verbosity=verbosity)
        done = 0
        for alias, ids in found.items():
            for chunk in _chunks(ids):
                done += len(recovery.resend(chunk, using=alias))
                progress.say(f"{done:,} of {total:,}")
        progress.clear()
        self.stdout.write(f"{shared.plural(done)} of {total:,} will be sent again.")
        if done < total:
            self.stdout.write(
                "The others were resent or discarded meanwhile, or belong to a workspace that "
                "the settings no longer name."
            )


def _filter(
    rows: QuerySet[OutboxMessage], workspaces: list[str], options: dict[str, Any]
) -> QuerySet[OutboxMessage]:
    states = [options["state"]] if options["state"] else ["dead", "held"]
    rows = rows.filter(state__in=states, workspace__in=workspaces)
    if options["person"]:
        rows = rows.filter(person=shared.person(options["person"])[0].key)
    if options["event"]:
        rows = rows.filter(name=options["event"])
    if options["older_than"] is not None:
        rows = rows.filter(created_at__lt=timezone.now() - options["older_than"])
    if options["newer_than"] is not None:
        rows = rows.filter(created_at__gte=timezone.now() - options["newer_than"])
    return rows


def _chunks(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]


def _age(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text[:-1]) * _UNITS[text[-1:]])
    except (KeyError, ValueError, OverflowError):
        raise ArgumentTypeError(
            "an age is a number and a unit (s, m, h or d), such as 90m, 12h or 3d"
        ) from None
