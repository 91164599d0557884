"""From an instance to the value that an attribute's source names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db.models import Field, ForeignKey, Model
from django.db.models.manager import BaseManager

_SEPARATORS = re.compile(r"__|\.")


class UnreadableError(Exception):
    """A source that cannot be used; the text says why and holds no value."""


def resolve(
    model: type[Model], source: str | Callable[[Any], Any]
) -> tuple[Callable[[Any], Any], Field[Any, Any] | None]:
    """How to read *source* from instances of *model*, found out once.

    Returns:
        A function from an instance to the raw value, None where a related object is
        missing; and the field that the source ends at, if it is one.
    """
    if not isinstance(source, str):
        return _of_callable(source), None
    names = [source] if hasattr(model, source) else _SEPARATORS.split(source)
    here: type[Model] | None = model
    field: Field[Any, Any] | None = None
    steps = []
    for name in names:
        field, related = _look_up(here, name)
        steps.append(name)
        here = related
    if field is not None:
        # A foreign key's own value is the key: the related object is not loaded for it.
        steps[-1] = field.attname
        if len(steps) == 1:
            return attrgetter(field.attname), field
    return _of_steps(steps), field


def _look_up(
    model: type[Model] | None, name: str
) -> tuple[Field[Any, Any] | None, type[Model] | None]:
    """The concrete field, and the model one step further, that *name* means on *model*."""
    if model is None:
        return None, None
    options = model._meta
    if name == "pk":
        return options.pk, None
    try:
        field = options.get_field(name)
    except FieldDoesNotExist:
        field = None
    if isinstance(field, Field) and field.concrete:
        # "plan" leads on to the plan, "plan_id" nowhere.
        leads_on = isinstance(field, ForeignKey) and name == field.name
        return field, field.related_model if leads_on else None
    for relation in options.related_objects:
        # Queries and instances may call a reverse relation by different names.
        if relation.get_accessor_name() == name:
            return None, relation.related_model
    return None, None


def _of_callable(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(instance: Any) -> Any:
        try:
            return _awaited_by_nobody(function(instance))
        except ObjectDoesNotExist:
            return None

    return call


def _of_steps(steps: list[str]) -> Callable[[Any], Any]:
    def follow(value: Any) -> Any:
        for name in steps:
            try:
                value = getattr(value, name)
                if callable(value) and not isinstance(value, type | Model | BaseManager):
                    value = _call(value)
            except ObjectDoesNotExist:
                return None
            if value is None:
                return None
        return value

    return follow


def _call(method: Callable[[], Any]) -> Any:
    if getattr(method, "alters_data", False):
        raise UnreadableError("its source is a method that changes data")
    return _awaited_by_nobody(method())


def _awaited_by_nobody(value: Any) -> Any:
    if inspect.iscoroutine(value):
        value.close()
        raise UnreadableError("its source is async; only ordinary functions are called")
    return value
