"""The registry: which model has which map.

A model with ``CustomerIOMixin`` brings its own; for one that cannot be edited write
``customerio_maps.py`` in an app of yours::

    @register(get_user_model())
    class UserMap(PersonMap):
        attributes = ["email"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from .maps import OPTIONS, PersonMap, public_names, unknown_option
from .reading import Reading

__all__ = ["PersonMap", "Reading", "Registry", "register", "registry"]

MapClass = TypeVar("MapClass", bound=type[PersonMap])


class Registry:
    """The maps of a site, one a model."""

    def __init__(self) -> None:
        self._maps: dict[type[Model], PersonMap] = {}
        self._found: dict[type, PersonMap | None] = {}
        self._from_models: set[type[Model]] = set()

    def __iter__(self) -> Iterator[PersonMap]:
        return iter(tuple(self._maps.values()))

    def __len__(self) -> int:
        return len(self._maps)

    def register(self, model: type[Model], map_class: type[PersonMap]) -> PersonMap:
        """Map *model* by *map_class*.

        Raises:
            ImproperlyConfigured: the model has a map already, or can have none, or the map
                says something that is not an option.
        """
        options = model._meta
        if options.proxy:
            concrete: Any = options.concrete_model
            raise ImproperlyConfigured(
                f"{options.label} is a proxy and shares the Customer.io map of "
                f"{concrete._meta.label}: register that model."
            )
        if options.abstract or options.swapped:
            kind = "abstract" if options.abstract else f"swapped for {options.swapped}"
            raise ImproperlyConfigured(
                f"{options.label} is {kind} and has no rows to tell Customer.io of: register "
                f"the model that has."
            )
        if model in self._maps:
            raise ImproperlyConfigured(
                f"{options.label} has a Customer.io map already, "
                f"{type(self._maps[model]).__qualname__}: a model has one. Remove one of the "
                f"two, or the inner class CustomerIO."
            )
        person_map = map_class(model)
        self._maps[model] = person_map
        self._found.clear()
        return person_map

    def load(self, models: Iterable[type[Model]]) -> None:
        """Read the inner ``class CustomerIO`` of these models. Safe to repeat.

        Raises:
            ImproperlyConfigured: one says something that is not an option, or its model has
                a registered map as well.
        """
        for model in models:
            inner = inner_class(model)
            if inner is not None and model not in self._from_models:
                self.register(model, _map_class(model, inner))
                self._from_models.add(model)

    def get(self, model_or_instance: object) -> PersonMap | None:
        """Return the map of a model or instance.

        Proxies have the map of their model, multi-table children that of the nearest mapped
        parent. None if nothing on the way is mapped.
        """
        # ``__class__`` sees through ``request.user``, which ``type()`` does not.
        model = (
            model_or_instance
            if isinstance(model_or_instance, type)
            else model_or_instance.__class__
        )
        try:
            return self._found[model]
        except KeyError:
            maps: dict[Any, PersonMap] = self._maps
            found = next((maps[base] for base in model.__mro__ if base in maps), None)
            if issubclass(model, Model):
                self._found[model] = found
            return found

    def parent_of(self, person_map: PersonMap) -> PersonMap | None:
        """Return the map that would be a multi-table child's if it had none of its own."""
        maps: dict[Any, PersonMap] = self._maps
        return next((maps[b] for b in person_map.model.__mro__[1:] if b in maps), None)

    def by_label(self, label: str) -> PersonMap | None:
        """Return the map of the model with a label such as ``"shop.customer"``."""
        label = label.lower()
        return next((each for each in self if each.label == label), None)


registry = Registry()
"""The maps of this site."""


def register(
    model: type[Model], *, site: Registry | None = None
) -> Callable[[MapClass], MapClass]:
    """Decorate a ``PersonMap`` that is to map *model*.

    Args:
        model: a concrete model, such as ``get_user_model()``.
        site: another registry than that of this site, for tests.

    Raises:
        ImproperlyConfigured: the model has a map already or can have none.
    """

    def decorate(map_class: MapClass) -> MapClass:
        if not (isinstance(map_class, type) and issubclass(map_class, PersonMap)):
            raise ImproperlyConfigured(
                f"register({model._meta.label}) decorates subclasses of PersonMap."
            )
        (registry if site is None else site).register(model, map_class)
        return map_class

    return decorate


def inner_class(model: type[Model]) -> type | None:
    """Return the ``class CustomerIO`` of a model, unless it is that of a concrete parent."""
    for base in model.__mro__:
        inner = vars(base).get("CustomerIO")
        if isinstance(inner, type):
            is_parents = base is not model and any(
                issubclass(parent, base) for parent in model._meta.all_parents
            )
            return None if is_parents else inner
    return None


def _map_class(model: type[Model], inner: type) -> type[PersonMap]:
    if issubclass(inner, PersonMap):
        return inner
    for name in public_names(inner):
        if name not in OPTIONS:
            raise unknown_option(inner, name)
    return type(f"{model.__name__}Map", (inner, PersonMap), {"__module__": inner.__module__})
