"""How the queue names a row, and which field of it says who the person is."""

from __future__ import annotations

import json
from typing import Any, Literal

import django
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import CompositePrimaryKey, Model
from django.utils.functional import LazyObject

from .messages import Identifiers
from .sources import closest, find_field, is_column


def unwrap(instance: Any) -> Any:
    """Return the instance itself, where it is a lazy object such as ``request.user``."""
    if issubclass(type(instance), LazyObject):
        _ = instance.__class__  # looks it up, if nobody has
        return instance.__dict__["_wrapped"]
    return instance


class RowKey:
    """The primary key of a model as text, the same for every way in which it was set."""

    def __init__(self, model: type[Model]) -> None:
        self._field: Any = model._meta.pk
        self._is_composite = isinstance(self._field, CompositePrimaryKey)

    def of(self, instance: Model) -> str:
        """Return the text for an instance of the model, a proxy or a multi-table child."""
        return self.text(self.value_of(instance))

    def value_of(self, instance: Model) -> Any:
        """Return the key of an instance, in the type of its field."""
        # Not ``pk`` for a single key: that of a child may be another field.
        if self._is_composite:
            return instance.pk
        return self._field.to_python(instance.__dict__.get(self._field.attname))

    def text(self, value: Any) -> str:
        """Return the text for a value as the database gives it."""
        if self._is_composite:
            return json.dumps([str(part) for part in value], ensure_ascii=False)
        return str(value)

    def value(self, text: str) -> Any:
        """Return the value for a text, or None if this model can have no such key."""
        try:
            return self._field.to_python(text)
        except (ValidationError, ValueError, TypeError):
            # The type of the key was changed by a migration since.
            return None


class PersonKey:
    """The field that identifies a person at Customer.io.

    Attributes:
        field: the concrete field.
        lookup: its attname, to read it as a column.

    Raises:
        ImproperlyConfigured: there is no such field, or no single one.
    """

    def __init__(self, model: type[Model], name: str, kind: Literal["id", "email"]) -> None:
        self._model = model
        self._row = RowKey(model)
        self._kind = kind
        field = find_field(model, name)
        if isinstance(field, CompositePrimaryKey):
            raise ImproperlyConfigured(
                f"The primary key of {model._meta.label} is composite and cannot identify a "
                f"person: set id to the name of a single unique field in its Customer.io map."
            )
        if not is_column(field):
            known = [each.name for each in model._meta.concrete_fields]
            raise ImproperlyConfigured(
                f"id of the Customer.io map of {model._meta.label} is {name!r}, which is no "
                f'field of it.{closest(name, known)} Accepted: "pk" or a field\'s name.'
            )
        self.field: Any = field
        self.lookup: str = field.attname
        # Before 6.0 an instance keeps the value that a generated column had before the save.
        self._may_be_stale = bool(getattr(field, "generated", False)) and django.VERSION < (6, 0)

    def of(self, instance: Model, *, using: str) -> Identifiers | None:
        """Return whom an instance is about; None if its id is empty.

        Asks the database, by one query for that column, only where the instance does not
        hold the value: a deferred field, or one that was saved as an expression.

        Raises:
            InvalidMessage: Customer.io takes no such id.
        """
        value = instance.__dict__.get(self.lookup, self)
        if value is self or hasattr(value, "resolve_expression") or self._may_be_stale:
            rows = self._model._base_manager.using(using).filter(pk=self._row.value_of(instance))
            value = rows.values_list(self.lookup, flat=True).first()
        return self.identify(self.field.to_python(value))

    def identify(self, value: object) -> Identifiers | None:
        """Return whom a value of the field names; None if it is empty."""
        if value is None or not (text := str(value)).strip():
            return None
        return Identifiers(self._kind, text)
