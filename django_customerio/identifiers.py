"""Who is meant: the one identifier that names a person to Customer.io."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from django_customerio.exceptions import InvalidMessage

IdentifierType: TypeAlias = Literal["id", "email", "phone", "cio_id", "anonymous_id"]

LANES = 64
"""Lanes of one workspace: people are spread over them by a hash of their key."""

_TYPES: tuple[IdentifierType, ...] = get_args(IdentifierType)
_ACCEPTED = ", ".join(f'"{name}"' for name in _TYPES)
_MAX_BYTES = {"id": 150}
_MAX_BYTES_OF_OTHERS = 254  # as long as an e-mail address may be


@dataclass(frozen=True, slots=True)
class Identifiers:
    """One identifier of a person.

    Nothing is guessed from the look of a value: an id may look like an e-mail address.

    Attributes:
        type: ``"id"``, ``"email"``, ``"phone"`` (E.164), ``"cio_id"`` (Customer.io's own,
            without the ``cio_`` it has in addresses) or ``"anonymous_id"``.
        value: Up to 150 bytes for an id, 254 for the others; integers and UUIDs become
            strings. Not part of the ``repr``, which ends up in logs.

    Raises:
        InvalidMessage: If the value is blank, too long or no identifier at all.
    """

    type: IdentifierType
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        kind, value = self.type, self.value
        if kind not in _TYPES:
            raise InvalidMessage(
                f"A person is named by one of {_ACCEPTED}, not by anything else.",
                field="identifiers",
            )
        if type(value) is not str:
            value = _string(value, kind)
            object.__setattr__(self, "value", value)
        if kind == "cio_id" and value.startswith("cio_"):
            value = value[4:]
            object.__setattr__(self, "value", value)
        if not value or value.isspace():
            raise InvalidMessage(
                f'The identifier "{kind}" is blank. Give the person one before naming them.',
                field=kind,
            )
        if "\0" in value:
            raise InvalidMessage(
                f'The identifier "{kind}" holds a NUL character. Remove it.', field=kind
            )
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:
            raise InvalidMessage(
                f'The identifier "{kind}" holds half of a character (a lone surrogate). '
                "Decode it anew.",
                field=kind,
            ) from None
        limit = _MAX_BYTES.get(kind, _MAX_BYTES_OF_OTHERS)
        if size > limit:
            raise InvalidMessage(
                f'The identifier "{kind}" has {size:,} bytes; {limit} are accepted. '
                "Name the person by a shorter one.",
                field=kind,
            )

    @property
    def key(self) -> str:
        """Names the person in the queue, such as ``"id:42"``.

        Customer.io ignores the case of e-mail addresses, and of nothing else.
        """
        if self.type == "email":
            return f"email:{self.value.lower()}"
        return f"{self.type}:{self.value}"

    def as_dict(self) -> dict[str, str]:
        """``{"id": "42"}``, as the API wants it."""
        return {self.type: self.value}

    @classmethod
    def parse(cls, person: object) -> Identifiers:
        """What *person* says: an id, or ``{"email": …}`` with exactly one identifier.

        Raises:
            InvalidMessage: If it says nothing that names a person.
        """
        kind = type(person)
        if kind is str or kind is int or isinstance(person, str | int | UUID):
            return cls("id", person)  # type: ignore[arg-type]  # made a string there
        if isinstance(person, Identifiers):
            return person
        if isinstance(person, Mapping) and len(person) == 1:
            [(name, value)] = person.items()
            return cls(name, value)
        # ``__class__`` sees what a lazy object holds: ``request.user`` of nobody, mostly.
        found = "" if isinstance(person, Mapping) else f', not a "{person.__class__.__name__}"'
        raise InvalidMessage(
            "A person is an id (a string, an integer or a UUID), an instance of a mapped model, "
            f"or a dict with exactly one of {_ACCEPTED}{found}.",
            field="identifiers",
        )


def lane_of(key: str) -> int:
    """The lane, from 0 to 63, in which the messages of the person with this *key* travel."""
    return zlib.crc32(key.encode()) % LANES


def _string(value: Any, kind: str) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 1_000:
        return int.__repr__(value)
    raise InvalidMessage(
        f'The identifier "{kind}" is neither a string nor a usual integer nor a UUID, but '
        f'of the type "{type(value).__name__}". Convert it.',
        field=kind,
    )
