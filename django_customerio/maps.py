"""PersonMap: which model's rows are people, and what of them is told."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Field, Model, Prefetch

from .attributes import Attribute, infer
from .clock import now_ms
from .exceptions import NotMapped
from .keys import PersonKey, RowKey, unwrap
from .messages import Delete, Identifiers, Suppress
from .reading import Reader, Reading
from .sources import Trace, closest, is_column, local_names, trace

OPTIONS = (
    "id",
    "id_type",
    "attributes",
    "on_create",
    "on_login",
    "on_delete",
    "when",
    "update_only",
    "workspace",
    "atomic",
    "accessor",
    "select_related",
    "prefetch_related",
)
"""What ``class CustomerIO`` of a model and a ``PersonMap`` can say."""


class PersonMap:
    """Says which fields of a model describe a person at Customer.io, and when.

    Subclass it and decorate the class with ``register(Model)``; models with
    ``CustomerIOMixin`` say the same in an inner ``class CustomerIO``.

    Attributes:
        id: field that identifies the person over there; ``"pk"`` for the primary key.
        id_type: ``"id"``, or ``"email"`` where people are known by their address.
        attributes: names of fields, whose types are followed, and typed ``Attribute`` objects.
        on_create: event tracked when a row is created.
        on_login: event tracked when the user logs in.
        on_delete: ``"delete"`` the person with the row, ``"suppress"`` also bars them for
            ever, ``"keep"`` says nothing.
        when: takes an instance and says whether it is to be told; turning false acts as a
            delete. Asked by the sender, never while saving. If it raises, nothing is sent.
        update_only: never create people over there.
        workspace: alias of the workspace in ``CUSTOMERIO``.
        atomic: whether ``CustomerIOMixin.save()`` opens a transaction in autocommit mode, so
            that the change and its message commit together.
        accessor: name of the attribute that carries the verbs, on models with the mixin;
            None for none.
        select_related: joins wanted beside those that the sources need anyway.
        prefetch_related: what methods and callables want loaded in advance.
    """

    id: str = "pk"
    id_type: Literal["id", "email"] = "id"
    attributes: Sequence[str | Attribute] = ()
    on_create: str | None = None
    on_login: str | None = None
    on_delete: Literal["delete", "suppress", "keep"] = "delete"
    when: Callable[[Any], object] | None = None
    update_only: bool = False
    workspace: str = "default"
    atomic: bool = True
    accessor: str | None = "customerio"
    select_related: Sequence[str] | None = None
    prefetch_related: Sequence[str | Prefetch[Any]] = ()

    def __init__(self, model: type[Model]) -> None:
        self.model = model
        self.label = model._meta.label_lower
        self._refuse_wrong_options()
        # One that forgot ``staticmethod`` means the same.
        self.when = _unbound(self, "when")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model._meta.label}>"

    # What is said

    @cached_property
    def bound_attributes(self) -> tuple[Attribute, ...]:
        """The attributes with their types.

        Raises:
            ImproperlyConfigured: one names no field, or two have the same name.
        """
        bound: dict[str, Attribute] = {}
        for entry in self.attributes:
            attribute = self.bind(entry)
            if attribute.name in bound:
                raise self._wrong("attributes", f"lists {attribute.name!r} twice")
            bound[attribute.name] = attribute
        return tuple(bound.values())

    def bind(self, entry: str | Attribute) -> Attribute:
        """Return one entry of ``attributes`` with its type.

        Raises:
            ImproperlyConfigured: it names no field.
        """
        return entry if isinstance(entry, Attribute) else self._infer(entry)

    def _infer(self, name: str) -> Attribute:
        try:
            field = self.model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if not isinstance(field, Field) or not is_column(field):
            if isinstance(field, Field) and field.many_to_many:
                raise self._wrong(
                    "attributes",
                    f"lists {name!r}, a many-to-many relation. It needs a type and a source that "
                    f"tells which rows: attributes.List({name!r}, source=…), and "
                    f"prefetch_related = [{name!r}]",
                )
            known = [each.name for each in self.model._meta.concrete_fields]
            raise self._wrong(
                "attributes",
                f"lists {name!r}, which is no field of the model.{closest(name, known)} What is "
                f"no field needs a type: attributes.String({name!r}, source=…)",
            ) from None
        return infer(field)(name)

    @cached_property
    def _traces(self) -> tuple[Trace, ...]:
        return tuple(trace(self.model, attribute) for attribute in self.bound_attributes)

    # Whom it is about

    @cached_property
    def person_key(self) -> PersonKey:
        """How people are identified.

        Raises:
            ImproperlyConfigured: ``id`` names no field, or the key is composite.
        """
        return PersonKey(self.model, self.id, self.id_type)

    @cached_property
    def _row_key(self) -> RowKey:
        return RowKey(self.model)

    def object_pk(self, instance: Model) -> str:
        """Return the primary key of the mapped row in text form."""
        return self._row_key.of(unwrap(instance))

    def identify_key(self, instance: Model, *, using: str) -> Identifiers | None:
        """Return whom an instance is about, or None if its id is empty.

        Costs one query on the alias *using*, and only where the instance does not hold its
        id: deferred, or saved as an expression.

        Raises:
            InvalidMessage: Customer.io takes no such id.
        """
        return self.person_key.of(unwrap(instance), using=using)

    def delete_message(self, person: Identifiers) -> Delete | Suppress | None:
        """Return what is said of somebody whose row is gone, by ``on_delete``."""
        match self.on_delete:
            case "delete":
                return Delete(person=person)
            case "suppress":
                return Suppress(person=person)
            case _:
                return None

    # When to look again

    @cached_property
    def _watched(self) -> tuple[frozenset[str], bool]:
        """Fields whose change matters, and whether any other field may matter as well."""
        key = self.person_key.field
        watched = {key.name, key.attname}
        anything = self.when is not None
        for attribute, traced in zip(self.bound_attributes, self._traces, strict=True):
            watched |= traced.local
            watched |= local_names(self.model, attribute.depends_on)[0]
            anything = anything or (traced.opaque and not attribute.depends_on)
        return frozenset(watched), anything

    @cached_property
    def _never_matters(self) -> frozenset[str]:
        # Each log-in saves it; only a map that names it wants to know.
        is_user = issubclass(self.model, AbstractBaseUser)
        return frozenset({"last_login"} if is_user else ()) - self._watched[0]

    def touches(self, update_fields: Iterable[str] | None) -> bool:
        """Say whether saving these fields can change what is told; None stands for all.

        Takes names and attnames. Where a method, a property or a callable without
        ``depends_on``, or ``when``, may read anything, every field counts but the
        ``last_login`` of users.
        """
        if update_fields is None:
            return True
        watched, anything = self._watched
        if anything:
            return not self._never_matters.issuperset(update_fields)
        return not watched.isdisjoint(update_fields)

    # Reading

    @cached_property
    def _reader(self) -> Reader:
        return Reader(
            self.model,
            attributes=self.bound_attributes,
            traces=self._traces,
            row_key=self._row_key,
            person_key=self.person_key,
            when=self.when,
            select_related=self.select_related or (),
            prefetch_related=self.prefetch_related,
        )

    def read(self, pks: Iterable[str], *, using: str) -> dict[str, Reading]:
        """Read what many rows say, in one query and those that the prefetches add.

        Goes through the model's base manager, which hides nothing. An attribute that cannot
        be rendered is left out and noted in ``Reading.errors``; a ``when`` that raises sets
        ``Reading.failure``, and nothing may be sent then.

        Args:
            pks: primary keys as ``object_pk`` gives them.
            using: alias of the database.

        Returns:
            The readings by the given keys. Rows that are gone, and those whose id is empty
            or nothing that Customer.io takes, are missing.
        """
        return self._reader.read(pks, using=using)

    def read_instance(self, instance: Model) -> Reading:
        """Read an instance as it stands, which may be unsaved, or ahead of its row.

        Raises:
            NotMapped: its id is empty.
            InvalidMessage: Customer.io takes no such id.
        """
        instance = unwrap(instance)
        using = instance._state.db or DEFAULT_DB_ALIAS
        person = self.identify_key(instance, using=using)
        if person is None:
            raise NotMapped(f"This {self.model._meta.label} has no {self.id}: it is nobody yet.")
        return self._reader.read_instance(instance, person, at=now_ms(using), using=using)

    # Being written correctly

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "id_type": ("id", "email"),
        "on_delete": ("delete", "suppress", "keep"),
    }

    def _refuse_wrong_options(self) -> None:
        for name in public_names(type(self)):
            if not hasattr(PersonMap, name):
                raise unknown_option(type(self), name)
        for name, accepted in self._choices.items():
            if getattr(self, name) not in accepted:
                listed = " or ".join(map(repr, accepted))
                raise self._wrong(name, f"must be {listed}")
        for name in ("id", "workspace", "on_create", "on_login", "accessor"):
            value = getattr(self, name)
            if value is None and name not in ("id", "workspace"):
                continue
            if not isinstance(value, str) or not value:
                raise self._wrong(name, "must be a string that is not empty")
        for name in ("update_only", "atomic"):
            if not isinstance(getattr(self, name), bool):
                raise self._wrong(name, "must be True or False")
        for name in ("attributes", "select_related", "prefetch_related"):
            value = getattr(self, name)
            if name == "select_related" and value is None:
                continue
            if not isinstance(value, list | tuple):
                raise self._wrong(name, "must be a list or a tuple")
        for entry in self.attributes:
            if not isinstance(entry, str | Attribute):
                raise self._wrong(
                    "attributes",
                    f"holds a {type(entry).__name__}; it takes names of fields and typed "
                    f'attributes such as attributes.String("plan", source=…)',
                )
        if not callable(self.when) and self.when is not None:
            raise self._wrong("when", "must be callable with an instance")
        if self.accessor is not None and (
            not self.accessor.isidentifier() or keyword.iskeyword(self.accessor)
        ):
            raise self._wrong("accessor", "must be the name of an attribute, or None")

    def _wrong(self, option: str, problem: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"{option} of the Customer.io map of {self.model._meta.label} {problem}."
        )


def public_names(cls: type) -> Iterable[str]:
    """Names that a class and its bases define, without private ones."""
    for base in cls.__mro__:
        if base is not object:
            yield from (name for name in vars(base) if not name.startswith("_"))


def unknown_option(cls: type, name: str) -> ImproperlyConfigured:
    """Return the error for an option that no map has."""
    return ImproperlyConfigured(
        f"{cls.__module__}.{cls.__qualname__} has no option {name!r}.{closest(name, OPTIONS)} "
        f"Options: {', '.join(OPTIONS)}. Start helpers of your own with an underscore."
    )


def _unbound(person_map: PersonMap, name: str) -> Any:
    """Return the callable of an option, taking the instance alone."""
    raw = inspect.getattr_static(type(person_map), name)
    if inspect.isfunction(raw) and len(inspect.signature(raw).parameters) == 1:
        return raw
    return getattr(person_map, name)
