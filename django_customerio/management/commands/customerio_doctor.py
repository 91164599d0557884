"""Find out why nothing arrives, in plain sentences."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand
from django_customerio.management.diagnosis import OK, PROBLEM, WARNING, Finding, examine


class ProblemsFound(CommandError):  # noqa: N818  it is no fault of the command
    """Exit code 1: something keeps messages from arriving."""


class Command(CustomerIOCommand):
    """``customerio_doctor``."""

    help = (
        "Check settings, credentials and region (by asking Customer.io), clocks, migrations, "
        "databases, and whether somebody sends. Prints no key and no personal data. Exit codes: "
        "0 all is well, or there are warnings only; 1 there are problems."
    )
    requires_system_checks: list[str] = []  # it reports them itself, beside the rest

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="As JSON, for a monitor.")
        parser.add_argument(
            "--offline", action="store_true", help="Do not ask Customer.io anything."
        )
        shared.add_workspace(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine and report."""
        findings = list(
            examine(workspace=options["workspace"], ask_customerio=not options["offline"])
        )
        problems = [each for each in findings if each.level == PROBLEM]
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {"ok": not problems, "findings": [asdict(each) for each in findings]},
                    indent=2,
                    ensure_ascii=False,
                )
            )
        else:
            for each in findings:
                self._print(each)
        if problems:
            raise ProblemsFound(f"{shared.plural(len(problems), 'problem')} found.")
        if not options["json"]:
            warnings = sum(each.level == WARNING for each in findings)
            self.stdout.write(
                f"No problems, {shared.plural(warnings, 'warning')}." if warnings else "All well."
            )

    def _print(self, each: Finding) -> None:
        style = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, PROBLEM: self.style.ERROR}
        mark = style[each.level](f"{each.level:<8}")
        self.stdout.write(f"{mark} {each.topic}: {each.text}")
        if each.cure:
            self.stdout.write(f"         {each.cure}")
