"""Say how the outbox fares."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django_customerio.figures import Figures, read_figures
from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand


class Command(CustomerIOCommand):
    """``customerio_status``: counts, ages and pauses per database and workspace."""

    help = (
        "Say what waits for Customer.io, what stopped, what is paused, and when something was "
        "last accepted. Ages are seconds in --json. The exit code is 0 whatever it finds; 2 for "
        "wrong settings, or where tables are missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="As JSON, for a monitor.")
        shared.add_workspace(parser)
        shared.add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the figures."""
        chosen = shared.workspaces(options["workspace"])
        found: list[Figures] = []
        for alias in shared.databases(options["database"]):
            figures = read_figures(alias, chosen)
            if options["workspace"]:
                figures = [each for each in figures if each.workspace in chosen]
            found += figures
        if options["json"]:
            self.stdout.write(json.dumps(_as_dict(found), indent=2))
            return
        for each in found:
            self._print(each)
        if len(found) > 1:
            total = _total(found)
            self.stdout.write(
                f"total: pending {total['pending']:,}, held {total['held']:,}, "
                f"dead {total['dead']:,}"
            )

    def _print(self, each: Figures) -> None:
        dead = f"dead {each.dead:,}"
        held = f"held {each.held:,}"
        self.stdout.write(
            f"{each.database} / {each.workspace}: pending {each.pending:,}, "
            f"{self.style.WARNING(held) if each.held else held}, "
            f"{self.style.ERROR(dead) if each.dead else dead}"
        )
        if each.oldest_pending_age is not None:
            self.stdout.write(f"  oldest pending: {shared.duration(each.oldest_pending_age)}")
        if each.paused_for is not None:
            self.stdout.write(
                self.style.WARNING(
                    f"  paused for another {shared.duration(each.paused_for)}: "
                    f"{each.pause_reason or 'no reason is known'}"
                )
            )
        if each.paused_lanes:
            self.stdout.write(f"  paused lanes: {each.paused_lanes}")
        self.stdout.write(f"  last success: {_ago(each.last_success)}")
        self.stdout.write(f"  worker last seen: {_ago(each.heartbeat)}")


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{shared.duration(seconds)} ago"


def _as_dict(found: list[Figures]) -> dict[str, Any]:
    return {"workspaces": [_one(each) for each in found], "total": _total(found)}


def _one(each: Figures) -> dict[str, Any]:
    return {
        "database": each.database,
        "workspace": each.workspace,
        "pending": each.pending,
        "held": each.held,
        "dead": each.dead,
        "oldest_pending_age": _rounded(each.oldest_pending_age),
        "paused_lanes": each.paused_lanes,
        "paused": each.paused_for is not None,
        "paused_for": _rounded(each.paused_for),
        "pause_reason": each.pause_reason,
        "last_success_age": _rounded(each.last_success),
        "heartbeat_age": _rounded(each.heartbeat),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _total(found: list[Figures]) -> dict[str, Any]:
    return {
        "pending": sum(each.pending for each in found),
        "held": sum(each.held for each in found),
        "dead": sum(each.dead for each in found),
        "oldest_pending_age": _rounded(
            max(
                (e.oldest_pending_age for e in found if e.oldest_pending_age is not None),
                default=None,
            )
        ),
        "paused_lanes": sum(each.paused_lanes for each in found),
        "paused": any(each.paused_for is not None for each in found),
        "last_success_age": _rounded(
            min((e.last_success for e in found if e.last_success is not None), default=None)
        ),
    }
