"""What an operation does to the sandbox's people: Customer.io's rules, as documented.

Every API and version ends here, in the shape of v2. Operations of one request are applied
in order; what came of each is kept as activity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .conf import get_sandbox_settings
from .gate import now_ms
from .models import Activity, Device, Person, Relationship, Suppression
from .operations import Operation, assign, attribute_keys, keys_of, object_key
from .people import People, insert
from .rules import ATTRIBUTES, Key, key_of

DAY = 24 * 60 * 60 * 1000
_REMEMBERED = 30 * DAY  # anonymous events wait this long for their person
_GRACE = 5 * 60 * 1000  # and are still taken this long after the person was identified
_Outcome = Activity.Outcome


class Intake:
    """Applies the operations of one request.

    Args:
        using: Alias of the sandbox's database.
        request: Number of the request.
    """

    def __init__(self, using: str, request: int) -> None:
        self.using = using
        self.request = request
        self.now = now_ms()
        self.people = People(using)
        self.log: list[Activity] = []
        self._settings = get_sandbox_settings()
        self._ulids: set[str] = set()
        self._actions: dict[str, Callable[[Operation], None]] = {
            "identify": self._identify,
            "delete": self._delete,
            "event": self._event,
            "page": self._event,
            "screen": self._event,
            "add_device": self._add_device,
            "delete_device": self._delete_device,
            "add_relationships": self._add_relationships,
            "delete_relationships": self._delete_relationships,
            "merge": self._merge,
            "suppress": self._suppress,
            "unsuppress": self._unsuppress,
        }

    def apply(self, operations: Sequence[Operation]) -> None:
        """Applies operations that were checked, in order, and writes what came of them."""
        self.people.load({key for operation in operations for key in keys_of(operation.item)})
        self._load_ulids(operations)
        for operation in operations:
            action: str = operation.item["action"]
            if action != "merge" and action != "unsuppress":
                key = key_of(operation.item["identifiers"])
                if str(key) in self.people.suppressed:
                    self._note(operation, _Outcome.IGNORED, "the identifier is suppressed")
                    continue
            self._actions[action](operation)
        self.finish()

    def refuse(self, text: str, item: Any, why: str) -> None:
        """Keeps an item that was refused, with the reason."""
        kind = item.get("action") if isinstance(item, dict) else None
        name = item.get("name") if isinstance(item, dict) else None
        self.log.append(
            Activity(
                request=self.request,
                received_at=self.now,
                kind=kind[:24] if isinstance(kind, str) else "item",
                outcome=_Outcome.REFUSED,
                name=name[:200] if isinstance(name, str) else "",
                note=why[:300],
                payload=text.encode(errors="replace").decode(),
            )
        )

    def anonymous(self, operation: Operation, anonymous_id: str) -> None:
        """An event of somebody not yet known, or an invitation without any identifier."""
        self._load_ulids([operation])
        if self._repeated(operation):
            return
        person = None
        if anonymous_id:
            person = (
                Person.objects.using(self.using)
                .filter(
                    state=Person.State.ACTIVE,
                    anonymous_id=anonymous_id,
                    anonymous_since__gte=self.now - _GRACE,
                )
                .first()
            )
        self._note(
            operation,
            _Outcome.APPLIED,
            "" if anonymous_id else "an invitation: to nobody in the workspace",
            person,
            who=f"anonymous_id:{anonymous_id}" if anonymous_id else "",
        )

    def finish(self) -> None:
        """Writes people first, then the log that refers to them."""
        self.people.write()
        insert(self.log, self.using)
        self.log = []

    # What each action does.

    def _identify(self, operation: Operation) -> None:
        item = operation.item
        key = key_of(item["identifiers"])
        values: dict[str, Any] = dict(item.get("attributes", {}))
        update_only = values.pop("_update", False)
        said_at = item["timestamp"] * 1000 if "timestamp" in item else self.now
        person, remarks = self.people.get(key), []
        if person is None and key.type != "cio_id":
            person = self._by_attributes(key, values)
        if person is None:
            if key.type == "cio_id":
                return self._note(operation, _Outcome.IGNORED, "nobody has this cio_id")
            if update_only:
                why = "failed attribute change: update only, and nobody is known by this"
                return self._note(operation, _Outcome.FAILED, why)
            person = self.people.add(key, self.now)
            remarks.append("new person")
        remarks += self._identifiers(person, key, values)
        newer = {n: v for n, v in values.items() if person.times.get(n, 0) <= said_at}
        if len(newer) < len(values):
            remarks.append(f"older than what is known: {len(values) - len(newer)}")
        for name, value in newer.items():
            assign(person, name, value)
            person.times[name] = said_at
        while len(person.attributes) > ATTRIBUTES:
            person.attributes.popitem()
            remarks.append(f"more than {ATTRIBUTES} attributes")
        self._adopt(person, values)
        for relationship in item.get("cio_relationships", ()):
            self._relate(person, relationship)
        self.people.touch(person, self.now)
        unused = values and not newer and not item.get("cio_relationships")
        outcome = _Outcome.IGNORED if unused else _Outcome.APPLIED
        failed = any(remark.startswith("failed") for remark in remarks)
        self._note(operation, _Outcome.FAILED if failed else outcome, "; ".join(remarks), person)

    def _by_attributes(self, key: Key, values: dict[str, Any]) -> Person | None:
        """Nobody is known by the key: somebody may be by an identifier in the attributes."""
        for candidate in attribute_keys(values):
            if candidate.type == "email" and not self._settings.email_identifies:
                continue
            if person := self.people.get(candidate):
                self.people.rename(person, key.type, key.value)
                if key.type in {"id", "email"}:
                    person.attributes[key.type] = key.value
                return person
        return None

    def _identifiers(self, person: Person, key: Key, values: dict[str, Any]) -> list[str]:
        """Moves identifiers as far as that is allowed; the rest leaves the values."""
        remarks = []
        for type_, column in (("id", "identifier"), ("email", "email")):
            if type_ not in values:
                continue
            wanted = values[type_] or ""
            compared = wanted.lower() if type_ == "email" else wanted
            current = getattr(person, column)
            if compared == current:
                continue
            free_to_change = (
                not current
                or key.type == "cio_id"
                or (type_ == "email" and not self._settings.email_identifies)
                or (type_ == "email" and key.type == "id" and self._settings.email_changes)
            )
            other = self.people.get(Key(type_, compared)) if compared else None
            if type_ == "email" and not self._settings.email_identifies:
                other = None
            if other is not None and other is not person:
                remarks.append(f"failed attribute update: {type_} belongs to somebody else")
                del values[type_]
            elif not free_to_change or (type_ == "id" and not compared):
                remarks.append(f"failed attribute update: {type_} cannot be changed this way")
                del values[type_]
            else:
                self.people.rename(person, type_, compared)
        return remarks

    def _adopt(self, person: Person, values: dict[str, Any]) -> None:
        anonymous_id = values.get("anonymous_id")
        if anonymous_id and anonymous_id != person.anonymous_id:
            person.anonymous_id, person.anonymous_since = anonymous_id, self.now
            self.people.adopt(f"anonymous_id:{anonymous_id}", person, since=self.now - _REMEMBERED)

    def _event(self, operation: Operation) -> None:
        if self._repeated(operation):
            return
        person, remark = self._somebody(operation)
        if person is None:
            return self._note(operation, _Outcome.IGNORED, remark)
        self._note(operation, _Outcome.APPLIED, remark, person)

    def _delete(self, operation: Operation) -> None:
        person = self.people.get(key_of(operation.item["identifiers"]))
        if person is None:
            return self._note(operation, _Outcome.IGNORED, "nobody is known by this")
        self.people.remove(person, Person.State.DELETED, self.now)
        self._note(operation, _Outcome.APPLIED, "", person)

    def _suppress(self, operation: Operation) -> None:
        key = key_of(operation.item["identifiers"])
        person = self.people.get(key)
        keys = {key}
        if person is not None:
            keys |= {k for k in self.people.keys(person) if k.type != "cio_id"}
            self.people.remove(person, Person.State.SUPPRESSED, self.now)
        owner = person.cio_id if person else ""
        Suppression.objects.using(self.using).bulk_create(
            [Suppression(key=str(key), person=owner) for key in sorted(keys)]
        )
        self.people.suppressed.update(map(str, keys))
        self._note(operation, _Outcome.APPLIED, "", person)

    def _unsuppress(self, operation: Operation) -> None:
        rows = Suppression.objects.using(self.using)
        first = rows.filter(key=str(key_of(operation.item["identifiers"]))).first()
        if first is None:
            return self._note(operation, _Outcome.IGNORED, "the identifier is not suppressed")
        # Whoever had two identifiers was blocked by both.
        freed = rows.filter(person=first.person) if first.person else rows.filter(pk=first.pk)
        self.people.suppressed.difference_update(freed.values_list("key", flat=True))
        freed.delete()
        self._note(operation, _Outcome.APPLIED, "the identifier is free; no data returns")

    def _merge(self, operation: Operation) -> None:
        primary = self.people.get(key_of(operation.item["primary"]))
        secondary = self.people.get(key_of(operation.item["secondary"]))
        if primary is None or secondary is None or primary is secondary:
            side = "primary" if primary is None else "secondary"
            why = "both are one person" if primary else f"no {side}"
            if primary is not None and secondary is None:
                why = "no secondary"
            return self._note(operation, _Outcome.IGNORED, f"nothing happens: {why}", primary)
        self.people.remove(secondary, Person.State.MERGED, self.now)
        for name, value in secondary.attributes.items():
            primary.attributes.setdefault(name, value)
        for type_, column in (("id", "identifier"), ("email", "email"), ("phone", "phone")):
            if not getattr(primary, column) and getattr(secondary, column):
                self.people.rename(primary, type_, getattr(secondary, column))
        self.people.touch(primary, self.now)
        self.finish()
        Activity.objects.using(self.using).filter(
            person=secondary, kind__in=Activity.EVENTS, received_at__gte=self.now - 30 * DAY
        ).update(person=primary)
        self._note(operation, _Outcome.APPLIED, f"{secondary.label} is folded in"[:300], primary)

    def _add_device(self, operation: Operation) -> None:
        person, remark = self._somebody(operation)
        if person is None:
            return self._note(operation, _Outcome.IGNORED, remark)
        self.people.write_fresh()
        device = operation.item["device"]
        Device.objects.using(self.using).update_or_create(
            person=person,
            token=device["token"],
            defaults={
                "platform": device["platform"],
                "last_used": device.get("last_used", self.now // 1000) * 1000,
                "attributes": device.get("attributes", {}),
            },
        )
        self._note(operation, _Outcome.APPLIED, remark, person)

    def _delete_device(self, operation: Operation) -> None:
        person = self.people.get(key_of(operation.item["identifiers"]))
        gone = 0
        if person is not None:
            gone, _ = (
                Device.objects.using(self.using)
                .filter(person=person, token=operation.item["device"]["token"])
                .delete()
            )
        outcome = _Outcome.APPLIED if gone else _Outcome.IGNORED
        self._note(operation, outcome, "" if gone else "there is no such device", person)

    def _add_relationships(self, operation: Operation) -> None:
        person, remark = self._somebody(operation)
        if person is None:
            return self._note(operation, _Outcome.IGNORED, remark)
        for relationship in operation.item["cio_relationships"]:
            self._relate(person, relationship)
        self._note(operation, _Outcome.APPLIED, remark, person)

    def _delete_relationships(self, operation: Operation) -> None:
        person = self.people.get(key_of(operation.item["identifiers"]))
        gone = 0
        if person is not None:
            keys = [object_key(r) for r in operation.item["cio_relationships"]]
            gone, _ = (
                Relationship.objects.using(self.using)
                .filter(person=person, object_key__in=keys)
                .delete()
            )
        outcome = _Outcome.APPLIED if gone else _Outcome.IGNORED
        self._note(operation, outcome, "" if gone else "there is no such relationship", person)

    # Small steps of the above.

    def _somebody(self, operation: Operation) -> tuple[Person | None, str]:
        """Who is meant; unknown people are created, except by a ``cio_id``."""
        key = key_of(operation.item["identifiers"])
        if person := self.people.get(key):
            self.people.touch(person, self.now)
            return person, ""
        if key.type == "cio_id":
            return None, "nobody has this cio_id"
        return self.people.add(key, self.now), "new person"

    def _relate(self, person: Person, relationship: dict[str, Any]) -> None:
        self.people.write_fresh()
        Relationship.objects.using(self.using).update_or_create(
            person=person,
            object_key=object_key(relationship),
            defaults={"attributes": relationship.get("relationship_attributes", {})},
        )

    def _load_ulids(self, operations: Sequence[Operation]) -> None:
        ulids = [o.item["id"].upper() for o in operations if "id" in o.item]
        rows = Activity.objects.using(self.using).filter(outcome=_Outcome.APPLIED)
        for start in range(0, len(ulids), 500):
            known = rows.filter(ulid__in=ulids[start : start + 500])
            self._ulids.update(known.values_list("ulid", flat=True))

    def _repeated(self, operation: Operation) -> bool:
        if "id" not in operation.item:
            return False
        ulid = operation.item["id"].upper()
        if ulid in self._ulids:
            self._note(operation, _Outcome.REPEAT, "this ULID was there before")
            return True
        self._ulids.add(ulid)
        return False

    def _note(
        self,
        operation: Operation,
        outcome: str,
        why: str,
        person: Person | None = None,
        *,
        who: str | None = None,
    ) -> None:
        item = operation.item
        if who is None:
            named = item.get("identifiers") or item["primary"]
            who = str(key_of(named))
        if person is None and outcome == _Outcome.REPEAT and "identifiers" in item:
            person = self.people.get(key_of(item["identifiers"]))
        self.log.append(
            Activity(
                request=self.request,
                received_at=self.now,
                happened_at=item["timestamp"] * 1000 if "timestamp" in item else None,
                kind=item["action"],
                outcome=outcome,
                person=person,
                who=who,
                name=item.get("name", "").strip()[:200],
                ulid=item.get("id", "").upper(),
                note=why[:300],
                payload=operation.text,
            )
        )
