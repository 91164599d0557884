"""Who is meant by what code passes as a person, and where what is said about them goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model
from django.utils import timezone

from . import queue
from .conf import get_settings
from .exceptions import InvalidMessage, NotMapped
from .mapping import PersonMap, registry
from .messages import Identifiers, Message
from .models import OutboxMessage

Person: TypeAlias = Model | str | int | UUID | Mapping[str, Any] | Identifiers
Moment: TypeAlias = int | float | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """A person, and where what is said about them goes."""

    person: Identifiers
    workspace: str
    using: str
    person_map: PersonMap | None = None
    object_pk: str = ""

    def put(
        self,
        message: Message,
        *,
        expires: datetime | timedelta | None = None,
        at_once: bool = False,
    ) -> None:
        queue.put_message(
            message,
            using=self.using,
            workspace=self.workspace,
            person=self.person,
            model=self.person_map.label if self.person_map else "",
            object_pk=self.object_pk,
            expires=_deadline(expires),
            at_once=at_once,
        )


def find(person: Person, *, workspace: str | None, using: str | None) -> Whom:
    known = get_settings().workspaces
    if workspace is not None and workspace not in known:
        raise ImproperlyConfigured(
            f"There is no workspace {workspace!r}: CUSTOMERIO names {', '.join(known)}."
        )
    person_map = registry.get(person)
    if person_map is None:
        if isinstance(person, Model):
            raise NotMapped(
                f"{person._meta.label} is not mapped: give it CustomerIOMixin, or register a "
                f"PersonMap for it."
            )
        return Whom(
            person=person if isinstance(person, Identifiers) else Identifiers.parse(person),
            workspace=workspace or "default",
            using=using or router.db_for_write(OutboxMessage),
        )
    # ``request.user`` is lazy: what is behind it decides.
    instance: Any = person
    if isinstance(instance, type):
        raise NotMapped(f"{instance.__name__} is a model: pass an instance of it.")
    using = using or router.db_for_write(person_map.model, instance=instance)
    identifiers = person_map.identify_key(instance, using=using)
    if identifiers is None:
        raise NotMapped(
            f"This {person_map.model._meta.label} has no {person_map.id} yet: save it first."
        )
    return Whom(
        person=identifiers,
        workspace=workspace or person_map.workspace,
        using=using,
        person_map=person_map,
        object_pk=person_map.object_pk(instance),
    )


def seconds(moment: Moment | None) -> int | datetime:
    if moment is None:
        return int(time.time())
    return int(moment) if isinstance(moment, float) else moment


def _deadline(expires: datetime | timedelta | None) -> datetime | None:
    """Return *expires* as the database takes it; one without time zone is the project's."""
    if expires is None:
        return None
    if isinstance(expires, timedelta):
        return timezone.now() + expires
    if not isinstance(expires, datetime):
        raise InvalidMessage(
            '"expires" must be a datetime, or a timedelta from now on, not of the type '
            f'"{type(expires).__name__}".',
            field="expires",
        )
    if timezone.is_aware(expires) == settings.USE_TZ:
        return expires
    convert = timezone.make_aware if settings.USE_TZ else timezone.make_naive
    return convert(expires, timezone.get_default_timezone())
