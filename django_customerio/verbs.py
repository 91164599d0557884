"""What code says about people: the functions of the package root.

``person`` is an instance of a mapped model, a plain id, or a mapping with exactly one of
``id``, ``email``, ``phone``, ``cio_id`` and ``anonymous_id``. Everything is queued in the
caller's transaction and sent after its commit. By keyword, all take

``workspace`` (str)
    Alias of the workspace; that of the person's map by default.
``using`` (str)
    Alias of the database whose transaction it joins; where the person is written by default.

and those to which it means something

``timestamp`` (int, float or datetime)
    When it happened, Unix seconds or a datetime; now by default. Customer.io knows it of
    ``identify`` and of what happened; of a device it is ``last_used``.
``expires`` (datetime or timedelta)
    After which it is not worth sending any more; never by default. What takes somebody away
    (``delete``, ``suppress``, ``erase``), or lets them back, is owed for ever.

Errors: ``NotMapped`` for something that is no person, ``InvalidMessage`` for what
Customer.io would refuse, and, with ``QUEUE = "memory"``, ``QueueFull``. Then nothing was queued.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction

from . import buffer, fingerprints, queue
from .events import Event as TypedEvent
from .exceptions import InvalidMessage, NotMapped
from .limits import MAX_NAME_BYTES
from .messages import (
    AddDevice,
    AddRelationships,
    AnonymousEvent,
    Delete,
    DeleteDevice,
    DeleteRelationships,
    Event,
    Identify,
    Merge,
    Message,
    Page,
    Relationship,
    Screen,
    Suppress,
    Unsuppress,
    lane_of,
)
from .models import OutboxMessage, SentMessage
from .testmode import is_quiet
from .whom import Moment, Person, Whom, find, seconds


def identify(
    person: Person,
    attributes: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Look at a mapped person again; or, with attributes, set these.

    The site's database stays the source of mapped attributes: the next look tells the
    database's value of those again that were set here.
    """
    whom = find(person, workspace=workspace, using=using)
    if attributes is None:
        if whom.person_map is None:
            raise NotMapped(
                "There is nothing to look at behind a plain id: pass attributes, or an instance "
                "of a mapped model."
            )
        queue.put_state(
            person_map=whom.person_map,
            person=whom.person,
            object_pk=whom.object_pk,
            using=whom.using,
        )
        return
    message = Identify(
        person=whom.person,
        attributes=attributes,
        timestamp=seconds(timestamp),
        update_only=bool(whom.person_map and whom.person_map.update_only),
    )
    whom.put(message, expires=expires)


def track(
    person: Person,
    event: str | TypedEvent,
    data: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Tell of an event: a name with data, or an instance of a typed ``Event``.

    Of ``{"anonymous_id": …}`` it is kept until that visitor is identified.
    """
    if isinstance(event, TypedEvent):
        if data is not None:
            raise InvalidMessage(
                f"A typed event brings its own data: leave data out, or add its fields to "
                f"{type(event).__name__}.",
                field="data",
            )
        name, data = event.name, event.data()
    else:
        name = event
    whom = find(person, workspace=workspace, using=using)
    _tell("event", whom, name, data, timestamp, expires)


def page(
    person: Person,
    url: str,
    data: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Tell of a page that was seen.

    An address longer than a name may be (100 bytes) is cut there, and stands whole in
    ``data["url"]``: how long it is was the visitor's doing, and no reason to fail.
    """
    whom = find(person, workspace=workspace, using=using)
    name = url.encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore")
    if name != url:
        data = {"url": url, **(data or {})}
    _tell("page", whom, name, data, timestamp, expires)


def screen(
    person: Person,
    name: str,
    data: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Tell of a screen of an app that was seen."""
    whom = find(person, workspace=workspace, using=using)
    _tell("screen", whom, name, data, timestamp, expires)


def _tell(
    kind: Literal["event", "page", "screen"],
    whom: Whom,
    name: str,
    data: Mapping[str, Any] | None,
    timestamp: Moment | None,
    expires: datetime | timedelta | None,
) -> None:
    at = seconds(timestamp)
    message: Message
    if whom.person.type == "anonymous_id":
        message = AnonymousEvent(
            anonymous_id=whom.person.value, name=name, data=data or {}, timestamp=at, type=kind
        )
    else:
        made = {"event": Event, "page": Page, "screen": Screen}[kind]
        message = made(person=whom.person, name=name, data=data or {}, timestamp=at)
    whom.put(message, expires=expires)


def delete(person: Person, *, workspace: str | None = None, using: str | None = None) -> None:
    """Delete the person over there. Whatever names them afterwards creates them anew."""
    whom = find(person, workspace=workspace, using=using)
    whom.put(Delete(person=whom.person))


def suppress(person: Person, *, workspace: str | None = None, using: str | None = None) -> None:
    """Delete the person over there and bar their identifiers for good."""
    whom = find(person, workspace=workspace, using=using)
    whom.put(Suppress(person=whom.person))


def unsuppress(person: Person, *, workspace: str | None = None, using: str | None = None) -> None:
    """Free the identifiers again. What was deleted stays deleted."""
    whom = find(person, workspace=workspace, using=using)
    whom.put(Unsuppress(person=whom.person))


def erase(person: Person, *, workspace: str | None = None, using: str | None = None) -> None:
    """Forget somebody: whatever is queued or kept of them here, and all of them over there.

    Cancels their messages, removes them from the ledger and suppresses them, in one
    transaction. The row of the model is the site's own to delete. It knows them by the one
    identifier, workspace and database: say it again for each other that they were told by.
    """
    whom = find(person, workspace=workspace, using=using)
    key = whom.person.key
    message = Suppress(person=whom.person)
    if is_quiet():
        whom.put(message)
        return
    with transaction.atomic(using=whom.using):
        mine = {"workspace": whom.workspace, "person": key}
        # In the order of a sender that finishes a batch, or the two would deadlock.
        fingerprints.forget([key], using=whom.using, workspace=whom.workspace)
        queued = OutboxMessage.objects.using(whom.using)
        theirs = queued.filter(lane=lane_of(key), **mine)
        # By primary key first: MariaDB would lock the index before the row, senders do not.
        queued.filter(pk__in=list(theirs.order_by("pk").values_list("pk", flat=True))).delete()
        theirs.delete()
        SentMessage.objects.using(whom.using).filter(**mine).delete()
        buffer.cancel(using=whom.using, workspace=whom.workspace, person=key)
        whom.put(message, at_once=True)


def merge(
    primary: Person,
    secondary: Person,
    *,
    workspace: str | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Fold ``secondary`` into ``primary``, who must exist over there. It cannot be undone."""
    whom = find(primary, workspace=workspace, using=using)
    other = find(secondary, workspace=whom.workspace, using=whom.using)
    whom.put(Merge(primary=whom.person, secondary=other.person), expires=expires)


def add_device(
    person: Person,
    token: str,
    platform: str,
    *,
    last_used: Moment | None = None,
    attributes: Mapping[str, Any] | None = None,
    workspace: str | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Add or update a device for push notifications; ``platform`` is ``ios`` or ``android``."""
    whom = find(person, workspace=workspace, using=using)
    message = AddDevice(
        person=whom.person,
        token=token,
        platform=platform,  # type: ignore[arg-type]  # checked there
        last_used=seconds(last_used),
        attributes=attributes or {},
    )
    whom.put(message, expires=expires)


def delete_device(
    person: Person,
    token: str,
    *,
    workspace: str | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Remove a device."""
    whom = find(person, workspace=workspace, using=using)
    whom.put(DeleteDevice(person=whom.person, token=token), expires=expires)


def relate(
    person: Person,
    object_id: str | int | UUID,
    *,
    object_type_id: str | int = "1",
    attributes: Mapping[str, Any] | None = None,
    workspace: str | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Say that a person belongs to an object, such as a company."""
    whom = find(person, workspace=workspace, using=using)
    message = AddRelationships(
        person=whom.person,
        relationships=(
            Relationship(
                object_type_id=str(object_type_id),
                object_id=str(object_id),
                attributes=attributes or {},
            ),
        ),
    )
    whom.put(message, expires=expires)


def unrelate(
    person: Person,
    object_id: str | int | UUID,
    *,
    object_type_id: str | int = "1",
    workspace: str | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """Say that a person no longer belongs to an object."""
    whom = find(person, workspace=workspace, using=using)
    message = DeleteRelationships(
        person=whom.person,
        relationships=(
            Relationship(object_type_id=str(object_type_id), object_id=str(object_id)),
        ),
    )
    whom.put(message, expires=expires)


async def aidentify(
    person: Person,
    attributes: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """``identify`` for async code: the INSERT happens in a thread."""
    await sync_to_async(identify)(
        person,
        attributes,
        workspace=workspace,
        timestamp=timestamp,
        using=using,
        expires=expires,
    )


async def atrack(
    person: Person,
    event: str | TypedEvent,
    data: Mapping[str, Any] | None = None,
    *,
    workspace: str | None = None,
    timestamp: Moment | None = None,
    using: str | None = None,
    expires: datetime | timedelta | None = None,
) -> None:
    """``track`` for async code: the INSERT happens in a thread."""
    await sync_to_async(track)(
        person,
        event,
        data,
        workspace=workspace,
        timestamp=timestamp,
        using=using,
        expires=expires,
    )
