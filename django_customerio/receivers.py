"""The only listener to the signals of models and log-ins.

A receiver puts one small row into the queue, in the transaction of the change. It runs no
attribute's code and loads no relation: what the row looks like is read by the sender.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.apps import apps
from django.contrib.auth.signals import user_logged_in
from django.db import router
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete

from . import mixins
from .exceptions import InvalidMessage
from .mapping import PersonMap, registry
from .messages import Event, Identifiers
from .queue import put_message, put_state

logger = logging.getLogger(__name__)

_GONE = "_customerio_person"
"""Instance attribute that holds, while a row is deleted, whom it was about."""


def connect_all() -> None:
    """Read the maps of the models and listen to each mapped one. Safe to repeat.

    Bound to senders: a receiver without one would cost every model its fast deletes, and
    hear of the historical models of migrations.
    """
    mixins.load()
    for model in apps.get_models():
        person_map = registry.get(model)
        if person_map is None:
            continue
        uid = f"django_customerio.{model._meta.label}"
        post_save.connect(saved, sender=model, dispatch_uid=f"{uid}.post_save")
        # A child's delete signals its parent too, unless the parent's row stays.
        if model._meta.concrete_model is person_map.model:
            pre_delete.connect(deleting, sender=model, dispatch_uid=f"{uid}.pre_delete")
            post_delete.connect(deleted, sender=model, dispatch_uid=f"{uid}.post_delete")
    user_logged_in.connect(logged_in, dispatch_uid="django_customerio.logged_in")


def saved(
    sender: type[Model],
    instance: Model,
    *,
    created: bool,
    using: str,
    raw: bool = False,
    update_fields: frozenset[str] | None = None,
    **kwargs: object,
) -> None:
    """Queue a look at the row, and the ``on_create`` event of a new one."""
    if raw:
        return
    person_map = registry.get(sender)
    if person_map is None or not person_map.touches(update_fields):
        return
    person = _person(person_map, instance, using)
    if person is None:
        return
    object_pk = person_map.object_pk(instance)
    put_state(person_map=person_map, person=person, object_pk=object_pk, using=using)
    if created and person_map.on_create:
        _put_event(person_map, person_map.on_create, person, object_pk, using)


def deleting(sender: type[Model], instance: Model, *, using: str, **kwargs: object) -> None:
    """Read whom the row is about while it is still there."""
    person_map = registry.get(sender)
    if person_map is not None:
        instance.__dict__[_GONE] = _person(person_map, instance, using)


def deleted(sender: type[Model], instance: Model, *, using: str, **kwargs: object) -> None:
    """Queue what is said of somebody whose row is gone.

    Not earlier: the statement waits for other writers of the row, and what those queued must
    come before the delete.
    """
    person_map = registry.get(sender)
    person: Identifiers | None = instance.__dict__.pop(_GONE, None)
    if person_map is None or person is None:
        return
    heir = registry.parent_of(person_map)
    if (
        heir is not None
        and heir.workspace == person_map.workspace
        and _person(heir, instance, using) == person
    ):
        # A child with a map of its own, but the same person as its parent: they live as long
        # as the parent's row, whose own signal tells of its end.
        pk = heir.object_pk(instance)
        put_state(person_map=heir, person=person, object_pk=pk, using=using)
        return
    message = person_map.delete_message(person)
    if message is not None:
        put_message(message, using=using, workspace=person_map.workspace, person=person)


def logged_in(sender: object, *, user: Any, **kwargs: object) -> None:
    """Queue the ``on_login`` event."""
    person_map = registry.get(user)
    if person_map is None or not person_map.on_login:
        return
    # Where it is written, not where it was read: a replica has no outbox.
    using = router.db_for_write(person_map.model, instance=user)
    person = _person(person_map, user, using)
    if person is not None:
        object_pk = person_map.object_pk(user)
        _put_event(person_map, person_map.on_login, person, object_pk, using)


def _put_event(
    person_map: PersonMap, name: str, person: Identifiers, object_pk: str, using: str
) -> None:
    put_message(
        Event(person=person, name=name, data={}, timestamp=int(time.time())),
        using=using,
        workspace=person_map.workspace,
        person=person,
        model=person_map.label,
        object_pk=object_pk,
    )


def _person(person_map: PersonMap, instance: Model, using: str) -> Identifiers | None:
    try:
        return person_map.identify_key(instance, using=using)
    except InvalidMessage as error:
        # Nobody over there can have such an id; that must not cost the site its save.
        logger.error(
            "A row of %s is not told to Customer.io: %s",
            person_map.model._meta.label,
            error,
            extra={"customerio_model": person_map.label},
        )
        return None
