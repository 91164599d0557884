"""From rows of the outbox to what one request says.

State rows are rendered here, from the database as it is now; history rows are joined as
they are. Everything is decided with one look at the rows, their people and what was last
accepted, and nothing is written: ``delivery`` does that when the answer is known.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import Error as DatabaseError

from . import fingerprints
from .conf import WorkspaceSettings
from .exceptions import InvalidMessage
from .fingerprints import DOUBT, Hashes
from .identifiers import Identifiers, lane_of
from .mapping import PersonMap, Reading, registry
from .models import OutboxMessage, Tombstone
from .rows import Row
from .states import render_state

logger = logging.getLogger(__name__)

BATCH_BYTES = 475_000
"""Customer.io takes 500 KB and leaves open whether a KB is 1,000 or 1,024 bytes."""

BATCH_ITEMS = 500

STEPS = (BATCH_ITEMS, 50, 5, 1)
"""Most items of a batch, by how often the owner of its lane vanished: a payload that kills
its worker is found in small steps."""

ROOM = BATCH_BYTES - len('{"batch":[]}')
"""Bytes for the items of a batch."""

Kind = OutboxMessage.Kind
ALONE = frozenset({Kind.DELETE.value, Kind.SUPPRESS.value, Kind.MERGE.value})
"""Kinds that end a person."""

APART = ALONE | {Kind.UNSUPPRESS.value}
"""Kinds that never share a request with others of their person: Customer.io does not say in
which order it works through a batch."""


@dataclass(slots=True, kw_only=True)
class Item:
    """One thing to say, and the rows that are settled once it was accepted."""

    kind: str
    person: str
    text: str
    rows: list[Row]
    hashes: Hashes | None = None
    """What is known of the person once this was accepted."""
    names: str = ""
    """The attributes that a state row came to tell."""
    tombstone: int | None = None
    """The tombstone of which this is the repetition."""

    @property
    def lane(self) -> int:
        """The lane of the person."""
        return self.rows[0].lane if self.rows else lane_of(self.person)

    @property
    def is_suspect(self) -> bool:
        """Whether it failed alone before, and so is sent alone."""
        return any(row.attempts for row in self.rows)


@dataclass(slots=True, kw_only=True)
class Plan:
    """What becomes of the rows that were read."""

    items: list[Item] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)
    """Nothing to say: unchanged, gone or excluded."""
    learned: dict[str, Hashes] = field(default_factory=dict)
    """New baselines of people about whom there is nothing to say."""
    discarded: list[Row] = field(default_factory=list)
    """Older than a delete of their person."""
    expired: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    """Meant for another site."""
    broken: list[tuple[Row, InvalidMessage]] = field(default_factory=list)
    """Cannot be rendered."""
    superseded: set[int] = field(default_factory=set)
    """Tombstones whose repetition newer rows made wrong."""


def plan(
    rows: Sequence[Row],
    *,
    using: str,
    workspace: WorkspaceSettings,
    tombstones: Sequence[Tombstone],
    closed: set[str],
    doubtful: Collection[int] = (),
    limit: int = BATCH_ITEMS,
    room: int = ROOM,
) -> Plan:
    """Decide what becomes of each row, in order of their ids.

    Args:
        closed: people whose rows must wait.
        doubtful: lanes whose last owner vanished: what they sent may have been applied.
        limit: most items of the batch.
        room: most bytes of the batch.
    """
    made = Plan()
    shut = set(closed)
    graves = defaultdict(list)
    for tombstone in tombstones:
        graves[tombstone.person].append(tombstone)
    rows = _sort_out(rows, made, site=workspace.site, graves=graves)
    look = _Look(rows, using=using, workspace=workspace, doubtful=doubtful)
    said: dict[str, tuple[Row, Item | None]] = {}
    """The last identify of each person in this batch, and what it came to."""
    seen: set[str] = set()
    for row in rows:
        if (
            row.person in shut
            or row.waiting
            or len(made.items) >= limit
            or (row.attempts and made.items)
            or (row.kind == Kind.MERGE and _waits_for_other(row, using, workspace.alias))
            # What is known by then decides what it says: not until that was accepted.
            or (row.kind == Kind.STATE and row.person in said and not _is_same(row, said))
        ):
            # Whatever follows of this person waits too: their order is kept.
            shut.add(row.person)
            continue
        if row.kind == Kind.STATE and row.person in said:
            # The same reading answers every look at this row.
            _, item = said[row.person]
            if item is None:
                made.dropped.append(row)
            else:
                item.rows.append(row)
            continue
        try:
            item = look.item(row, made)
        except InvalidMessage as error:
            made.broken.append((row, error))
            continue
        if item is not None:
            needed = size([item])
            if (item.kind in APART and row.person in seen) or needed > room:
                shut.add(row.person)
                continue
            room -= needed
            seen.add(row.person)
            if item.kind in APART:
                shut.add(row.person)
            made.items.append(item)
            made.superseded.update(
                grave.pk for grave in graves.get(row.person, ()) if row.id > grave.message_id
            )
            if row.attempts:
                limit = 1
        else:
            made.dropped.append(row)
        if row.kind in (Kind.STATE, Kind.IDENTIFY):
            said[row.person] = row, item
    return made


def _is_same(row: Row, said: Mapping[str, tuple[Row, Item | None]]) -> bool:
    """Say whether the person's last identify in the batch was a look at the same row."""
    last, _ = said[row.person]
    return (last.kind, last.model, last.object_pk) == (row.kind, row.model, row.object_pk)


def _waits_for_other(row: Row, using: str, workspace: str) -> bool:
    """Say whether the person who is merged away still has older messages to come."""
    other = merged_away(row)
    return (
        OutboxMessage.objects.using(using)
        .filter(
            workspace=workspace,
            lane=lane_of(other),
            state=OutboxMessage.State.PENDING,
            person=other,
            id__lt=row.id,
        )
        .exists()
    )


def merged_away(row: Row) -> str:
    """The key of the person whom a merge removes."""
    return Identifiers.parse(json.loads(row.body)["secondary"]).key


def _sort_out(
    rows: Sequence[Row], made: Plan, *, site: str, graves: Mapping[str, Sequence[Tombstone]]
) -> list[Row]:
    """Take out what is not to be said at all."""
    kept = []
    for row in rows:
        if row.site != site:
            made.held.append(row)
        elif row.expired:
            made.expired.append(row)
        elif any(
            row.id <= grave.message_id and grave.kind != Kind.MERGE
            for grave in graves.get(row.person, ())
        ):
            made.discarded.append(row)
        else:
            kept.append(row)
    return kept


class _Look:
    """One look at the people of a batch: their rows, and what was last accepted of them."""

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        using: str,
        workspace: WorkspaceSettings,
        doubtful: Collection[int],
    ) -> None:
        wanted: dict[str, set[str]] = defaultdict(set)
        people = set()
        self._maps: dict[str, PersonMap | None] = {}
        for row in rows:
            if row.model and row.model not in self._maps:
                self._maps[row.model] = registry.by_label(row.model)
            person_map = self._maps.get(row.model)
            if row.kind == Kind.STATE:
                people.add(row.person)
            elif person_map is None or person_map.when is None or row.kind in ALONE:
                continue
            else:
                people.add(row.person)
            wanted[row.model].add(row.object_pk)
        self._doubtful = doubtful
        self._readings: dict[str, Mapping[str, Reading | InvalidMessage]] = {}
        for label, pks in wanted.items():
            person_map = self._maps[label]
            if person_map is not None:
                self._readings[label] = _read_people(person_map, pks, using=using)
        self._seal = fingerprints.seal(workspace.site)
        self._known = fingerprints.load(
            people, using=using, workspace=workspace.alias, seal=self._seal
        )
        self._hash = fingerprints.Hasher()

    def item(self, row: Row, made: Plan) -> Item | None:
        """Say what a row says now; None when that is nothing.

        Raises:
            InvalidMessage: it cannot be said.
        """
        if row.kind == Kind.STATE:
            return self._state(row, made)
        if row.model and self._is_excluded(row):
            return None
        return Item(kind=row.kind, person=row.person, text=row.body, rows=[row])

    def _is_excluded(self, row: Row) -> bool:
        person_map = self._maps[row.model]
        if person_map is None or person_map.when is None or row.kind in ALONE:
            return False
        reading = self._readings[row.model].get(row.object_pk)
        if reading is None:
            # Gone: nobody can say any more whether they were excluded. Tell it only of
            # somebody Customer.io has heard of.
            return row.person not in self._known
        if isinstance(reading, InvalidMessage):
            raise reading
        if reading.failure is not None:
            raise reading.failure
        return reading.excluded

    def _state(self, row: Row, made: Plan) -> Item | None:
        person_map = self._maps[row.model]
        if person_map is None:
            raise InvalidMessage(
                f"The model {row.model} is not mapped any more: register it again, or discard "
                f"the message.",
                field="model",
            )
        reading = self._readings[row.model].get(row.object_pk)
        if isinstance(reading, InvalidMessage):
            raise reading
        if reading is None or reading.person.key != row.person:
            # Gone, or known by another id by now, which has its own row.
            return None
        if reading.failure is not None:
            raise reading.failure
        known = self._known.get(row.person)
        if row.lane in self._doubtful:
            known = {**(known or {}), DOUBT: ""}
        if reading.excluded:
            message = person_map.delete_message(reading.person) if known is not None else None
            if message is None:
                return None
            return Item(kind=message.kind, person=row.person, text=message.as_json(), rows=[row])
        state = render_state(person_map, reading, known, self._hash)
        for name, problem in state.errors.items():
            logger.warning(
                "Attribute %r of %s cannot be told and is left out: %s",
                name,
                row.model,
                problem,
                extra={"customerio_attribute": name, "customerio_model": row.model},
            )
        if state.text is None:
            if state.hashes != known:
                made.learned[row.person] = state.hashes
            return None
        return Item(
            kind=Kind.IDENTIFY.value,
            person=row.person,
            text=state.text,
            rows=[row],
            hashes=state.hashes,
            names=",".join(state.changed),
        )


def _read_people(
    person_map: PersonMap, pks: Collection[str], *, using: str
) -> Mapping[str, Reading | InvalidMessage]:
    """Read people; where one row cannot even be loaded, the others all the same."""
    try:
        return person_map.read(pks, using=using)
    except DatabaseError:
        raise
    except Exception as error:
        if len(pks) > 1:
            read: dict[str, Reading | InvalidMessage] = {}
            for pk in pks:
                read.update(_read_people(person_map, {pk}, using=using))
            return read
        # Made anew, so that no frame, and with it no value, stays reachable from it.
        problem = f"The row of {person_map.label} cannot be read: {type(error).__name__}."
    return dict.fromkeys(pks, InvalidMessage(problem))


def size(items: Sequence[Item]) -> int:
    """Bytes of items in the body of a request."""
    return sum(len(item.text.encode()) + 1 for item in items)


def join(items: Sequence[Item]) -> bytes:
    """Put items into the body of one request, without encoding them again."""
    return f'{{"batch":[{",".join([item.text for item in items])}]}}'.encode()
