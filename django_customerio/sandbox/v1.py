"""Track API v1, put into the shape of v2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .models import encode
from .operations import Operation
from .rules import KEY_BYTES, Refusal, check_item

EVENT_BYTES = 101_000  # 100,000 of data, and the rest
IDENTIFY_BYTES = 320_000  # what 300 attributes may have
DATA_BYTES = 100_000
_RENAMED = {"data": "attributes"}


def identifiers_of(segment: str) -> dict[str, str]:
    """What Customer.io takes a path segment for, going by its looks.

    Raises:
        Refusal: It is blank or too long.
    """
    if not segment.strip() or "\0" in segment:
        raise Refusal("invalid", "identifier", "must not be blank")
    if len(segment.encode()) > KEY_BYTES:
        raise Refusal("too_large", "identifier", f"must not exceed {KEY_BYTES} bytes")
    if segment.startswith("cio_"):
        return {"cio_id": segment.removeprefix("cio_")}
    if re.fullmatch(r"[^\s@/]+@[^\s@/]+\.[^\s@/]+", segment):
        return {"email": segment}
    return {"id": segment}


def operation(action: str, segment: str, **more: Any) -> Operation:
    """A checked operation about the person of a path segment.

    Raises:
        Refusal: Customer.io would not take it.
    """
    limit = IDENTIFY_BYTES if action == "identify" else EVENT_BYTES
    item = {"type": "person", "action": action, "identifiers": identifiers_of(segment), **more}
    return checked(item, limit)


def checked(item: dict[str, Any], limit: int = EVENT_BYTES) -> Operation:
    """An operation, if it holds to the rules."""
    text = encode(item)
    check_item(item, text, limit=limit)
    return Operation(item, text)


def identify(segment: str, body: Mapping[str, Any]) -> Operation:
    """PUT /customers/{identifier}: a flat map of attributes with some special keys."""
    attributes = dict(body)
    more: dict[str, Any] = {}
    if "_timestamp" in attributes:
        more["timestamp"] = attributes.pop("_timestamp")
    if "cio_relationships" in attributes:
        change = attributes.pop("cio_relationships")
        if not isinstance(change, dict) or change.get("action") not in (
            "add_relationships",
            "delete_relationships",
        ):
            raise Refusal(
                "invalid",
                "cio_relationships",
                "must be an object with action and relationships; only v2 takes a list",
            )
        if change["action"] == "add_relationships":
            more["cio_relationships"] = change.get("relationships")
    return operation("identify", segment, attributes=attributes, **more)


def event(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The action of an event's body, and the fields of v2.

    Raises:
        Refusal: A field is not known, or wrong.
    """
    action = body.get("type", "event")
    if action not in ("event", "page", "screen"):
        raise Refusal("invalid", "type", "must be event, page or screen")
    for name in body:
        if name not in ("name", "type", "id", "timestamp", "data", "anonymous_id"):
            raise Refusal("unknown", str(name)[:100], "belongs into data")
    if len(encode(body.get("data", {})).encode(errors="replace")) > DATA_BYTES:
        raise Refusal("too_large", "data", f"must not exceed {DATA_BYTES} bytes")
    known = ("name", "id", "timestamp", "data")
    return action, {_RENAMED.get(name, name): body[name] for name in known if name in body}


def anonymous_event(body: Mapping[str, Any]) -> tuple[Operation, str]:
    """POST /events: an operation with a stand-in for the person, and the anonymous id."""
    action, fields = event(body)
    anonymous_id = body.get("anonymous_id", "")
    if "anonymous_id" in body and not (isinstance(anonymous_id, str) and anonymous_id.strip()):
        raise Refusal("invalid", "anonymous_id", "must be text; leave it out for an invitation")
    if len(str(anonymous_id).encode(errors="replace")) > KEY_BYTES or "\0" in str(anonymous_id):
        raise Refusal("invalid", "anonymous_id", f"must not exceed {KEY_BYTES} bytes")
    if "anonymous_id" not in body and not (body.get("data") or {}).get("recipient"):
        raise Refusal("required", "anonymous_id", "is missing, and so is data.recipient")
    found = checked({"type": "person", "action": action, "identifiers": {"id": "-"}, **fields})
    return Operation(found.item, encode(dict(body))), anonymous_id


def device(body: Mapping[str, Any]) -> dict[str, Any]:
    """PUT …/devices: what v1 calls ``id`` is v2's ``token``."""
    given = body.get("device")
    if not isinstance(given, dict):
        raise Refusal("required", "device", "must be an object")
    if "token" in given:
        raise Refusal("unknown", "device.token", "in v1 this is called id")
    return {"token" if name == "id" else name: value for name, value in given.items()}
