"""From a type annotation to a check at run time."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise


class Check(NamedTuple):
    """Whether a value is of a type, and what the type is in words."""

    accepts: Callable[[Any], bool]
    expects: str


def check_for(annotation: Any, where: str) -> Check:
    """The check that *annotation* asks for.

    Args:
        annotation: A resolved type annotation.
        where: What carries it, for the error.

    Raises:
        ImproperlyConfigured: If JSON cannot say values of this type.
    """
    if isinstance(annotation, typing.NewType):
        return check_for(annotation.__supertype__, where)
    if hasattr(annotation, "__value__"):  # type X = …, of Python 3.12
        return check_for(annotation.__value__, where)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return _literal(arguments)
    if origin is typing.Union or origin is types.UnionType:
        return _union([check_for(argument, where) for argument in arguments])
    if origin is tuple and arguments[-1:] != (...,):
        return _fixed_tuple([check_for(argument, where) for argument in arguments])
    kind = origin or annotation
    if kind in _COLLECTIONS:
        base, words = _COLLECTIONS[kind]
        checks = [check_for(argument, where) for argument in arguments if argument is not ...]
        if base is Mapping:
            return _mapping(checks)
        return _collection(base, words, checks)
    if isinstance(annotation, type) and (
        issubclass(annotation, Enum) or dataclasses.is_dataclass(annotation)
    ):
        return Check(lambda value: isinstance(value, annotation), f"a {annotation.__name__}")
    name = getattr(annotation, "__name__", repr(annotation))
    raise ImproperlyConfigured(
        f'{where} is annotated with "{name}", which JSON cannot say. Use strings, numbers, '
        "booleans, dates, UUIDs, Enums, Literal, lists, dicts or dataclasses of these."
    )


def _is_float(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


_PLAIN: dict[Any, Check] = {
    Any: Check(lambda value: True, "anything"),
    object: Check(lambda value: True, "anything"),
    None: Check(lambda value: value is None, "None"),
    type(None): Check(lambda value: value is None, "None"),
    str: Check(lambda value: isinstance(value, str | Promise), "a string"),
    bool: Check(lambda value: isinstance(value, bool), "True or False"),
    int: Check(
        lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"
    ),
    float: Check(_is_float, "a number"),
    Decimal: Check(lambda value: isinstance(value, Decimal), "a Decimal"),
    UUID: Check(lambda value: isinstance(value, UUID), "a UUID"),
    datetime: Check(lambda value: isinstance(value, datetime), "a datetime"),
    date: Check(
        lambda value: isinstance(value, date) and not isinstance(value, datetime),
        "a date without time",
    ),
    time: Check(lambda value: isinstance(value, time), "a time"),
    timedelta: Check(lambda value: isinstance(value, timedelta), "a timedelta"),
}
_COLLECTIONS: dict[Any, tuple[Any, str]] = {
    list: (list, "a list"),
    tuple: (tuple, "a tuple"),
    set: (set, "a set"),
    frozenset: (frozenset, "a frozenset"),
    Sequence: (list | tuple, "a list or a tuple"),
    dict: (Mapping, "a dict"),
    Mapping: (Mapping, "a dict"),
}


def _literal(values: tuple[Any, ...]) -> Check:
    def accepts(value: Any) -> bool:
        # True is 1 for Python, and not for a reader of the event.
        return any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in values
        )

    return Check(accepts, "one of " + ", ".join(map(repr, values)))


def _union(checks: list[Check]) -> Check:
    return Check(
        lambda value: any(check.accepts(value) for check in checks),
        " or ".join(check.expects for check in checks),
    )


def _fixed_tuple(checks: list[Check]) -> Check:
    def accepts(value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == len(checks)
            and all(check.accepts(item) for check, item in zip(checks, value, strict=True))
        )

    return Check(accepts, f"a tuple of {', '.join(check.expects for check in checks)}")


def _collection(base: Any, words: str, checks: list[Check]) -> Check:
    if not checks:
        return Check(lambda value: isinstance(value, base), words)
    [check] = checks
    return Check(
        lambda value: isinstance(value, base) and all(map(check.accepts, value)),
        f"{words}, each item {check.expects}",
    )


def _mapping(checks: list[Check]) -> Check:
    if not checks:
        return Check(lambda value: isinstance(value, Mapping), "a dict")
    key, item = checks
    return Check(
        lambda value: (
            isinstance(value, Mapping)
            and all(map(key.accepts, value))
            and all(map(item.accepts, value.values()))
        ),
        f"a dict, each key {key.expects}, each value {item.expects}",
    )
