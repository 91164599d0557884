"""The people one request speaks about: found in a few queries, written back in a few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connections
from django.db.models import AutoField, Model, Q

from .models import Activity, Device, Person, Relationship, Suppression, encode
from .rules import Key

_COLUMNS = {"id": "identifier", "email": "email", "phone": "phone", "cio_id": "cio_id"}
_FIXED = frozenset({"cio_id", "first_seen"})
_CHUNK = 500  # well below SQLite's limit of variables


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = list(values)
    while rest:
        chunk, rest = rest[:_CHUNK], rest[_CHUNK:]
        yield chunk


class People:
    """Active people by their keys, as they are at this point of the request.

    Args:
        using: Alias of the sandbox's database.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self._by_key: dict[Key, Person] = {}
        self._fresh: dict[str, Person] = {}
        self._changed: dict[str, Person] = {}
        self._gone: dict[str, Person] = {}
        self.suppressed: set[str] = set()

    def load(self, keys: set[Key]) -> None:
        """Reads whoever these keys name, and which of them are suppressed."""
        wanted: dict[str, set[str]] = {}
        for key in keys:
            wanted.setdefault(key.type, set()).add(key.value)
        people = Person.objects.using(self.using).filter(state=Person.State.ACTIVE)
        for type_, values in wanted.items():
            for chunk in _chunks(values):
                for person in people.filter(**{f"{_COLUMNS[type_]}__in": chunk}):
                    # Found by two keys, the later object takes all keys of the earlier one.
                    self._index(person)
        suppressions = Suppression.objects.using(self.using)
        if suppressions.exists():
            for chunk in _chunks(map(str, keys)):
                found = suppressions.filter(key__in=chunk).values_list("key", flat=True)
                self.suppressed.update(found)

    def get(self, key: Key) -> Person | None:
        return self._by_key.get(key)

    def add(self, key: Key, now: int) -> Person:
        """A new person, known by this key."""
        person = Person(first_seen=now, last_seen=now)
        setattr(person, _COLUMNS[key.type], key.value)
        if key.type in {"id", "email"}:
            person.attributes[key.type] = key.value
        self._index(person)
        self._fresh[person.cio_id] = person
        return person

    def rename(self, person: Person, type_: str, value: str) -> None:
        """Gives a person another identifier, or takes one away."""
        old = Key(type_, getattr(person, _COLUMNS[type_]))
        self._by_key.pop(old, None)
        setattr(person, _COLUMNS[type_], value)
        if value:
            self._by_key[Key(type_, value)] = person

    def touch(self, person: Person, now: int) -> None:
        """Notes that the person was changed."""
        person.last_seen = now
        if person.cio_id not in self._fresh:
            self._changed[person.cio_id] = person

    def remove(self, person: Person, state: str, now: int) -> None:
        """The person is gone; the row stays, to be shown."""
        person.state = state
        self.touch(person, now)
        self._gone[person.cio_id] = person
        for key in self.keys(person):
            self._by_key.pop(key, None)

    def keys(self, person: Person) -> list[Key]:
        """Every identifier of a person."""
        pairs = ((type_, getattr(person, column)) for type_, column in _COLUMNS.items())
        return [Key(type_, value) for type_, value in pairs if value]

    def write_fresh(self) -> None:
        """Inserts who is new, so that devices and activity can refer to them."""
        insert(self._fresh.values(), self.using)
        self._fresh = {}

    def write(self) -> None:
        """Writes everybody who is new or was changed."""
        self.write_fresh()
        if self._changed:
            self._update(self._changed.values())
            self._changed = {}
        for chunk in _chunks(self._gone):
            Device.objects.using(self.using).filter(person__in=chunk).delete()
            Relationship.objects.using(self.using).filter(person__in=chunk).delete()
        self._gone = {}

    def adopt(self, who: str, person: Person, *, since: int) -> None:
        """Gives earlier anonymous events to the person they turned out to be."""
        self.write_fresh()
        Activity.objects.using(self.using).filter(
            Q(person=None), who=who, received_at__gte=since
        ).update(person=person)

    def _index(self, person: Person) -> None:
        for key in self.keys(person):
            self._by_key[key] = person

    def _update(self, people: Iterable[Person]) -> None:
        # One prepared statement for all: bulk_update() builds a CASE per row and column.
        connection = connections[self.using]
        quote = connection.ops.quote_name
        names = [f.attname for f in Person._meta.concrete_fields if f.attname not in _FIXED]
        assignments = ", ".join(f"{quote(name)} = %s" for name in names)
        sql = (
            f"UPDATE {quote(Person._meta.db_table)} SET {assignments} "  # noqa: S608
            f"WHERE {quote('cio_id')} = %s"
        )
        with connection.cursor() as cursor:
            cursor.executemany(sql, [_row(person, [*names, "cio_id"]) for person in people])


def insert(rows: Iterable[Model], using: str) -> None:
    """Inserts rows of one model, whose fields are numbers, text and JSON.

    One prepared statement for all is twice as fast as ``bulk_create()``, which looks at
    every value for an expression.
    """
    found = list(rows)
    if not found:
        return
    connection = connections[using]
    quote = connection.ops.quote_name
    meta = found[0]._meta
    names = [f.attname for f in meta.concrete_fields if not isinstance(f, AutoField)]
    sql = (
        f"INSERT INTO {quote(meta.db_table)} ({', '.join(map(quote, names))}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(names))})"
    )
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_row(row, names) for row in found])


def _row(row: Model, names: list[str]) -> list[Any]:
    values = row.__dict__
    return [encode(v) if isinstance(v := values[name], dict) else v for name in names]
