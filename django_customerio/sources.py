"""Where an attribute's value comes from, as far as Django's fields tell it.

A source that leads over fields and single-valued relations only can be read as a column;
one that meets a method, a property or a callable is opaque, and only running it tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import getattr_static
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import (
    Field,
    ForeignKey,
    ForeignObjectRel,
    GeneratedField,
    Model,
    OneToOneRel,
)
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute

from .attributes import Attribute

_SEPARATORS = re.compile(r"__|\.")
# Descriptors that hand out what the column holds; a file's or an encrypted field's own
# descriptor makes something else of it.
_PLAIN_DESCRIPTORS = (DeferredAttribute, ForeignKeyDeferredAttribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What is known about one source.

    Attributes:
        lookup: ORM lookup that reads the value as a column; None where only the instance
            gives it.
        joins: ``select_related`` path of the relations on the way; empty for none.
        local: names of the model's own fields whose change can change the value.
        opaque: whether other fields of the model can change it too.
    """

    lookup: str | None = None
    joins: str = ""
    local: frozenset[str] = frozenset()
    opaque: bool = False


def trace(model: type[Model], attribute: Attribute) -> Trace:
    """Follow the source of *attribute* from *model* over its fields.

    Raises:
        ImproperlyConfigured: a name on the way exists neither as a field nor on the class.
    """
    source = attribute.source if attribute.source is not None else attribute.name
    if callable(source):
        return Trace(opaque=True)
    if "__" in source and hasattr(model, source):
        return Trace(opaque=True)  # a method or property that has the separator in its name
    return _walk(model, attribute, _SEPARATORS.split(source))


def _walk(model: type[Model], attribute: Attribute, names: list[str]) -> Trace:
    here = model
    path: list[str] = []
    local: frozenset[str] = frozenset()
    readable = _loads_plainly(model)
    for name in names[:-1]:
        field = _field(here, name, attribute, model)
        if not path:
            local = _own_names(field)
        leads_on = isinstance(field, ForeignKey) and name == field.name  # not by its attname
        if not leads_on and not isinstance(field, OneToOneRel):
            # Many rows, code, or a look inside a value such as a file or a date.
            return Trace(joins="__".join(path), local=local, opaque=not is_column(field))
        path.append(field.name)
        here = field.related_model
        readable = readable and _loads_plainly(here)

    field = _field(here, names[-1], attribute, model)
    if not path:
        local = _own_names(field)
    joins = "__".join(path)
    if not is_column(field):
        return Trace(joins=joins, local=local, opaque=True)
    plain = type(getattr_static(here, field.attname)) in _PLAIN_DESCRIPTORS
    return Trace(
        lookup="__".join([*path, field.attname]) if readable and plain else None,
        joins=joins,
        local=local,
        # Which fields a generated column comes from is the database's to know.
        opaque=isinstance(field, GeneratedField) and not path,
    )


def _loads_plainly(model: type[Model]) -> bool:
    """Whether instances show what the columns hold, with no code of the model in between."""
    return (
        model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and model.__init__ is Model.__init__
    )


def is_column(field: object) -> bool:
    """Whether a field of a model is a column of its table; Django calls others concrete too."""
    return isinstance(field, Field) and field.concrete and not field.many_to_many


def _own_names(field: Any) -> frozenset[str]:
    return frozenset((field.name, field.attname)) if is_column(field) else frozenset()


def find_field(model: type[Model], name: str) -> Any:
    """Return the field or reverse relation that instances of *model* show as *name*, or None."""
    options = model._meta
    if name == "pk":
        return options.pk
    for field in (*options.get_fields(), *options.related_objects):
        # Queries and instances may call a reverse relation by different names.
        if isinstance(field, ForeignObjectRel):
            shown: tuple[Any, ...] = (field.get_accessor_name(),)
        else:
            shown = (field.name, getattr(field, "attname", None))
        if name in shown:
            return field
    return None


def _field(here: type[Model], name: str, attribute: Attribute, model: type[Model]) -> Any:
    field = find_field(here, name)
    if field is None and not hasattr(here, name):
        known = [field.name for field in here._meta.get_fields()]
        raise ImproperlyConfigured(
            f"Attribute {attribute.name!r} of the Customer.io map of {model._meta.label} reads "
            f"{name!r}, which {here._meta.label} does not have.{closest(name, known)} A source "
            f"is a field, a path over relations, a method, a property or a callable."
        )
    return field


def local_names(model: type[Model], names: Iterable[str]) -> tuple[frozenset[str], list[str]]:
    """Split ``depends_on`` into the model's own fields, and names that mean nothing to it."""
    found: frozenset[str] = frozenset()
    unknown: list[str] = []
    for name in names:
        field = find_field(model, _SEPARATORS.split(name)[0])
        if field is None:
            unknown.append(name)
        found |= _own_names(field)
    return found, unknown


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"``, or nothing."""
    matches = get_close_matches(name, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""
