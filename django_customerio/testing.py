"""See in tests what would be said to Customer.io.

In a test run nothing is queued or sent, unless a test asks::

    from django_customerio.testing import capture

    def test_signing_up_is_told(db):
        with capture() as said:
            Customer.objects.create(email="ada@example.com")
        said.assert_identified(email="ada@example.com")
        said.assert_tracked("signed_up")

It is seen at once, without waiting for a commit that ``TestCase`` never makes. What a model
says is rendered when it is looked at, from the database as it is then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import buffer, queue
from .batches import ALONE
from .conf import get_settings
from .mapping import PersonMap, registry
from .messages import Identifiers, Identify, Message
from .testmode import in_test_run, sending_allowed


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that would be said.

    Attributes:
        kind: ``"identify"``, ``"event"``, ``"delete"`` and the other actions.
        person: its identifiers, such as ``{"id": "42"}``.
        name: of the event, page or screen.
        data: attributes of an identify, data of an event.
        json: the whole JSON object as it would be sent.
        workspace: alias of the workspace.
        using: alias of the database it was queued on.
    """

    kind: str
    person: dict[str, str]
    name: str
    data: dict[str, Any]
    json: dict[str, Any]
    workspace: str
    using: str


_SHOWN = 5
"""Entries in the short form of what was captured."""


@dataclass(slots=True)
class _State:
    person_map: PersonMap
    person: Identifiers
    object_pk: str
    using: str


@dataclass(slots=True)
class _Told:
    message: Message
    using: str
    workspace: str
    model: str
    object_pk: str


@dataclass(slots=True, repr=False)
class Captured:
    """What was captured, in order. Iterate over it, or use the properties."""

    _entries: list[_State | _Told] = field(default_factory=list)

    def __repr__(self) -> str:
        # Reads no row: a debugger asks at any time, even when the database is in trouble.
        shown = [_short(entry) for entry in self._entries[:_SHOWN]]
        more = len(self._entries) - len(shown)
        return f"<Captured: {', '.join(shown) or 'nothing'}{f' and {more} more' if more else ''}>"

    # What the queue calls.

    def add_state(
        self, *, person_map: PersonMap, person: Identifiers, object_pk: str, using: str
    ) -> None:
        self._entries.append(_State(person_map, person, object_pk, using))

    def add_message(
        self, message: Message, *, using: str, workspace: str, model: str, object_pk: str
    ) -> None:
        self._entries.append(_Told(message, using, workspace, model, object_pk))

    # What tests ask.

    @property
    def messages(self) -> list[Said]:
        """Everything that would be said now, in order.

        Looks at one person count once, at the first; people who are gone, or whom ``when``
        excludes, are not told of.
        """
        looked: set[tuple[str, str, str]] = set()
        said: list[Said] = []
        for entry in self._entries:
            if isinstance(entry, _Told):
                if not _is_excluded(entry):
                    said.append(_of_message(entry))
                continue
            look = (entry.person_map.label, entry.object_pk, entry.using)
            if look not in looked:
                looked.add(look)
                said += _of_state(entry)
        return said

    def __iter__(self) -> Iterator[Said]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def identifies(self) -> list[Said]:
        """What would be said of attributes."""
        return self.of_kind("identify")

    @property
    def events(self) -> list[Said]:
        """Events, anonymous ones among them."""
        return [said for said in self.messages if said.kind in ("event", "anonymous_event")]

    @property
    def deletes(self) -> list[Said]:
        """Deletes and suppressions."""
        return [said for said in self.messages if said.kind in ("delete", "suppress")]

    def of_kind(self, kind: str) -> list[Said]:
        """Those of one kind, such as ``"page"``."""
        return [said for said in self.messages if said.kind == kind]

    def clear(self) -> None:
        """Forget what was captured so far."""
        self._entries.clear()

    def assert_identified(self, person: Any = None, /, **attributes: Any) -> Said:
        """Assert that a person was identified with at least these attributes; returns it."""
        return self._find(
            self.identifies, person, "identified", lambda said: _holds(said.data, attributes),
            attributes,
        )  # fmt: skip

    def assert_tracked(self, name: str, person: Any = None, /, **data: Any) -> Said:
        """Assert that an event was tracked with at least this data; returns it."""
        return self._find(
            self.events,
            person,
            "tracked",
            lambda said: said.name == name and _holds(said.data, data),
            data,
            event=name,
        )

    def assert_deleted(self, person: Any = None, /) -> Said:
        """Assert that a person was deleted or suppressed; returns it."""
        return self._find(self.deletes, person, "deleted", lambda said: True, {})

    def assert_not_tracked(self, name: str, /) -> None:
        """Assert that no event of that name was tracked."""
        found = [said for said in self.events if said.name == name]
        if found:
            raise AssertionError(f"{name!r} was tracked {len(found)} times.\n{self.describe()}")

    def assert_nothing(self) -> None:
        """Assert that nothing would be said."""
        if self.messages:
            raise AssertionError(f"Something would be said.\n{self.describe()}")

    def describe(self) -> str:
        """List what would be said, for the text of a failing test."""
        lines = [f"  {said.kind} {said.person} {said.name} {said.data}" for said in self.messages]
        settings = get_settings()
        why = "" if settings.enabled else f", because {settings.path('ENABLED')} is off"
        return "Said:\n" + ("\n".join(lines) or f"  nothing{why}")

    def _find(
        self,
        among: list[Said],
        person: Any,
        what: str,
        matches: Any,
        wanted: dict[str, Any],
        *,
        event: str | None = None,
    ) -> Said:
        identifiers = None if person is None else _identifiers(person)
        for said in among:
            if (identifiers is None or said.person == identifiers) and matches(said):
                return said
        whom = f"person {identifiers}" if identifiers else "person who has no identifier yet"
        if event is not None:
            of = "" if identifiers is None else f" of the {whom}"
            problem = f"No event {event!r} was {what}{of}"
        elif identifiers is None:
            problem = f"Nobody was {what}"
        else:
            problem = f"The {whom} was not {what}"
        having = f" with {wanted}" if wanted else ""
        raise AssertionError(f"{problem}{having}.\n{self.describe()}")


@contextmanager
def capture() -> Iterator[Captured]:
    """Collect what is said inside the block. Blocks nest; the innermost collects.

    Raises:
        RuntimeError: this is no test run, where what is said would be queued and sent.
    """
    if not in_test_run():
        raise RuntimeError(
            "capture() works in test runs, and Django's test environment is not set up: use a "
            "test runner of Django's or pytest-django, or call setup_test_environment() of "
            "django.test.utils."
        )
    captured = Captured()
    queue.captures.append(captured)
    try:
        yield captured
    finally:
        queue.captures.remove(captured)


@contextmanager
def live() -> Iterator[None]:
    """Write real rows inside the block, and let them be sent, to this machine only.

    For tests of the whole way: they need real commits (``TransactionTestCase``, or
    pytest's ``transaction=True``) and a ``TRACK_URL`` on loopback, such as the sandbox.
    With ``QUEUE = "memory"``, call ``django_customerio.buffer.flush()`` to see rows at once;
    leaving the block writes what waits.
    """
    queue.forget_tables()
    with sending_allowed():
        try:
            yield
        finally:
            buffer.close()


def _short(entry: _State | _Told) -> str:
    if isinstance(entry, _State):
        return f"identify {entry.person_map.label}"
    message = entry.message
    return f"{message.kind} {message.name!r}" if message.name else message.kind


def _of_message(entry: _Told) -> Said:
    json = entry.message.as_dict()
    person = queue.person_of(entry.message)
    data = json.get("attributes", json.get("data", {}))
    return Said(
        kind=entry.message.kind,
        person=person.as_dict(),
        name=entry.message.name,
        data=data,
        json=json,
        workspace=entry.workspace,
        using=entry.using,
    )


def _of_state(entry: _State) -> list[Said]:
    reading = entry.person_map.read([entry.object_pk], using=entry.using).get(entry.object_pk)
    if reading is None or reading.person.key != entry.person.key or reading.excluded:
        return []
    if reading.failure is not None:
        raise reading.failure
    attributes = {
        name: value
        for name, value in reading.attributes.items()
        if value is not None and name not in reading.owners_elsewhere
    }
    message = Identify(
        person=reading.person,
        attributes=attributes,
        timestamp=reading.at // 1000,
        update_only=entry.person_map.update_only,
    )
    return [
        Said(
            kind="identify",
            person=reading.person.as_dict(),
            name="",
            data=attributes,
            json=message.as_dict(),
            workspace=entry.person_map.workspace,
            using=entry.using,
        )
    ]


def _is_excluded(entry: _Told) -> bool:
    person_map = registry.by_label(entry.model) if entry.model else None
    if person_map is None or person_map.when is None or entry.message.kind in ALONE:
        return False
    reading = person_map.read([entry.object_pk], using=entry.using).get(entry.object_pk)
    return reading is not None and reading.excluded


def _identifiers(person: Any) -> dict[str, str]:
    person_map = registry.get(person)
    if person_map is None:
        return Identifiers.parse(person).as_dict()
    found = person_map.identify_key(person, using=person._state.db or "default")
    return {} if found is None else found.as_dict()


def _holds(data: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(name in data and data[name] == value for name, value in wanted.items())
