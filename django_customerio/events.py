"""Typed events: a class for each thing that is tracked, and the catalogue of them.

::

    class SubscriptionStarted(cio.Event):
        plan: Literal["free", "pro", "enterprise"]
        amount: Decimal

    cio.track(user, SubscriptionStarted(plan="pro", amount=Decimal("9.00")))

A type checker knows the constructor; at run time it checks the same, because what an event
says wrongly cannot be taken back.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self, dataclass_transform

from django.core.exceptions import ImproperlyConfigured

from django_customerio.annotations import Check, check_for
from django_customerio.conversion import JSONValue, to_json
from django_customerio.exceptions import InvalidMessage
from django_customerio.limits import check_name

_catalogue: dict[str, type[Event]] = {}
# Between words, and before the last capital of an acronym: "PDFOpened" is "pdf_opened".
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Event:
    """Something to track; subclasses annotate its data.

    The name at Customer.io is that of the class in small letters, or the class attribute
    ``name``. A subclass is a frozen dataclass with keyword-only fields, so it may have
    defaults and a ``__post_init__`` (which calls ``super().__post_init__()``). Fields are
    strings, numbers, booleans, dates and times, UUIDs, Enums and ``Literal``, in lists,
    tuples, sets and dicts, in dataclasses, or optional. Fields called ``name`` and ``data``
    are not possible.

    With ``class Base(cio.Event, abstract=True)`` a class holds what others share, and is no
    event itself.

    Raises:
        InvalidMessage: At construction, if a value does not fit; ``field`` is
            ``"SubscriptionStarted.plan"``.
        ImproperlyConfigured: At definition, if a name is taken or a type has no JSON.
    """

    name: ClassVar[str] = ""
    _checks: ClassVar[Mapping[str, Check] | None] = None
    _abstract: ClassVar[bool] = True

    def __init_subclass__(cls, *, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The values stay out of the repr, which ends up in logs.
        dataclass(frozen=True, kw_only=True, repr=False)(cls)
        for taken in ("name", "data"):
            if any(field.name == taken for field in fields(cls)):  # type: ignore[arg-type]
                raise ImproperlyConfigured(
                    f'The event {cls.__qualname__} has a field "{taken}", which events have '
                    f'already. Rename it, "plan_{taken}" for instance; the name of the event '
                    "itself is set without annotation."
                )
        cls._abstract = abstract
        try:
            cls._checks = _checks_of(cls)
        except NameError:
            cls._checks = None  # something that is defined further down; tried again
        if abstract:
            cls.name = ""
        else:
            cls.name = _name_of(cls)
            _register(cls)

    def __new__(cls, *args: Any, **values: Any) -> Self:
        if cls._abstract:
            raise TypeError(f"{cls.__name__} is no event itself. Use one of its subclasses.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        cls = type(self)
        if cls._checks is None:
            cls._checks = _checks_or_error(cls)
        data = {}
        for name, check in cls._checks.items():
            value = getattr(self, name)
            where = f"{cls.__name__}.{name}"
            if not check.accepts(value):
                raise InvalidMessage(
                    f'{where} must be {check.expects}; the type "{type(value).__name__}" or '
                    "what it holds is not.",
                    field=where,
                )
            data[name] = to_json(value, field=where)
        object.__setattr__(self, "_data", data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def data(self) -> dict[str, JSONValue]:
        """What it says, as JSON."""
        data: dict[str, JSONValue] = self._data  # type: ignore[attr-defined]
        return dict(data)


def registered_events() -> Mapping[str, type[Event]]:
    """The catalogue: every event class that was imported, by the event's name."""
    return MappingProxyType(dict(sorted(_catalogue.items())))


def _name_of(cls: type[Event]) -> str:
    name = cls.__dict__.get("name") or _WORDS.sub("_", cls.__name__).lower()
    try:
        return check_name(name)
    except InvalidMessage as error:
        raise ImproperlyConfigured(f"The event {cls.__qualname__}: {error}") from None


def _register(cls: type[Event]) -> None:
    other = _catalogue.get(cls.name)
    # A module may be imported twice, by a reload for instance.
    if other is not None and _path(other) != _path(cls):
        raise ImproperlyConfigured(
            f'Two events are called "{cls.name}": {_path(other)} and {_path(cls)}. Set '
            '"name" on one of them.'
        )
    _catalogue[cls.name] = cls


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _checks_of(cls: type[Event]) -> dict[str, Check]:
    hints = typing.get_type_hints(cls)
    return {
        field.name: check_for(hints[field.name], f"{cls.__qualname__}.{field.name}")
        for field in fields(cls)  # type: ignore[arg-type]
    }


def _checks_or_error(cls: type[Event]) -> dict[str, Check]:
    try:
        return _checks_of(cls)
    except NameError as error:
        raise ImproperlyConfigured(
            f'The event {cls.__qualname__} is annotated with "{error.name}", which its module '
            "does not define. Import it there, and not for the type checker only."
        ) from None
