"""Operations in the shape of v2, and what they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .models import Person
from .rules import Key, key_of

PREFERENCES = "cio_subscription_preferences"


@dataclass(frozen=True, slots=True)
class Operation:
    """A valid item: the decoded JSON, and the text to keep."""

    item: dict[str, Any]
    text: str


def keys_of(item: dict[str, Any]) -> Iterator[Key]:
    for part in ("identifiers", "primary", "secondary"):
        if part in item:
            yield key_of(item[part])
    if item["action"] == "identify":
        yield from attribute_keys(item.get("attributes", {}))


def attribute_keys(values: dict[str, Any]) -> Iterator[Key]:
    for type_ in ("id", "email"):
        if values.get(type_):
            yield key_of({type_: values[type_]})


def object_key(relationship: dict[str, Any]) -> str:
    names: dict[str, str] = relationship["identifiers"]
    if "cio_object_id" in names:
        return f"cio_object_id:{names['cio_object_id']}"
    return f"{names['object_type_id']}:{names['object_id']}"


def assign(person: Person, name: str, value: Any) -> None:
    """Sets an attribute; null and "" take it away, dotted names change one preference."""
    place = person.attributes
    if name.startswith(f"{PREFERENCES}."):
        *path, name = name.split(".")
        for step in path:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
    if value is None or value == "":
        place.pop(name, None)
    else:
        place[name] = value
