"""Typed attributes: what a model holds → what Customer.io is told, or a clear error.

::

    from django_customerio import attributes as attrs

    attrs.Timestamp("created_at", source="date_joined")
    attrs.String("plan", source="subscription__plan__name")
    attrs.Number("lifetime_value", source=lifetime_value, depends_on=["orders"])
    attrs.Boolean("unsubscribed", owner="customerio")

A type of one's own overrides :meth:`Attribute.clean`, which takes whatever the source
gives. What it hands on to ``super().clean()`` is checked and converted there::

    class Money(attrs.String):
        def clean(self, value):
            return super().clean(value and f"{value.amount} {value.currency}")
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.timezone import get_default_timezone

from django_customerio.attribute import Attribute, Owner, Source
from django_customerio.conversion import (
    MAX_VALUE_BYTES,
    JSONValue,
    date_seconds,
    to_json,
    unix_seconds,
)
from django_customerio.exceptions import InvalidAttribute
from django_customerio.limits import check_attribute_value, check_created_at
from django_customerio.wording import to_text

__all__ = [
    "JSON",
    "Attribute",
    "Boolean",
    "Choice",
    "Date",
    "Integer",
    "List",
    "Number",
    "Range",
    "String",
    "Timestamp",
    "infer",
]

# Larger numbers are milliseconds, or no time at all.
_LATEST_SECOND = 100_000_000_000


class JSON(Attribute):
    """An object or a list, or anything else JSON can say."""


class String(Attribute):
    """A string; numbers, dates (ISO 8601), UUIDs, Choices and files become one.

    A file is told by its public address, or by its name where the storage has none or
    signs it: a signed address is a secret, and another one each time.
    """

    expects = "a string"

    def clean(self, value: Any) -> str | None:
        if type(value) is str and len(value) <= 250 and value.isascii():
            return value  # which is most of them
        if value is None:
            return None
        text = to_text(value)
        if text is None:
            self.mismatch(value)
        return self.checked(text)  # type: ignore[return-value]


class Integer(Attribute):
    """A whole number; a Decimal or a float counts if nothing gets lost."""

    expects = "a whole number"

    def clean(self, value: Any) -> int | None:
        if type(value) is int or value is None:
            check_created_at(value, self.name)
            return check_attribute_value(value, self.name)  # type: ignore[return-value]
        if isinstance(value, Enum):
            return self.clean(value.value)
        if isinstance(value, bool) or not isinstance(value, Decimal | numbers.Real):
            self.mismatch(value)
        number = self.checked(value)
        if not isinstance(number, int):
            if not float(number).is_integer():  # type: ignore[arg-type]
                self.refuse("must be a whole number, and has a fraction", "Round it in the source")
            number = int(number)  # type: ignore[arg-type]
        return number


class Number(Attribute):
    """A number: int, float, Decimal, or a timedelta, in seconds.

    JSON has no decimals: a Decimal with a fraction becomes the nearest float.
    """

    expects = "a number"

    def clean(self, value: Any) -> int | float | None:
        if type(value) is float and math.isfinite(value):
            return check_created_at(value, self.name)  # type: ignore[return-value]
        if value is None:
            return None
        if isinstance(value, Enum):
            return self.clean(value.value)
        if isinstance(value, bool) or not isinstance(value, Decimal | numbers.Real | timedelta):
            self.mismatch(value)
        return self.checked(value)  # type: ignore[return-value]


class Boolean(Attribute):
    """``True`` or ``False``, nothing else."""

    expects = "True or False"

    def clean(self, value: Any) -> bool | None:
        if value is True or value is False or value is None:
            return value
        if isinstance(value, Enum):
            return self.clean(value.value)
        self.mismatch(value)


class Timestamp(Attribute):
    """A moment, as Unix seconds, rounded down.

    A naive datetime is one of the project's time zone, a date is its midnight UTC, and a
    number is taken for Unix seconds.
    """

    expects = "a datetime, a date or Unix seconds"

    def clean(self, value: Any) -> int | None:
        if isinstance(value, datetime):
            return unix_seconds(value)
        if value is None:
            return None
        if isinstance(value, date):
            return date_seconds(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.mismatch(value)
        if not -_LATEST_SECOND < value < _LATEST_SECOND:  # false for NaN, too
            self.refuse(
                "is no time in Unix seconds", "Milliseconds must be divided by 1,000 in the source"
            )
        return math.floor(value)


class Date(Attribute):
    """A day, as the Unix seconds of its midnight UTC: Customer.io has no type for days.

    Midnight UTC is the one instant from which everybody gets the same day back. Of a
    datetime it is the day in the project's time zone.
    """

    expects = "a date"

    def clean(self, value: Any) -> int | None:
        if isinstance(value, datetime):
            if value.utcoffset() is not None:
                value = value.astimezone(get_default_timezone())
            return date_seconds(value)
        if isinstance(value, date):
            return date_seconds(value)
        if value is None:
            return None
        self.mismatch(value)


class List(Attribute):
    """A list of strings, numbers, booleans and times; any iterable makes one."""

    expects = "a list of strings, numbers or booleans"

    def clean(self, value: Any) -> list[JSONValue] | None:
        if value is None:
            return None
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            self.mismatch(value)
        if not isinstance(value, list | tuple | set | frozenset):
            # One more than can fit is enough to be refused.
            value = list(islice(value, MAX_VALUE_BYTES))
        items = self.checked(value)
        for index, item in enumerate(items):  # type: ignore[arg-type]
            if isinstance(item, list | dict):
                raise InvalidAttribute(
                    f'The attribute "{self.name}" must be {self.expects}. Flatten it, or use '
                    "JSON.",
                    field=f"{self.name}[{index}]",
                )
        return items  # type: ignore[return-value]


class Choice(Attribute):
    """One of some values, told as the value, not its label.

    Args:
        choices: An ``Enum`` such as ``TextChoices``, or the values: anything else is then
            refused. Without them, whatever the field holds is told.
    """

    expects = "one of its choices"

    def __init__(
        self,
        name: str,
        *,
        choices: Iterable[Any] | None = None,
        source: Source = None,
        owner: Owner = "django",
        depends_on: Iterable[str] = (),
    ) -> None:
        super().__init__(name, source=source, owner=owner, depends_on=depends_on)
        self.choices = None if choices is None else [to_json(choice) for choice in choices]

    def clean(self, value: Any) -> JSONValue:
        if value is None:
            return None
        result = self.checked(value)
        if isinstance(result, list | dict):
            self.mismatch(value)
        if self.choices is not None and not any(
            result == choice and type(result) is type(choice) for choice in self.choices
        ):
            self.refuse("is none of its choices", "Add it to them, or correct the row")
        return result


class Range(Attribute):
    """One of PostgreSQL's ranges, as ``{"lower": …, "upper": …}``; None for the empty one."""

    expects = "a range"

    def clean(self, value: Any) -> JSONValue:
        if value is None or getattr(value, "isempty", False):
            return None
        if not hasattr(value, "lower_inc"):
            self.mismatch(value)
        return self.checked({"lower": value.lower, "upper": value.upper})


# The first that fits counts: a DateTimeField is a DateField too.
_TYPES: tuple[tuple[type[models.Field[Any, Any]], type[Attribute]], ...] = (
    (models.BooleanField, Boolean),
    (models.IntegerField, Integer),  # the automatic ones too
    (models.FloatField, Number),
    (models.DecimalField, Number),
    (models.DurationField, Number),
    (models.DateTimeField, Timestamp),
    (models.DateField, Date),
    (models.TimeField, String),
    (models.JSONField, JSON),
    (models.CharField, String),
    (models.TextField, String),
    (models.UUIDField, String),
    (models.GenericIPAddressField, String),
    (models.FilePathField, String),
    (models.FileField, String),
)


def infer(field: Any) -> type[Attribute]:
    """The type of attribute that fits a model's *field*.

    A foreign key is told as what it points at, usually the other row's primary key; a
    field with choices as the stored value. Of a custom field that extends none of
    Django's, the value is told if JSON can say it.

    Raises:
        ImproperlyConfigured: For fields that hold many rows, or bytes.
    """
    if isinstance(field, models.ForeignObject):
        return infer(field.foreign_related_fields[0])
    if isinstance(field, models.GeneratedField):
        return infer(field.output_field)
    # The field behind a generated column or an array is on no model and not yet concrete.
    is_column = isinstance(field, models.Field) and getattr(field, "concrete", True)
    if not is_column or field.many_to_many:
        _refuse(field, "stands for other rows, not for a value")
    if isinstance(field, models.BinaryField):
        _refuse(field, "holds bytes, which JSON cannot say")
    if field.choices:
        return Choice
    for base, kind in _TYPES:
        if isinstance(field, base):
            return kind
    # By name, because importing django.contrib.postgres needs psycopg.
    names = {base.__name__ for base in type(field).__mro__}
    if "ArrayField" in names:
        nested = infer(field.base_field)
        return JSON if nested in (JSON, List, Range) else List
    if "RangeField" in names:
        return Range
    return JSON if "HStoreField" in names else Attribute


def _refuse(field: Any, why: str) -> NoReturn:
    name = getattr(field, "name", "") or type(field).__name__
    raise ImproperlyConfigured(
        f'The field "{name}" {why}, and cannot be an attribute by itself. Give the attribute '
        "a source that makes a value of it: a method, a property or a function."
    )
