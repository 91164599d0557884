"""Show what would be said of a person now; send and write nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_customerio.management import options as shared
from django_customerio.management.base import CustomerIOCommand
from django_customerio.mapping import PersonMap, registry
from django_customerio.preview import Preview, find_by_key, maps_on, preview


class Command(CustomerIOCommand):
    """``customerio_preview PERSON``."""

    help = (
        "Print the exact JSON that would go to Customer.io for a person now, and why each other "
        "attribute is left out. Sends nothing and writes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "person",
            metavar="PERSON",
            help="shop.Customer:42 (model and primary key), 42 (primary key, where one mapped "
            "model has it, or else id at Customer.io), id:42 or email:ada@example.com (as "
            "Customer.io knows them).",
        )
        parser.add_argument("--json", action="store_true", help="All of it as one JSON object.")
        shared.add_workspace(parser)
        shared.add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the person, render, print."""
        chosen = shared.workspaces(options["workspace"])
        found = [
            (person_map, pk, alias)
            for alias in shared.databases(options["database"])
            for person_map, pk in _find(options["person"], alias)
            if person_map.workspace in chosen
        ]
        if not found:
            raise CommandError(
                "No row of a mapped model is this person. Mapped are: "
                f"{', '.join(person_map.label for person_map in registry) or 'no models'}."
            )
        if len(found) > 1:
            names = ", ".join(f"{m.label}:{pk} on {alias}" for m, pk, alias in found)
            raise CommandError(
                f"Several rows are this person: {names}. Name one by its model and primary key, "
                "with --database or --workspace."
            )
        person_map, pk, alias = found[0]
        made = preview(person_map, pk, using=alias)
        if options["json"]:
            self.stdout.write(json.dumps(made.as_dict(), indent=2, ensure_ascii=False))
        else:
            self._print(made)

    def _print(self, made: Preview) -> None:
        self.stdout.write(f"{made.model} {made.object_pk} on {made.database} is {made.person}")
        if made.when is not None:
            self.stdout.write(f"when: {'told' if made.when else 'not told'}")
        self.stdout.write(f"on_delete: {made.on_delete}")
        self.stdout.write(f"{made.verdict}: {made.text}")
        if made.message is not None:
            self.stdout.write(json.dumps(made.message, indent=2, ensure_ascii=False))
        if made.left_out:
            self.stdout.write("left out:")
        for each in made.left_out:
            line = f"  {each.name} ({each.reason}): {each.text}"
            self.stdout.write(self.style.WARNING(line) if each.reason == "error" else line)


def _find(text: str, using: str) -> list[tuple[PersonMap, str]]:
    person, says = shared.person(text)
    if says:
        return list(find_by_key(person, using=using))
    kind, colon, value = text.partition(":")
    if colon and "." in kind:
        person_map = registry.by_label(kind.lower())
        if person_map is None:
            raise CommandError(
                f"The model {kind} is not mapped. Mapped are: "
                f"{', '.join(each.label for each in registry) or 'no models'}."
            )
        return (
            [(person_map, value)]
            if person_map in maps_on(using) and _is_there(person_map, value, using)
            else []
        )
    found = [(each, text) for each in maps_on(using) if _is_there(each, text, using)]
    # To the verbs a plain text is the id over there, so here too, where it is no key.
    return found or list(find_by_key(person, using=using))


def _is_there(person_map: PersonMap, pk: str, using: str) -> bool:
    return bool(person_map.read([pk], using=using))
