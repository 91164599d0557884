"""What can be said to Customer.io, as frozen values that render the documented JSON.

A message is checked and converted when it is made, where the caller sees the traceback,
and says the same ever after: what happens to the caller's dicts later does not matter.
``as_json`` is one operation of the Track API v2; only :class:`AnonymousEvent` has the
shape of v1, the one version that has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from django_customerio.conversion import encode
from django_customerio.exceptions import InvalidMessage
from django_customerio.identifiers import LANES, Identifiers, IdentifierType, lane_of
from django_customerio.ids import new_ulid
from django_customerio.limits import (
    check_attributes,
    check_data,
    check_device_attributes,
    check_name,
    check_person,
    check_seconds,
    check_token,
    check_ulid,
)
from django_customerio.message import AboutPerson, Message, complete
from django_customerio.relationships import Relationship

__all__ = [
    "LANES",
    "AddDevice",
    "AddRelationships",
    "AnonymousEvent",
    "Delete",
    "DeleteDevice",
    "DeleteRelationships",
    "Event",
    "IdentifierType",
    "Identifiers",
    "Identify",
    "Merge",
    "Message",
    "Page",
    "Relationship",
    "Screen",
    "Suppress",
    "Unsuppress",
    "encode",
    "lane_of",
]


class Delete(AboutPerson):
    """The person is deleted; whatever names them afterwards creates them anew."""

    __slots__ = ()
    kind = action = "delete"


class Suppress(AboutPerson):
    """The person is deleted, and their identifiers are blocked."""

    __slots__ = ()
    kind = action = "suppress"


class Unsuppress(AboutPerson):
    """The identifiers are free again; what was deleted stays deleted."""

    __slots__ = ()
    kind = action = "unsuppress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify(AboutPerson):
    """Attributes of a person, who is created if need be.

    Attributes:
        attributes: Up to 300, with names up to 150 and values up to 1,000 bytes.
            ``None`` removes one.
        timestamp: When this was so, to order racing updates: Unix seconds or a datetime.
        update_only: Never creates the person.
        relationships: Objects the person belongs to.
    """

    kind = action = "identify"

    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timestamp: int | datetime | None = None
    update_only: bool = False
    relationships: Iterable[Relationship | Mapping[str, Any]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))
        complete(self, "attributes", check_attributes(self.attributes))
        complete(self, "timestamp", check_seconds(self.timestamp))
        complete(self, "relationships", Relationship.parse_all(self.relationships))

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(self.attributes)

    def as_dict(self) -> dict[str, Any]:
        attributes: dict[str, Any] = dict(self.attributes)
        if self.update_only:
            attributes["_update"] = True
        result: dict[str, Any] = {
            "type": "person",
            "action": "identify",
            "identifiers": self.person.as_dict(),
            "attributes": attributes,
        }
        if self.timestamp is not None:
            result["timestamp"] = self.timestamp
        if self.relationships:
            result["cio_relationships"] = _as_dicts(self.relationships)
        return result


def _now() -> int:
    return int(time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happened(AboutPerson):
    name: str = field()
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = field(default_factory=new_ulid)
    timestamp: int | datetime | None = field(default_factory=_now)

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))
        complete(self, "name", check_name(self.name))
        complete(self, "data", check_data(self.data))
        complete(self, "timestamp", check_seconds(self.timestamp))
        check_ulid(self.id)

    def as_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "type": "person",
            "action": self.action,
            "identifiers": self.person.as_dict(),
            "name": self.name,
            "id": self.id,
            "attributes": self.data,
        }
        if self.timestamp is not None:
            result["timestamp"] = self.timestamp
        return result


class Event(_Happened):
    """Something that a person did, or that happened to them.

    Attributes:
        name: Up to 100 bytes; spaces around it are removed.
        data: Anything JSON can say, see :func:`~django_customerio.conversion.to_json`.
            ``recipient``, ``from_address`` and ``reply_to`` redirect the mails of the
            campaigns it starts: never fill them with what a visitor typed.
        id: A ULID, by which Customer.io drops what it already has; a new one by default.
        timestamp: When: Unix seconds or a datetime; now by default. None leaves it out,
            so that the time of arrival counts.
    """

    __slots__ = ()
    kind = action = "event"


class Page(_Happened):
    """A page that a person saw; ``name`` is its address or path, else as for events."""

    __slots__ = ()
    kind = action = "page"


class Screen(_Happened):
    """A screen of an app that a person saw; ``name`` is its name, else as for events."""

    __slots__ = ()
    kind = action = "screen"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnonymousEvent(Message):
    """What somebody did who is not known yet, or an invitation; the body of v1's ``/events``.

    Attributes:
        anonymous_id: Ties it to the person who is identified with the same
            ``anonymous_id`` later, within 30 days. None makes it an invitation, sent to
            ``data["recipient"]``, who needs no profile.
        name, data, id, timestamp: As for :class:`Event`.
        type: ``"event"``, ``"page"`` or ``"screen"``.
    """

    kind = "anonymous_event"

    anonymous_id: str | None = field(default=None, repr=False)
    name: str = field()
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = field(default_factory=new_ulid)
    timestamp: int | datetime | None = field(default_factory=_now)
    type: Literal["event", "page", "screen"] = "event"

    def __post_init__(self) -> None:
        if self.anonymous_id is not None:
            visitor = Identifiers("anonymous_id", self.anonymous_id)
            complete(self, "anonymous_id", visitor.value)
        complete(self, "name", check_name(self.name))
        complete(self, "data", check_data(self.data))
        complete(self, "timestamp", check_seconds(self.timestamp))
        check_ulid(self.id)
        if self.anonymous_id is None and not self.data.get("recipient"):
            raise InvalidMessage(
                "An event of nobody reaches nobody. Give anonymous_id, or, for an invitation, "
                'the address in data["recipient"].',
                field="anonymous_id",
            )
        if self.type not in ("event", "page", "screen"):
            raise InvalidMessage('The type is "event", "page" or "screen".', field="type")

    @property
    def person(self) -> Identifiers | None:
        """The visitor; None for an invitation."""
        if self.anonymous_id is None:
            return None
        return Identifiers("anonymous_id", self.anonymous_id)

    def as_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"name": self.name, "data": self.data, "id": self.id}
        if self.type != "event":
            result["type"] = self.type
        if self.anonymous_id is not None:
            result["anonymous_id"] = self.anonymous_id
        if self.timestamp is not None:
            result["timestamp"] = self.timestamp
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDevice(AboutPerson):
    """A device that may get the person's push notifications.

    Attributes:
        token: Of the device, by the push service.
        platform: ``"ios"`` or ``"android"``.
        last_used: Unix seconds or a datetime; the time of arrival by default.
        attributes: Strings such as ``app_version``; numbers become strings, booleans
            ``"true"`` and ``"false"``.
    """

    kind = action = "add_device"

    token: str = field(repr=False)
    platform: Literal["ios", "android"]
    last_used: int | datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))
        complete(self, "token", check_token(self.token))
        if self.platform not in ("ios", "android"):
            raise InvalidMessage('The platform is "ios" or "android".', field="platform")
        complete(self, "last_used", check_seconds(self.last_used, "last_used"))
        complete(self, "attributes", check_device_attributes(self.attributes))

    def as_dict(self) -> dict[str, Any]:
        device: dict[str, Any] = {"token": self.token, "platform": self.platform}
        if self.last_used is not None:
            device["last_used"] = self.last_used
        if self.attributes:
            device["attributes"] = self.attributes
        return {
            "type": "person",
            "action": "add_device",
            "identifiers": self.person.as_dict(),
            "device": device,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDevice(AboutPerson):
    """A device that gets no more push notifications."""

    kind = action = "delete_device"

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))
        complete(self, "token", check_token(self.token))

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "person",
            "action": "delete_device",
            "identifiers": self.person.as_dict(),
            "device": {"token": self.token},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(Message):
    """Two profiles of one person become one; it cannot be undone.

    Attributes:
        primary: The profile that stays. Without it over there nothing happens.
        secondary: The profile that is folded into it and deleted.
    """

    kind = "merge"

    primary: Identifiers
    secondary: Identifiers

    def __post_init__(self) -> None:
        for side in ("primary", "secondary"):
            person = check_person(getattr(self, side))
            if person.type == "phone":
                raise InvalidMessage(
                    "Customer.io does not merge by phone. Name both people by id, email or "
                    "cio_id.",
                    field=side,
                )
            complete(self, side, person)
        if self.primary.key == self.secondary.key:
            raise InvalidMessage(
                "A profile cannot be merged into itself. Name two.", field="secondary"
            )

    @property
    def person(self) -> Identifiers:
        """Who is left, the primary."""
        return self.primary

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "person",
            "action": "merge",
            "primary": self.primary.as_dict(),
            "secondary": self.secondary.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relates(AboutPerson):
    relationships: Iterable[Relationship | Mapping[str, Any]] = field(repr=False)

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))
        complete(self, "relationships", Relationship.parse_all(self.relationships))
        if not self.relationships:
            raise InvalidMessage("Name at least one relationship.", field="relationships")

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "person",
            "action": self.action,
            "identifiers": self.person.as_dict(),
            "cio_relationships": _as_dicts(self.relationships),
        }


class AddRelationships(_Relates):
    """Objects, such as companies, that the person belongs to."""

    __slots__ = ()
    kind = action = "add_relationships"


class DeleteRelationships(_Relates):
    """Objects that the person no longer belongs to."""

    __slots__ = ()
    kind = action = "delete_relationships"


def _as_dicts(relationships: Iterable[Any]) -> list[dict[str, Any]]:
    return [relationship.as_dict() for relationship in relationships]
