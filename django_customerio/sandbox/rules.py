"""What the Track API documents about one item, as checks of its v2 shape.

Where the documentation leaves open what happens (a `timestamp` in milliseconds, an `id`
that is no ULID, an `email` with a blank or without `@`), the sandbox refuses: better here than
in production.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .models import encode

REQUEST_BYTES = 500_000
ITEM_BYTES = 32_000
NAME_BYTES = 100
KEY_BYTES = 150
VALUE_BYTES = 1_000
EMAIL_BYTES = 254
TOKEN_BYTES = 500
ATTRIBUTES = 300

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")

Item = Mapping[str, Any]


class Refusal(Exception):  # noqa: N818 - a word of the domain
    """An item Customer.io would not take.

    Args:
        reason: One word: ``required``, ``invalid``, ``too_large`` or ``unknown``.
        field: Where in the item.
        message: What is expected there.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason, self.field, self.message = reason, field, message

    def as_dict(self) -> dict[str, Any]:
        return {"reason": self.reason, "field": self.field, "message": self.message}


class Key(NamedTuple):
    """One identifier: its type, and its value as it is compared."""

    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


def size(value: Any) -> int:
    """UTF-8 bytes of a value after its conversion to text."""
    text = value if isinstance(value, str) else encode(value)
    return len(text.encode())


def key_of(identifiers: Mapping[str, str]) -> Key:
    """The key of identifiers that were checked."""
    ((type_, value),) = identifiers.items()
    return Key(type_, value.lower() if type_ == "email" else value)


def _only(item: Item, *known: str) -> None:
    for field in item:
        if field not in known:
            hint = {"data": "attributes", "_timestamp": "timestamp"}.get(field)
            text = f"in v2 this is called {hint}" if hint else f"known are {', '.join(known)}"
            raise Refusal("unknown", str(field)[:100], text)


def _object(item: Item, field: str, *, required: bool = False) -> Mapping[str, Any]:
    value = item.get(field)
    if value is None and not required and field not in item:
        return {}
    if not isinstance(value, dict):
        raise Refusal("invalid" if field in item else "required", field, "must be an object")
    return value


def _text(item: Item, key: str, limit: int, *, field: str | None = None) -> str:
    field = field or key
    value = item.get(key)
    if key not in item:
        raise Refusal("required", field, "is missing")
    if not isinstance(value, str):
        raise Refusal("invalid", field, "must be a string")
    if not value.strip():
        raise Refusal("invalid", field, "must not be blank")
    if "\0" in value:
        raise Refusal("invalid", field, "must not hold a NUL character")
    if len(value.encode()) > limit:
        raise Refusal("too_large", field, f"must not exceed {limit} bytes")
    return value


def check_timestamp(item: Item, key: str = "timestamp", *, field: str | None = None) -> None:
    """Unix seconds, as a whole number: no milliseconds, no ISO text."""
    if key not in item:
        return
    value = item[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("invalid", field or key, "must be a whole number of Unix seconds")
    # Some clients refuse years before 2001 as well; history that is older is history still.
    if not 0 < value < 100_000_000_000:
        raise Refusal("invalid", field or key, "must be Unix seconds, not milliseconds")


def check_identifiers(value: Any, field: str, allowed: tuple[str, ...]) -> None:
    """Exactly one identifier of an allowed type, as a string."""
    if not isinstance(value, dict):
        raise Refusal("required" if value is None else "invalid", field, "must be an object")
    if len(value) != 1 or next(iter(value)) not in allowed:
        raise Refusal("invalid", field, f"must hold exactly one of {', '.join(allowed)}")
    ((type_, _value),) = value.items()
    text = _text(
        value,
        type_,
        EMAIL_BYTES if type_ == "email" else KEY_BYTES,
        field=f"{field}.{type_}",
    )
    if type_ == "email":
        _check_email(text, f"{field}.email")
    if type_ == "phone" and not _PHONE.fullmatch(text):
        raise Refusal("invalid", f"{field}.phone", "must be in E.164 form, such as +15551234567")
    if type_ == "cio_id" and text.startswith("cio_"):
        raise Refusal("invalid", f"{field}.cio_id", "carries no prefix cio_ in JSON")


def _check_email(text: str, field: str) -> None:
    if not _EMAIL.fullmatch(text):
        raise Refusal("invalid", field, "must be an e-mail address: one @, and no blanks")


def check_attributes(values: Mapping[str, Any]) -> None:
    """The documented limits of a person's attributes."""
    if len(values) > ATTRIBUTES:
        raise Refusal("too_large", "attributes", f"must not exceed {ATTRIBUTES}")
    for name, value in values.items():
        field = f"attributes.{name[:100]}"
        if not name.strip():
            raise Refusal("invalid", "attributes", "a name must not be blank")
        if len(name.encode()) > KEY_BYTES:
            raise Refusal("too_large", field, f"a name must not exceed {KEY_BYTES} bytes")
        if name == "_update":
            if not isinstance(value, bool):
                raise Refusal("invalid", field, "must be true or false")
        elif name in {"id", "email", "anonymous_id"} and value not in (None, ""):
            text = _text(values, name, EMAIL_BYTES if name == "email" else KEY_BYTES, field=field)
            if name == "email":
                _check_email(text, field)
        elif name == "created_at" and value not in (None, ""):
            check_timestamp(values, name, field=field)
        elif name == "cio_subscription_preferences":
            if value is not None and not isinstance(value, dict):
                raise Refusal("invalid", field, "must be an object")
        elif name.startswith("cio_subscription_preferences."):
            if not isinstance(value, bool):
                raise Refusal("invalid", field, "must be true or false")
        elif isinstance(value, str | list | dict) and size(value) > VALUE_BYTES:
            raise Refusal("too_large", field, f"must not exceed {VALUE_BYTES} bytes")


def _relationships(item: Item, *, required: bool) -> None:
    value = item.get("cio_relationships")
    if "cio_relationships" not in item and not required:
        return
    if not isinstance(value, list) or not value:
        reason = "invalid" if "cio_relationships" in item else "required"
        raise Refusal(reason, "cio_relationships", "must be a list with at least one item")
    for number, entry in enumerate(value):
        field = f"cio_relationships[{number}]"
        if not isinstance(entry, dict):
            raise Refusal("invalid", field, "must be an object")
        for name in entry:
            if name not in {"identifiers", "relationship_attributes"}:
                raise Refusal("unknown", f"{field}.{name[:100]}", "is not known")
        names = entry.get("identifiers")
        wanted = ({"object_type_id", "object_id"}, {"cio_object_id"})
        if not isinstance(names, dict) or set(names) not in wanted:
            raise Refusal(
                "invalid",
                f"{field}.identifiers",
                "must hold object_type_id and object_id, or cio_object_id",
            )
        for name in names:
            _text(names, name, KEY_BYTES, field=f"{field}.identifiers.{name}")
        if not re.fullmatch("[0-9]+", names.get("object_type_id", "1")):
            raise Refusal(
                "invalid", f"{field}.identifiers.object_type_id", "must be a number as text"
            )
        if not isinstance(entry.get("relationship_attributes", {}), dict):
            raise Refusal("invalid", f"{field}.relationship_attributes", "must be an object")


def _identify(item: Item) -> None:
    _only(item, *_ENVELOPE, "attributes", "timestamp", "cio_relationships")
    check_attributes(_object(item, "attributes"))
    check_timestamp(item)
    _relationships(item, required=False)


def _event(item: Item) -> None:
    _only(item, *_ENVELOPE, "name", "id", "timestamp", "attributes")
    name = item.get("name")
    _text({**item, "name": name.strip()} if isinstance(name, str) else item, "name", NAME_BYTES)
    if "id" in item and not (isinstance(item["id"], str) and _ULID.fullmatch(item["id"])):
        raise Refusal("invalid", "id", "must be a ULID: 26 characters of Crockford's base 32")
    check_timestamp(item)
    _object(item, "attributes")


def _add_device(item: Item) -> None:
    _only(item, *_ENVELOPE, "device")
    device = _object(item, "device", required=True)
    for name in device:
        if name not in {"token", "platform", "last_used", "attributes"}:
            raise Refusal("unknown", f"device.{name[:100]}", "belongs under device.attributes")
    _text(device, "token", TOKEN_BYTES, field="device.token")
    if device.get("platform") not in ("ios", "android"):
        reason = "invalid" if "platform" in device else "required"
        raise Refusal(reason, "device.platform", "must be ios or android")
    check_timestamp(device, "last_used", field="device.last_used")
    extra = device.get("attributes", {})
    if not isinstance(extra, dict):
        raise Refusal("invalid", "device.attributes", "must be an object")
    for name, value in extra.items():
        if not isinstance(value, str):
            raise Refusal("invalid", f"device.attributes.{name[:100]}", "must be a string")


def _delete_device(item: Item) -> None:
    _only(item, *_ENVELOPE, "device")
    device = _object(item, "device", required=True)
    _text(device, "token", TOKEN_BYTES, field="device.token")


def _merge(item: Item) -> None:
    _only(item, "type", "action", "primary", "secondary")
    for side in ("primary", "secondary"):
        check_identifiers(item.get(side), side, ("id", "email", "cio_id"))


def _change_relationships(item: Item) -> None:
    _only(item, *_ENVELOPE, "cio_relationships")
    _relationships(item, required=True)


def _bare(item: Item) -> None:
    _only(item, *_ENVELOPE)


_ENVELOPE = ("type", "action", "identifiers")
_ACTIONS: dict[str, Callable[[Item], None]] = {
    "identify": _identify,
    "delete": _bare,
    "event": _event,
    "page": _event,
    "screen": _event,
    "add_relationships": _change_relationships,
    "delete_relationships": _change_relationships,
    "add_device": _add_device,
    "delete_device": _delete_device,
    "merge": _merge,
    "suppress": _bare,
    "unsuppress": _bare,
}


def check_item(item: Any, text: str, *, limit: int = ITEM_BYTES) -> None:
    """Checks one v2 operation.

    Args:
        item: The decoded JSON.
        text: The same as compact JSON text, for its size.
        limit: The most bytes it may have; v1 events may have more than a v2 item.

    Raises:
        Refusal: Customer.io would not take it, or the documents leave open what it does.
    """
    if not isinstance(item, dict):
        raise Refusal("invalid", "", "an item must be an object")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise Refusal("invalid", "", "holds half of a surrogate pair, not text") from None
    if length > limit:
        raise Refusal("too_large", "", f"an item must not exceed {limit} bytes")
    if item.get("type") != "person":
        told = "this sandbox knows person only" if "type" in item else "is missing"
        raise Refusal("invalid" if "type" in item else "required", "type", told)
    action = item.get("action")
    check = _ACTIONS.get(action) if isinstance(action, str) else None
    if check is None:
        reason = "invalid" if "action" in item else "required"
        raise Refusal(reason, "action", f"must be one of {', '.join(_ACTIONS)}")
    if action != "merge":
        check_identifiers(
            item.get("identifiers"), "identifiers", ("id", "email", "phone", "cio_id")
        )
    check(item)
