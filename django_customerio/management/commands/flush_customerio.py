"""Send what is queued: once, or for ever."""

from __future__ import annotations

import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from django_customerio.conf import get_settings
from django_customerio.delivery import IDLE_PAUSE, Report, drain
from django_customerio.exceptions import SendingRefused
from django_customerio.figures import read_figures
from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand
from django_customerio.management.stopping import Stopper

logger = logging.getLogger("django_customerio")

LOOK = (0.5, 1.0)
"""Seconds between two looks of ``--loop``, drawn anew each time so that workers spread."""

SWEEP = 15.0
"""Seconds between two looks at everything, for what committed late."""

BACKOFF_CAP = 30.0
"""Seconds at most between two tries when the database fails."""

Target = tuple[str, str]


class MessagesLeft(CommandError):  # noqa: N818  it is no fault
    """Exit code 1: something is still queued."""


@dataclass(slots=True)
class _Tally:
    """What was done so far, over all databases and workspaces."""

    started: float = field(default_factory=time.monotonic)
    finished: Report = field(default_factory=Report)
    under_way: Report = field(default_factory=Report)

    def take(self, report: Report) -> None:
        for name in _COUNTS:
            total = getattr(self.finished, name) + getattr(report, name)
            setattr(self.finished, name, total)
        self.under_way = Report()

    def count(self, name: str) -> int:
        return int(getattr(self.finished, name) + getattr(self.under_way, name))

    @property
    def settled(self) -> int:
        return self.finished.settled + self.under_way.settled

    def text(self) -> str:
        seconds = max(0.001, time.monotonic() - self.started)
        parts = [f"sent {self.count('accepted'):,}"]
        parts += [f"{word} {n:,}" for name, word in _WORDS.items() if (n := self.count(name))]
        return f"{', '.join(parts)} in {shared.duration(seconds)}, {self.settled / seconds:,.0f}/s"


_WORDS = {
    "dropped": "nothing to say",
    "dead": "dead",
    "held": "held",
    "expired": "expired",
    "discarded": "discarded",
}
_COUNTS = ("accepted", *_WORDS, "requests")


class Command(CustomerIOCommand):
    """``flush_customerio``: the sender ``command``, or a helping hand for the others."""

    help = (
        "Send what is queued for Customer.io. Once by default, as from cron; with --loop for "
        "ever, as under a supervisor. Any number may run at a time, on any number of machines. "
        "SIGTERM or Ctrl-C lets the request under way finish; a second one stops at once. "
        "Exit codes: 0 nothing that is due is left (or --loop was told to stop); 1 messages are "
        "left, because sending is paused, other workers hold them or the budget is spent; 2 the "
        "settings or an option are wrong, a system check found an error, or tables are missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--loop", action="store_true", help="Go on until told to stop.")
        parser.add_argument(
            "--budget", type=float, metavar="SECONDS", help="Begin no request after that long."
        )
        shared.add_workspace(parser)
        shared.add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Drain all that was chosen."""
        if options["budget"] is not None and options["budget"] <= 0:
            raise CommandError(
                "--budget takes seconds, more than 0.", returncode=shared.WRONG_SETTINGS
            )
        targets = self._targets(options)
        if not options["loop"]:  # which waits for a database, and for its tables
            shared.require_tables({alias for alias, _workspace in targets})
        self.verbosity: int = options["verbosity"]
        self.progress = shared.Progress(self.stdout, verbosity=self.verbosity)
        self.watched = self.stdout.isatty()
        self.looping: bool = options["loop"]
        self.left: int | None = None
        self.tally = _Tally()
        self.told: dict[Target, str] = {}
        with Stopper(budget=options["budget"], say=self._say) as stop:
            try:
                if self.looping:
                    self._loop(targets, stop)
                else:
                    self._once(targets, stop)
            except SendingRefused as error:
                raise CommandError(str(error)) from None
            finally:
                self.progress.clear()
                if self.verbosity:
                    self.stdout.write(_capitalised(self.tally.text()) + ".")

    def _targets(self, options: dict[str, Any]) -> list[Target]:
        chosen = shared.workspaces(options["workspace"])
        aliases = shared.databases(options["database"])
        settings = get_settings()
        lacking = [name for name in chosen if not settings.workspaces[name].configured]
        for name in lacking:
            self.stderr.write(
                self.style.WARNING(
                    f"Nothing is sent for the workspace {name!r}: set "
                    f"{settings.path('SITE_ID', workspace=name)} and "
                    f"{settings.path('API_KEY', workspace=name)}."
                )
            )
        ready = [name for name in chosen if name not in lacking]
        if not ready or not aliases:
            raise CommandError(
                "No workspace has credentials." if aliases else "No database has an outbox.",
                returncode=shared.WRONG_SETTINGS,
            )
        if not settings.enabled:
            raise CommandError(
                f"Sending is turned off by {settings.path('ENABLED')}.",
                returncode=shared.WRONG_SETTINGS,
            )
        return [(alias, name) for alias in aliases for name in ready]

    def _say(self, line: str) -> None:
        if self.verbosity:
            self.progress.clear()
            self.stdout.write(line)

    # Once

    def _once(self, targets: list[Target], stop: Stopper) -> None:
        self.left = _pending(targets) if self.watched else None
        reasons = []
        for target in targets:
            try:
                report = self._drain_patiently(target, stop)
            except DatabaseError as error:
                raise CommandError(
                    f"The database {target[0]!r} failed: {shared.first_line(error)}. Where a "
                    "table is missing, run manage.py migrate."
                ) from None
            if report.outcome != "empty":
                reasons.append(f"{'/'.join(target)}: {_reason(report)}")
        left = _pending(targets)
        if left:
            self.progress.clear()
            why = "; ".join(reasons) or "they came while this one ended"
            raise MessagesLeft(f"{shared.plural(left)} left ({why}).")

    def _drain_patiently(self, target: Target, stop: Stopper) -> Report:
        """Drain; wait for lanes of other workers, which end or lapse within a lease."""
        patience = get_settings().lease + IDLE_PAUSE
        ends = time.monotonic() + patience
        told = False
        while True:
            report = self._drain(target, stop, sweep=True)
            wait = report.resume_in or IDLE_PAUSE
            busy = report.outcome == "busy"
            short = report.outcome == "paused" and wait <= IDLE_PAUSE
            if report.settled:
                # As long as something moves, somebody works.
                ends = time.monotonic() + patience
            if not (busy or short) or time.monotonic() >= ends:
                return report
            if busy and not told:
                told = True
                self._say(
                    f"Other workers hold what is left on {'/'.join(target)}: waiting for them, "
                    f"up to {shared.duration(patience)}."
                )
            if not stop.sleep(min(wait, IDLE_PAUSE)):
                return report

    def _drain(self, target: Target, stop: Stopper, *, sweep: bool) -> Report:
        using, workspace = target
        try:
            return drain(
                using=using,
                workspace=workspace,
                budget=stop.left,
                should_stop=stop,
                progress=self._show,
                sweep=sweep,
            )
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=shared.WRONG_SETTINGS) from None
        finally:
            self.tally.take(self.tally.under_way)

    def _show(self, report: Report) -> None:
        self.tally.under_way = report
        line = _capitalised(self.tally.text())
        if self.left is not None:
            line = f"{line}, {max(0, self.left - self.tally.settled):,} left"
        if self.watched or self.looping:
            self.progress.say(line)

    # For ever

    def _loop(self, targets: list[Target], stop: Stopper) -> None:
        failures = 0
        swept = -SWEEP
        while not stop():
            sweep = time.monotonic() - swept >= SWEEP
            if sweep:
                swept = time.monotonic()
                # Not each time: without persistent connections that would make a new one
                # for each look.
                close_old_connections()
            rest = random.uniform(*LOOK)  # noqa: S311
            try:
                for target in targets:
                    if not stop():
                        self._look(target, stop, sweep)
                failures = 0
            except DatabaseError as error:
                failures += 1
                rest = random.uniform(0.5, 1) * min(BACKOFF_CAP, 2.0 ** min(failures, 10))  # noqa: S311
                logger.warning(
                    "The database failed (%s); looking again in %.1f s.",
                    type(error).__name__,
                    rest,
                )
                self._say(f"The database failed: {shared.first_line(error)}.")
                _disconnect({alias for alias, _workspace in targets})
            stop.sleep(rest)

    def _look(self, target: Target, stop: Stopper, sweep: bool) -> None:
        report = self._drain(target, stop, sweep=sweep)
        self._tell_pause(target, report)

    def _tell_pause(self, target: Target, report: Report) -> None:
        """Say that a workspace paused, and that it goes on, once each."""
        paused = report.reason.rstrip(".") if report.outcome == "paused" else ""
        if paused == self.told.get(target, ""):
            return
        self.told[target] = paused
        self._say(f"{'/'.join(target)}: {f'paused: {paused}' if paused else 'going on'}.")


def _pending(targets: list[Target]) -> int:
    pending = 0
    for alias in {alias for alias, _workspace in targets}:
        wanted = {workspace for each, workspace in targets if each == alias}
        pending += sum(
            each.pending for each in read_figures(alias, ()) if each.workspace in wanted
        )
    return pending


def _reason(report: Report) -> str:
    soon = f", again in {shared.duration(report.resume_in)}" if report.resume_in else ""
    match report.outcome:
        case "paused":
            return f"paused: {report.reason.rstrip('.')}{soon}"
        case "stopped":
            return "stopped"
        case _:
            return report.reason or report.outcome


def _disconnect(aliases: set[str]) -> None:
    for alias in aliases:
        # It is broken already, and made anew when it is needed.
        with suppress(Exception):
            connections[alias].close()


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
