"""Reading people: one query for many of them, the typed values of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Model, QuerySet

from .attributes import Attribute
from .clock import DatabaseClock
from .exceptions import InvalidAttribute, InvalidMessage
from .keys import PersonKey, RowKey
from .messages import Identifiers
from .sources import Trace

_CLOCK = "customerio_clock"


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a row of a mapped model says about its person, at one moment.

    Attributes:
        person: whom it is about, by the row as it is now.
        attributes: name to JSON value of every attribute that could be rendered.
        owners_elsewhere: names of the attributes that Customer.io owns.
        errors: name to error of the attributes that could not be rendered, without values.
        excluded: whether the map's ``when`` says that this is nobody to be told.
        failure: set if ``when`` itself failed. Whether the person may be told is unknown
            then, so nothing may be sent; ``attributes`` is empty.
        at: the moment, in milliseconds since 1970 by the database's clock.
    """

    person: Identifiers
    attributes: dict[str, Any]
    owners_elsewhere: frozenset[str] = frozenset()
    errors: dict[str, InvalidAttribute] = field(default_factory=dict)
    excluded: bool = False
    failure: InvalidMessage | None = None
    at: int = 0


class Reader:
    """Reads the people of one map; prepared once a process.

    Where only columns are wanted it reads those, without making instances; the first method,
    property, callable or ``when`` makes it load instances, with the joins that the sources
    and the map name.

    Args:
        model: the mapped model.
        attributes: what to say about each person.
        traces: where the value of each attribute comes from, in the same order.
        row_key: names the rows.
        person_key: identifies the people.
        when: says whether an instance is a person to be told; None for everybody.
        select_related: joins beyond those that the sources need.
        prefetch_related: what else to load in advance.
    """

    def __init__(
        self,
        model: type[Model],
        *,
        attributes: Sequence[Attribute],
        traces: Sequence[Trace],
        row_key: RowKey,
        person_key: PersonKey,
        when: Callable[[Any], object] | None,
        select_related: Iterable[str],
        prefetch_related: Iterable[Any],
    ) -> None:
        self._model = model
        self._row_key = row_key
        self._person_key = person_key
        self._when = when
        self._names = [attribute.name for attribute in attributes]
        self._cleaners = [attribute.clean for attribute in attributes]
        self._getters = [attribute.value_from for attribute in attributes]
        self._elsewhere = frozenset(a.name for a in attributes if a.owner == "customerio")
        joins = (traced.joins for traced in traces if traced.joins)
        self._joins = tuple(dict.fromkeys((*joins, *select_related)))
        self._prefetches = tuple(prefetch_related)
        lookups = [traced.lookup for traced in traces]
        self._columns = None if when is not None or None in lookups else lookups

    def read(self, pks: Iterable[str], *, using: str) -> dict[str, Reading]:
        """Read many rows in one query, by primary keys in text form."""
        wanted: dict[str, list[str]] = {}
        values = []
        for text in pks:
            value = self._row_key.value(text)
            if value is not None:
                values.append(value)
                wanted.setdefault(self._row_key.text(value), []).append(text)
        if not values:
            return {}
        rows = (
            self._model._base_manager.using(using)
            .filter(pk__in=values)
            .order_by()
            .annotate(**{_CLOCK: DatabaseClock()})
        )
        read = self._read_instances if self._columns is None else self._read_columns
        return {
            text: reading
            for row, reading in read(rows, using)
            for text in wanted.get(self._row_key.text(row), ())
        }

    def _read_columns(self, rows: QuerySet[Any], using: str) -> Iterator[tuple[Any, Reading]]:
        names, cleaners, elsewhere = self._names, self._cleaners, self._elsewhere
        identify = self._person_key.identify
        columns: Any = self._columns
        for row, id_value, at, *raw in rows.values_list(
            "pk", self._person_key.lookup, _CLOCK, *columns
        ):
            try:
                person = identify(id_value)
            except InvalidMessage:
                continue
            if person is None:
                continue
            errors: dict[str, InvalidAttribute] = {}
            try:
                values = {
                    name: clean(value)
                    for name, clean, value in zip(names, cleaners, raw, strict=True)
                }
            except Exception:
                values = self._collect(cleaners, raw, errors, using)
            yield (
                row,
                Reading(
                    person=person,
                    attributes=values,
                    owners_elsewhere=elsewhere,
                    errors=errors,
                    at=at,
                ),
            )

    def _read_instances(self, rows: QuerySet[Any], using: str) -> Iterator[tuple[Any, Reading]]:
        if self._joins:
            rows = rows.select_related(*self._joins)
        for instance in rows.prefetch_related(*self._prefetches):
            at = instance.__dict__.pop(_CLOCK)
            row = self._row_key.value_of(instance)
            try:
                person = self._person_key.of(instance, using=using)
            except InvalidMessage:
                continue
            if person is not None:
                yield row, self.read_instance(instance, person, at=at, using=using)

    def read_instance(
        self, instance: Model, person: Identifiers, *, at: int, using: str
    ) -> Reading:
        """Read one instance as it stands, without looking at its row."""
        reading = Reading(person=person, attributes={}, owners_elsewhere=self._elsewhere, at=at)
        if self._when is not None:
            try:
                reading.excluded = not self._when(instance)
            except Exception as error:
                _raise_if_unusable(error, using)
                reading.failure = InvalidMessage(
                    f"when of the Customer.io map of {self._model._meta.label} raised "
                    f"{type(error).__name__}: whether this person may be told is unknown."
                )
                return reading
        if not reading.excluded:
            reading.attributes = self._collect(
                self._getters, [instance] * len(self._getters), reading.errors, using
            )
        return reading

    def _collect(
        self,
        functions: Sequence[Callable[[Any], Any]],
        arguments: Sequence[Any],
        errors: dict[str, InvalidAttribute],
        using: str,
    ) -> dict[str, Any]:
        """Call each attribute's function, noting those that fail."""
        values = {}
        for name, function, argument in zip(self._names, functions, arguments, strict=True):
            try:
                values[name] = function(argument)
            except Exception as error:
                _raise_if_unusable(error, using)
                errors[name] = self._describe(name, error)
        return values

    def _describe(self, name: str, error: Exception) -> InvalidAttribute:
        # Made anew, so that no frame, and with it no value, stays reachable from it.
        if isinstance(error, InvalidAttribute):
            return InvalidAttribute(str(error), field=name)
        return InvalidAttribute(
            f"Attribute {name!r} of the Customer.io map of {self._model._meta.label} could not "
            f"be read: its source raised {type(error).__name__}.",
            field=name,
        )


def _raise_if_unusable(error: Exception, using: str) -> None:
    """Let a lost database pass: that is no fault of the attribute."""
    if isinstance(error, OperationalError | InterfaceError):
        connection = connections[using]
        if connection.connection is None or not connection.is_usable():
            raise error
