"""What would be said of a person now, and why the rest would not. Sends and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from django.core.exceptions import FieldError, ValidationError
from django.db import router

from . import fingerprints
from .conf import get_workspace
from .exceptions import InvalidMessage
from .mapping import PersonMap, Reading, registry
from .messages import Identifiers
from .states import State, render_state

Verdict = Literal["changed", "unchanged", "excluded", "gone", "impossible"]
Reason = Literal["error", "unchanged", "owner", "no value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An attribute that would not be told, and why."""

    name: str
    reason: Reason
    text: str


@dataclass(slots=True, kw_only=True)
class Preview:
    """What a look at a row of a mapped model would come to."""

    database: str
    workspace: str
    model: str
    object_pk: str
    verdict: Verdict
    person: str = ""
    """The person's key, such as ``"id:42"``."""
    text: str = ""
    """The verdict as a sentence."""
    message: dict[str, Any] | None = None
    """The JSON that would go, None when nothing would."""
    left_out: list[LeftOut] = field(default_factory=list)
    known: bool = False
    """Whether Customer.io has accepted something of this person before."""
    when: bool | None = None
    """What the map's ``when`` says; None where it has none or could not say."""
    on_delete: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {
            "database": self.database,
            "workspace": self.workspace,
            "model": self.model,
            "object_pk": self.object_pk,
            "person": self.person,
            "verdict": self.verdict,
            "explanation": self.text,
            "message": self.message,
            "left_out": [
                {"name": each.name, "reason": each.reason, "explanation": each.text}
                for each in self.left_out
            ],
            "known": self.known,
            "when": self.when,
            "on_delete": self.on_delete,
        }


def preview(person_map: PersonMap, object_pk: str, *, using: str, key: str = "") -> Preview:
    """Render what a state message of this row would say now.

    Args:
        using: alias of the database that is read.
        key: the key under which the message was queued; a row that is known by another one
            by now is told under that one only.
    """
    made = Preview(
        database=using,
        workspace=person_map.workspace,
        model=person_map.label,
        object_pk=object_pk,
        verdict="gone",
        text="The row does not exist any more, or has no id: nothing would be sent.",
        on_delete=str(person_map.on_delete),
    )
    reading = person_map.read([object_pk], using=using).get(object_pk)
    if reading is None:
        return made
    made.person = reading.person.key
    if key and key != made.person:
        made.text = "The row is known by another id by now: nothing would be sent under this one."
        return made
    if reading.failure is not None:
        made.verdict = "impossible"
        made.text = f"Nothing would be sent: {reading.failure}"
        return made
    _judge(made, person_map, reading)
    return made


def _judge(made: Preview, person_map: PersonMap, reading: Reading) -> None:
    workspace = get_workspace(person_map.workspace)
    person = reading.person
    known = fingerprints.load(
        [person.key],
        using=made.database,
        workspace=workspace.alias,
        seal=fingerprints.seal(workspace.site),
    ).get(person.key)
    made.known = known is not None
    if person_map.when is not None:
        made.when = not reading.excluded
    if reading.excluded:
        made.verdict = "excluded"
        gone = person_map.delete_message(person) if made.known else None
        if gone is None:
            made.text = "when() says no: nothing would be sent."
        else:
            made.message = gone.as_dict()
            made.text = f"when() says no: a {gone.kind} would be sent."
        return
    try:
        state = render_state(person_map, reading, known, fingerprints.Hasher())
    except InvalidMessage as error:
        made.verdict = "impossible"
        made.text = f"Nothing would be sent: {error}"
        return
    made.left_out = list(_left_out(reading, state))
    if state.text is None:
        made.verdict = "unchanged"
        made.text = "Customer.io has accepted all of this already: nothing would be sent."
    else:
        made.verdict = "changed"
        made.message = json.loads(state.text)
        made.text = "This would be sent."


def _left_out(reading: Reading, state: State) -> Iterator[LeftOut]:
    for name, error in state.errors.items():
        yield LeftOut(name=name, reason="error", text=str(error))
    changed, withheld = set(state.changed), set(state.withheld)
    for name, value in reading.attributes.items():
        if name in changed or name in state.errors:
            continue
        if name in withheld:
            yield LeftOut(
                name=name,
                reason="owner",
                text="Customer.io owns it: told only when the site changes it afterwards.",
            )
        elif value is None and name not in reading.owners_elsewhere:
            yield LeftOut(
                name=name, reason="no value", text="It has no value, and none was ever told."
            )
        else:
            yield LeftOut(
                name=name, reason="unchanged", text="Customer.io has accepted this value already."
            )


def maps_on(using: str) -> Iterator[PersonMap]:
    """List the maps whose models have a table on this database, as the routers see it."""
    for person_map in registry:
        if router.allow_migrate_model(using, person_map.model):
            yield person_map


def find_by_key(person: Identifiers, *, using: str) -> Iterator[tuple[PersonMap, str]]:
    """Find the rows of mapped models that are this person: each map with a primary key."""
    for person_map in maps_on(using):
        if person_map.id_type != person.type:
            continue
        lookup = f"{person_map.id}__iexact" if person.type == "email" else person_map.id
        try:
            found = person_map.model._base_manager.using(using).filter(**{lookup: person.value})
            for instance in found[:2]:
                yield person_map, person_map.object_pk(instance)
        except (FieldError, ValidationError, ValueError):
            # An id that this model's field cannot hold, or one made by code.
            continue
