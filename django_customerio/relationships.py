"""Objects that people belong to, such as companies or courses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django_customerio.conversion import (
    to_json,
)
from django_customerio.exceptions import InvalidMessage
from django_customerio.limits import MAX_ATTRIBUTES, check_attribute_name, check_attribute_value

MAX_BYTES = 150  # of an object's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """That a person belongs to an object.

    Attributes:
        object_type_id: The number of the type of object, ``"1"`` for the first.
        object_id: The object's id, up to 150 bytes.
        cio_object_id: Customer.io's own id of the object, instead of the other two.
        attributes: Of the relationship, such as the person's role; limits as for people.

    Raises:
        InvalidMessage: If it names no object.
    """

    object_type_id: str = ""
    object_id: str = field(default="", repr=False)
    cio_object_id: str = field(default="", repr=False)
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("object_type_id", "object_id", "cio_object_id"):
            object.__setattr__(self, name, _id(getattr(self, name), name))
        named = bool(self.object_type_id), bool(self.object_id), bool(self.cio_object_id)
        if named not in ((True, True, False), (False, False, True)):
            raise InvalidMessage(
                "A relationship names its object by object_type_id and object_id, or by "
                "cio_object_id alone.",
                field="relationships",
            )
        if self.object_type_id and not re.fullmatch("[1-9][0-9]*", self.object_type_id):
            raise InvalidMessage(
                "The object_type_id is the number that Customer.io shows for the type of object, "
                'such as "1", not its name.',
                field="object_type_id",
            )
        attributes = to_json(self.attributes, field="relationships")
        if not isinstance(attributes, dict) or len(attributes) > MAX_ATTRIBUTES:
            raise InvalidMessage(
                "The attributes of a relationship must be a dict of names and values, "
                f"{MAX_ATTRIBUTES} at most.",
                field="relationships",
            )
        for name, value in attributes.items():
            check_attribute_value(value, check_attribute_name(name))
        object.__setattr__(self, "attributes", attributes)

    def as_dict(self) -> dict[str, Any]:
        """As the API wants it."""
        result: dict[str, Any] = {
            "identifiers": {"cio_object_id": self.cio_object_id}
            if self.cio_object_id
            else {"object_type_id": self.object_type_id, "object_id": self.object_id}
        }
        if self.attributes:
            result["relationship_attributes"] = self.attributes
        return result

    @classmethod
    def parse(cls, value: object) -> Relationship:
        """What *value* says, one of these or the API's own dict.

        Raises:
            InvalidMessage: If it is neither.
        """
        if isinstance(value, Relationship):
            return value
        if isinstance(value, Mapping) and value.keys() <= {
            "identifiers",
            "relationship_attributes",
        }:
            identifiers = value.get("identifiers")
            if isinstance(identifiers, Mapping) and identifiers.keys() <= {
                "object_type_id",
                "object_id",
                "cio_object_id",
            }:
                return cls(**identifiers, attributes=value.get("relationship_attributes") or {})
        raise InvalidMessage(
            'A relationship is a Relationship, or a dict with "identifiers" and, if there are '
            'any, "relationship_attributes".',
            field="relationships",
        )

    @classmethod
    def parse_all(cls, values: Any) -> tuple[Relationship, ...]:
        """:meth:`parse` for each of *values*."""
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise InvalidMessage(
                "The relationships must be a list, even a single one.", field="relationships"
            )
        return tuple(cls.parse(value) for value in values)


def _id(value: Any, name: str) -> str:
    value = to_json(value, field=name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or "\0" in value or (value and value.isspace()):
        raise InvalidMessage(f'"{name}" must be a string that is not blank.', field=name)
    if len(value.encode()) > MAX_BYTES:
        raise InvalidMessage(
            f'"{name}" is longer than {MAX_BYTES} bytes. Use a shorter one.', field=name
        )
    return value
