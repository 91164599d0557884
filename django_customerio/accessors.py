"""The verbs on an instance: ``customer.customerio.track("signed_up")``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from django.db.models import Model

from . import verbs

P = ParamSpec("P")
R = TypeVar("R")


class _Verb(Generic[P, R]):
    """A function of ``verbs`` as a method, with all of its arguments but the person."""

    def __init__(self, function: Callable[Concatenate[Model, P], R]) -> None:
        self._function = function

    @overload
    def __get__(self, accessor: None, owner: type[PersonAccessor]) -> Self: ...
    @overload
    def __get__(self, accessor: PersonAccessor, owner: type[PersonAccessor]) -> Callable[P, R]: ...
    def __get__(
        self, accessor: PersonAccessor | None, owner: type[PersonAccessor]
    ) -> Self | Callable[P, R]:
        if accessor is None:
            return self
        return update_wrapper(partial(self._function, accessor.person), self._function)


class PersonAccessor:
    """What can be said about the person of one instance; see :mod:`django_customerio.verbs`.

    Whoever names it otherwise, by ``accessor`` of the map, declares that for type checkers::

        class Lead(CustomerIOMixin, models.Model):
            cio: PersonAccessor
    """

    __slots__ = ("person",)

    def __init__(self, person: Model) -> None:
        self.person = person

    identify = _Verb(verbs.identify)
    aidentify = _Verb(verbs.aidentify)
    track = _Verb(verbs.track)
    atrack = _Verb(verbs.atrack)
    page = _Verb(verbs.page)
    screen = _Verb(verbs.screen)
    delete = _Verb(verbs.delete)
    suppress = _Verb(verbs.suppress)
    unsuppress = _Verb(verbs.unsuppress)
    erase = _Verb(verbs.erase)
    merge = _Verb(verbs.merge)
    add_device = _Verb(verbs.add_device)
    delete_device = _Verb(verbs.delete_device)
    relate = _Verb(verbs.relate)
    unrelate = _Verb(verbs.unrelate)


class AccessorDescriptor:
    """Gives each instance its :class:`PersonAccessor`."""

    @overload
    def __get__(self, instance: None, owner: type[Model]) -> Self: ...
    @overload
    def __get__(self, instance: Model, owner: type[Model]) -> PersonAccessor: ...
    def __get__(self, instance: Model | None, owner: type[Model]) -> Self | PersonAccessor:
        return self if instance is None else PersonAccessor(instance)
