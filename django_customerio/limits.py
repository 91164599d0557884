"""What Customer.io takes: checked when a message is made, where the caller can see it.

Sizes are bytes of UTF-8. Errors name the field and the cure, never a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from django_customerio.conversion import (
    MAX_VALUE_BYTES,
    SURROGATE,
    JSONValue,
    encode,
    size_of,
    to_json,
    unix_seconds,
)
from django_customerio.exceptions import InvalidAttribute, InvalidMessage
from django_customerio.identifiers import Identifiers
from django_customerio.ids import is_ulid

MAX_NAME_BYTES = 100
"""Of an event, page or screen."""
MAX_ATTRIBUTES = 300
MAX_ATTRIBUTE_NAME_BYTES = 150

# Outside lies what is no time in seconds, above all milliseconds.
_EARLIEST, _LATEST = 999_999_999, 100_000_000_000

_OWN_PARAMETERS = {
    "cio_relationships": "Use relationships instead.",
    "_update": "Use update_only instead.",
    "_timestamp": "Use timestamp instead.",
}


@lru_cache(maxsize=2048)
def check_attribute_name(name: str) -> str:
    """*name* as an exact ``str``, if an attribute may be called that.

    Raises:
        InvalidAttribute: For names that are blank, reserved by Customer.io or longer than
            150 bytes.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidAttribute("The name of an attribute must be a string that is not blank.")
    name = str.__str__(name)
    # The name may be at fault because it is no name: it stays out of these texts.
    if "\0" in name:
        raise InvalidAttribute("The name of an attribute holds a NUL character. Remove it.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidAttribute(f"The name of an attribute holds {SURROGATE}") from None
    if size > MAX_ATTRIBUTE_NAME_BYTES:
        raise InvalidAttribute(
            f"The name of an attribute has {size} bytes; Customer.io takes "
            f"{MAX_ATTRIBUTE_NAME_BYTES}. Shorten it."
        )
    if name == "cio_id":
        reason = "Customer.io gives it and never changes it. Name the person by it instead."
    elif name in _OWN_PARAMETERS:
        reason = _OWN_PARAMETERS[name]
    elif name.startswith("_"):
        reason = "Names that start with an underscore are its own. Choose another."
    else:
        return name
    raise InvalidAttribute(
        f'"{name}" cannot be set as an attribute: Customer.io reserves it. {reason}', field=name
    )


def check_attribute_value(value: JSONValue, name: str) -> JSONValue:
    """*value* itself, if it fits the 1,000 bytes of an attribute.

    A string counts as it is stored, without quotes and escapes; anything else as JSON.

    Raises:
        InvalidAttribute: If it does not fit; ``field`` is *name*.
    """
    kind = type(value)
    if kind is str:
        # No character has more than four bytes.
        if len(value) * 4 <= MAX_VALUE_BYTES:  # type: ignore[arg-type]
            return value
        size = size_of(value)  # type: ignore[arg-type]
    elif kind is list or kind is dict:
        size = size_of(encode(value))
    elif kind is int:
        # As many digits as bits allow; writing out a huge number is what we avoid here.
        size = 1 + int(value.bit_length() * 0.30103)  # type: ignore[union-attr]
    else:
        return value
    if size > MAX_VALUE_BYTES:
        raise InvalidAttribute(
            f'The attribute "{name}" has {size:,} bytes; Customer.io takes '
            f"{MAX_VALUE_BYTES:,}. Shorten it, or split it into several attributes.",
            field=name,
        )
    return value


def check_created_at(value: JSONValue, name: str) -> JSONValue:
    """*value* itself, unless it is a number for ``created_at`` that is no time in seconds.

    Customer.io refuses a person's whole message for it.

    Raises:
        InvalidAttribute: above all for milliseconds; ``field`` is *name*.
    """
    if name == "created_at" and isinstance(value, int | float) and not 0 < value < _LATEST:
        raise InvalidAttribute(
            '"created_at" is no time in Unix seconds between 1970 and the year 5138. '
            "Milliseconds must be divided by 1,000; a datetime is converted by itself.",
            field=name,
        )
    return value


def check_person(person: object) -> Identifiers:
    identifiers = person if type(person) is Identifiers else Identifiers.parse(person)
    if identifiers.type == "anonymous_id":
        raise InvalidMessage(
            "Of an anonymous visitor only events can be told. Track them, and identify the "
            "person with the attribute anonymous_id once they are known.",
            field="anonymous_id",
        )
    return identifiers


def check_name(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidMessage(
            f'The name must be a string, not of the type "{type(value).__name__}".', field="name"
        )
    name = str.__str__(value).strip()
    if not name:
        raise InvalidMessage("The name is blank. Give it one.", field="name")
    if "\0" in name:
        raise InvalidMessage("The name holds a NUL character. Remove it.", field="name")
    size = len(name) if name.isascii() else len(_encoded(name, "name"))
    if size > MAX_NAME_BYTES:
        raise InvalidMessage(
            f"The name has {size:,} bytes; Customer.io takes "
            f"{MAX_NAME_BYTES}. Shorten it, and put the whole, such as a long address, into "
            "the data.",
            field="name",
        )
    return name


def check_token(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidMessage(
            "The token of a device must be a string that is not blank.", field="token"
        )
    token = str.__str__(value)
    if "\0" in token:
        raise InvalidMessage("The token holds a NUL character. Remove it.", field="token")
    _encoded(token, "token")
    return token


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(
            f"The {name} holds half of a character (a lone surrogate). Decode it anew.",
            field=name,
        ) from None


def check_data(value: Any) -> dict[str, JSONValue]:
    data = to_json({} if value is None else value)
    if type(data) is not dict:
        raise InvalidMessage("The data must be a dict of names and values.", field="data")
    return data


def check_seconds(value: Any, name: str = "timestamp") -> int | None:
    if value is None:
        return None
    earliest = _EARLIEST
    if isinstance(value, datetime):
        # Its unit is beyond doubt, so history may be older.
        value, earliest = unix_seconds(value), 0
    elif not isinstance(value, int) or isinstance(value, bool):
        raise InvalidMessage(
            f'"{name}" must be whole Unix seconds or a datetime, not of the type '
            f'"{type(value).__name__}".',
            field=name,
        )
    if not earliest < value < _LATEST:
        raise InvalidMessage(
            f'"{name}" is no time in Unix seconds between September 2001 and the year 5138. '
            "Milliseconds must be divided by 1,000.",
            field=name,
        )
    return int(value)


def check_ulid(value: Any) -> None:
    if not isinstance(value, str) or not is_ulid(value):
        raise InvalidMessage(
            "The id of an event must be a ULID. Leave it out for a new one, or make one with "
            "django_customerio.ids.new_ulid().",
            field="id",
        )


def check_attributes(value: Any) -> dict[str, JSONValue]:
    attributes = _attributes(value)
    check_created_at(attributes.get("created_at"), "created_at")
    return attributes


def _attributes(value: Any) -> dict[str, JSONValue]:
    if not isinstance(value, Mapping):
        raise InvalidAttribute(
            "The attributes must be a dict of names and values.", field="attributes"
        )
    if len(value) > MAX_ATTRIBUTES:
        raise InvalidMessage(
            f"There are {len(value)} attributes; Customer.io takes {MAX_ATTRIBUTES}. "
            "Send fewer, or group them in a dict.",
            field="attributes",
        )
    attributes = to_json(value)
    assert isinstance(attributes, dict)  # noqa: S101  # for the type checker
    for name, item in attributes.items():
        check_attribute_name(name)
        check_attribute_value(item, name)
    return attributes


def check_device_attributes(value: Any) -> dict[str, str]:
    result = {}
    for name, item in _attributes(value).items():
        match item:
            case str():
                result[name] = item
            case bool() | int() | float():
                result[name] = encode(item)
            case _:
                raise InvalidAttribute(
                    f'The attribute "{name}" of a device must be a string.', field=name
                )
    return result
