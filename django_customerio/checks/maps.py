"""Checks of the maps: whether what they name exists and can identify a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from inspect import unwrap
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Field, Model, Prefetch, UniqueConstraint

from django_customerio.conf import get_workspace
from django_customerio.exceptions import InvalidMessage
from django_customerio.limits import MAX_ATTRIBUTES, check_name
from django_customerio.mapping import PersonMap, registry
from django_customerio.mixins import CustomerIOMixin
from django_customerio.sources import closest, find_field, local_names, trace

from .settings import usable_settings

WRONG_ATTRIBUTE = "django_customerio.E020"
"""An attribute names a field that does not exist, or one that has no JSON type."""
WRONG_ID = "django_customerio.E021"
"""``id`` names no field, or the primary key is composite and no single field is named."""
NULLABLE_ID = "django_customerio.E022"
"""``id`` may be empty: such rows are nobody, and nothing is told of them."""
REPEATED_ATTRIBUTE = "django_customerio.E023"
"""Two attributes have one name."""
TOO_MANY_ATTRIBUTES = "django_customerio.E024"
"""More attributes than Customer.io takes."""
WRONG_EVENT_NAME = "django_customerio.E025"
"""``on_create`` or ``on_login`` is no name that Customer.io takes."""
UNKNOWN_WORKSPACE = "django_customerio.E026"
"""``workspace`` names no workspace of ``CUSTOMERIO``."""
WRONG_DEPENDENCY = "django_customerio.E027"
"""``depends_on`` names nothing of the model."""
WRONG_RELATION = "django_customerio.E028"
"""``select_related`` or ``prefetch_related`` names no relation."""
REPEATABLE_ID = "django_customerio.W020"
"""Nothing keeps two rows from having the same ``id`` and being one person."""
NO_LOG_IN = "django_customerio.W021"
"""``on_login`` of a model whose rows never log in."""
UNREACHED_SAVE = "django_customerio.W022"
"""The mixin's ``save()`` is not the outermost, or is not called at all."""


def check_maps(
    *, app_configs: Iterable[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Is each map of the given apps, or of all, one that can be told?"""
    return [
        message
        for person_map in registry
        if app_configs is None or person_map.model._meta.app_config in app_configs
        for message in check_map(person_map)
    ]


def check_map(person_map: PersonMap) -> list[checks.CheckMessage]:
    """All that is wrong with one map."""
    return [
        *_check_id(person_map),
        *_check_attributes(person_map),
        *_check_relations(person_map),
        *_check_events(person_map),
        *_check_workspace(person_map),
        *_check_save(person_map),
    ]


def _of(person_map: PersonMap) -> str:
    return f"of the Customer.io map of {person_map.model._meta.label}"


def _check_id(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    try:
        field = person_map.person_key.field
    except ImproperlyConfigured as error:
        yield checks.Error(
            str(error),
            hint="Set id to the name of a unique field without NULL.",
            obj=person_map.model,
            id=WRONG_ID,
        )
        return
    if field.null:
        yield checks.Error(
            f"id {_of(person_map)} is {field.name!r}, which may be NULL: nothing is told of "
            "rows without it.",
            hint="Name a field that is never empty, or set null=False on this one. If such "
            f"rows are nobody on purpose, add {NULLABLE_ID!r} to SILENCED_SYSTEM_CHECKS.",
            obj=person_map.model,
            id=NULLABLE_ID,
        )
    if not _is_unique(person_map.model, field):
        yield checks.Warning(
            f"id {_of(person_map)} is {field.name!r}, which is not unique: rows that share a "
            "value are one person, and deleting one of them deletes that person.",
            hint="Name a unique field, or add unique=True or a UniqueConstraint.",
            obj=person_map.model,
            id=REPEATABLE_ID,
        )


def _is_unique(model: type[Model], field: Field[Any, Any]) -> bool:
    """Whether the database keeps values apart, by the field or by a constraint on it alone.

    Conditions are passed over: what they leave out is mostly the empty value. So are
    expressions: ``Lower("email")`` is stricter than the field.
    """
    alone = {field.name}
    return (
        field.unique
        or (field.name,) in model._meta.unique_together
        or any(
            isinstance(constraint, UniqueConstraint) and _names(constraint) == alone
            for constraint in model._meta.constraints
        )
    )


def _names(constraint: UniqueConstraint) -> set[str]:
    expressions: Any = constraint.expressions
    parts = [part for each in expressions for part in each.flatten()]
    names = {part.name for part in parts if isinstance(part, F)}  # type: ignore[attr-defined]
    return names | set(constraint.fields)


def _check_attributes(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    names: Counter[str] = Counter()
    for entry in person_map.attributes:
        try:
            attribute = person_map.bind(entry)
            names[attribute.name] += 1
            trace(person_map.model, attribute)
        except ImproperlyConfigured as error:
            yield checks.Error(
                str(error),
                hint="Correct the name, or take the attribute out of the map.",
                obj=person_map.model,
                id=WRONG_ATTRIBUTE,
            )
            continue
        for unknown in local_names(person_map.model, attribute.depends_on)[1]:
            known = [field.name for field in person_map.model._meta.get_fields()]
            yield checks.Error(
                f"Attribute {attribute.name!r} {_of(person_map)} depends on {unknown!r}, which "
                f"the model does not have.{closest(unknown, known)}",
                hint="Name fields and relations of the model in depends_on.",
                obj=person_map.model,
                id=WRONG_DEPENDENCY,
            )
    for name, count in names.items():
        if count > 1:
            yield checks.Error(
                f"Attribute {name!r} {_of(person_map)} is listed {count} times.",
                hint="Keep one of them, or give the others another name and this source.",
                obj=person_map.model,
                id=REPEATED_ATTRIBUTE,
            )
    if len(names) > MAX_ATTRIBUTES:
        yield checks.Error(
            f"The Customer.io map of {person_map.model._meta.label} has {len(names)} "
            f"attributes; Customer.io takes {MAX_ATTRIBUTES} of a person.",
            hint="Leave some out, or group them in one JSON attribute.",
            obj=person_map.model,
            id=TOO_MANY_ATTRIBUTES,
        )


def _check_relations(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    for option in ("select_related", "prefetch_related"):
        for entry in getattr(person_map, option) or ():
            path = entry.prefetch_through if isinstance(entry, Prefetch) else entry
            wrong = _first_unknown(person_map.model, path)
            if wrong is None:
                continue
            model, name = wrong
            known = [field.name for field in model._meta.get_fields() if field.is_relation]
            yield checks.Error(
                f"{option} {_of(person_map)} holds {path!r}, but {model._meta.label} has no "
                f"relation {name!r}.{closest(name, known)}",
                hint="Name relations as the ORM's method of that name takes them.",
                obj=person_map.model,
                id=WRONG_RELATION,
            )


def _first_unknown(model: type[Model], path: str) -> tuple[type[Model], str] | None:
    """The first name of a path that is nothing of the model which it has come to."""
    here: Any = model
    for name in path.split("__"):
        field = find_field(here, name)
        if field is None:
            # What a package hangs on the class to be prefetched is known to it alone.
            return None if hasattr(here, name) else (here, name)
        if not field.is_relation:
            return here, name
        here = field.related_model
        if not isinstance(here, type):  # a generic relation leads anywhere
            return None
    return None


def _check_events(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    for option in ("on_create", "on_login"):
        name = getattr(person_map, option)
        if name is None:
            continue
        try:
            check_name(name)
        except InvalidMessage as error:
            yield checks.Error(
                f"{option} {_of(person_map)} is no name of an event. {error}",
                hint='Give a short name such as "signed_up", or None for no event.',
                obj=person_map.model,
                id=WRONG_EVENT_NAME,
            )
    if person_map.on_login and not _is_map_of_users(person_map):
        yield checks.Warning(
            f"on_login {_of(person_map)} is never tracked: those who log in are "
            f"{settings.AUTH_USER_MODEL}.",
            hint="Set on_login in the map of the user model.",
            obj=person_map.model,
            id=NO_LOG_IN,
        )


def _is_map_of_users(person_map: PersonMap) -> bool:
    try:
        return registry.get(get_user_model()) is person_map
    except ImproperlyConfigured:
        return False  # a site may do without an app that brings it


def _check_workspace(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    if usable_settings() is None:
        return
    try:
        get_workspace(person_map.workspace)
    except ImproperlyConfigured as error:
        yield checks.Error(
            f"workspace {_of(person_map)} is wrong: {error}",
            hint='Set workspace in the map to an alias of CUSTOMERIO["WORKSPACES"].',
            obj=person_map.model,
            id=UNKNOWN_WORKSPACE,
        )


def _check_save(person_map: PersonMap) -> Iterator[checks.CheckMessage]:
    """Does the transaction of the mixin's ``save()`` hold all that a save does?

    No more than a warning: the row is told of all the same, and code can be read only so far.
    """
    if not person_map.atomic or not issubclass(person_map.model, CustomerIOMixin):
        return
    mro = person_map.model.__mro__
    for each in mro[: mro.index(CustomerIOMixin)]:
        save = vars(each).get("save")
        if save is None:
            continue
        inherits = issubclass(each, CustomerIOMixin)
        if not _passes_on(save):
            problem = (
                "does not call super().save(), so that of CustomerIOMixin is not reached: outside "
                "a transaction the row commits before its message is queued"
            )
            first = "" if inherits else ", and list CustomerIOMixin first among the bases"
            cure = f"Call super().save() there{first}"
        elif not inherits:
            problem = (
                "comes before that of CustomerIOMixin: outside a transaction what it saves beside "
                "the row does not commit together with the message"
            )
            cure = "List CustomerIOMixin first among the bases"
        else:
            continue
        yield checks.Warning(
            f"{person_map.model._meta.label}: the save() of {each.__name__} {problem}.",
            hint=f"{cure}. If that is meant, set atomic = False in the map.",
            obj=person_map.model,
            id=UNREACHED_SAVE,
        )
        return


def _passes_on(save: Any) -> bool:
    """Whether a ``save()`` may call the next one; what is no plain function may."""
    code = getattr(unwrap(save), "__code__", None)
    # A bare super() is a reference to __class__; other free variables hide who knows what.
    return code is None or bool(code.co_freevars) or "save" in code.co_names
