"""From what Python code holds to what JSON can say.

Errors name the place and the cure, never a value.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias
from uuid import UUID

from django.utils.functional import Promise
from django.utils.timezone import get_default_timezone

from django_customerio.exceptions import InvalidAttribute, InvalidMessage, MessageTooLarge

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"

MAX_ITEM_BYTES = 32_000
"""One operation of the Track API v2. The "32 KB" of its docs, read the careful way."""
MAX_VALUE_BYTES = 1_000
"""The value of one attribute."""

# Every value in a list or an object takes two bytes at least, itself and what separates
# it: more of them cannot fit an item. Counting stops what is huge, or contains itself,
# before it is converted.
_MAX_VALUES = MAX_ITEM_BYTES // 2
_MAX_DEPTH = 100
MAX_EXPONENT = 308
"""Of a Decimal: 1E+1000000 would take minutes to write out."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_dump = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode(value: Any) -> str:
    """JSON text of *value*, without spaces; characters are written as they are.

    Args:
        value: What ``json`` takes by itself; see :func:`to_json` for anything else.

    Raises:
        InvalidMessage: For NaN, infinity, lone surrogates, endless nesting and types
            that JSON does not have.
    """
    kind = type(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind is int:
        return int.__repr__(value)
    try:
        text = _dump(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(f"This cannot be sent: it holds {SURROGATE}") from None
    except (TypeError, ValueError, RecursionError):
        raise InvalidMessage(
            "This cannot be sent: it holds something that JSON cannot express, such as NaN, "
            "bytes or a list that contains itself. Convert it to a string, a number, a list "
            "or a dict first."
        ) from None
    return text


def size_of(text: str) -> int:
    """Bytes of *text* in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def unix_seconds(value: datetime) -> int:
    """Whole Unix seconds of *value*, rounded down.

    A naive time is one of the project's time zone, ``settings.TIME_ZONE``, whatever zone
    the current request has activated. ``fold`` tells the two readings of a repeated hour
    apart; a time that the clocks skip is read with the offset before the change.
    """
    try:
        since = value - _EPOCH
    except TypeError:
        since = value.replace(tzinfo=get_default_timezone()) - _EPOCH
    # The parts are exact where a float would round, and floor by construction.
    return since.days * 86_400 + since.seconds


def date_seconds(value: date) -> int:
    """Unix seconds of midnight UTC on *value*: Customer.io has no type for a date."""
    return (value.toordinal() - _EPOCH_DAY) * 86_400


def to_json(value: Any, *, field: str = "") -> JSONValue:
    """What JSON can say of *value*, something that Python code holds.

    ============================================= =====================================
    ``datetime``                                  Unix seconds, see :func:`unix_seconds`
    ``date``                                      Unix seconds of midnight UTC
    ``time``                                      ISO 8601 string
    ``timedelta``                                 seconds
    ``Decimal``                                   integer if it is whole, else float
    ``UUID``, IP addresses, lazy translations     string
    ``Enum``, Django's ``Choices``                its value
    ``tuple``, ``set``, ``frozenset``             list; sets in a fixed order
    dataclass, any ``Mapping``                    object
    ============================================= =====================================

    Keys of objects are strings; integers, UUIDs and Enums become strings.

    Args:
        value: The value.
        field: Where it comes from, the start of the path that errors name.

    Raises:
        InvalidAttribute: For NaN and infinity, bytes, model instances and everything
            else; its ``field`` is the path, such as ``"items[2].price"``.
        MessageTooLarge: For more values than fit a message.
    """
    try:
        return _convert(value, 0, [_MAX_VALUES])
    except _RefusedError as refusal:
        path = (field + "".join(reversed(refusal.path))).removeprefix(".") or "value"
        raise refusal.error(f'"{path}" cannot be sent: {refusal.reason}', field=path) from None


SURROGATE = (
    "half of a character (a lone surrogate). Decode the text anew, or clean it with "
    '.encode("utf-8", "replace").decode().'
)
_NOT_FINITE = "it is NaN or infinite, which JSON does not have. Leave it out, or send None."


class _RefusedError(Exception):
    def __init__(self, reason: str, error: type[InvalidMessage] = InvalidAttribute) -> None:
        self.reason = reason
        self.error = error
        self.path: list[str] = []


def _convert(value: Any, depth: int, budget: list[int]) -> JSONValue:
    # The common types by identity, in the order of their frequency.
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if kind is int or value is None or kind is bool:
        return value  # type: ignore[no-any-return]
    if kind is float:
        return _float(value)
    if kind is dict:
        return _object(value, depth, budget)
    if kind is list or kind is tuple:
        return _array(value, depth, budget)
    convert = _SIMPLE.get(kind)
    if convert is not None:
        return convert(value)
    return _convert_unusual(value, depth, budget)


def _convert_unusual(value: Any, depth: int, budget: list[int]) -> JSONValue:
    if isinstance(value, Enum):  # before str and int, which Choices are too
        return _convert(value.value, depth + 1, budget)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, Promise):
        return _text(str.__str__(str(value)))
    for base, convert in _SIMPLE.items():
        if isinstance(value, base):
            return convert(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _float(float(value))
    if isinstance(value, Mapping):
        return _object(value, depth, budget)
    if isinstance(value, set | frozenset):
        return _in_fixed_order(_array(value, depth, budget))
    if isinstance(value, list | tuple):
        return _array(value, depth, budget)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _object(fields, depth, budget)
    raise _RefusedError(
        f'JSON has nothing for the type "{type(value).__name__}". Convert it to a string, a '
        "number, a list or a dict first; of a model instance, name the fields that matter."
    )


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _RefusedError(f"it holds {SURROGATE}") from None
    return value


def _float(value: float) -> float:
    if not math.isfinite(value):
        raise _RefusedError(_NOT_FINITE)
    return float(value)


def _decimal(value: Decimal) -> int | float:
    if not value.is_finite():
        raise _RefusedError(_NOT_FINITE)
    if value.adjusted() > MAX_EXPONENT:
        raise _RefusedError("the number is too large. Send it as a string.")
    return int(value) if value == value.to_integral_value() else float(value)


def _duration(value: timedelta) -> int | float:
    return value.total_seconds() if value.microseconds else value.days * 86_400 + value.seconds


# In this order: a datetime is a date.
_SIMPLE: dict[type, Callable[[Any], JSONValue]] = {
    datetime: unix_seconds,
    date: date_seconds,
    time: time.isoformat,
    timedelta: _duration,
    Decimal: _decimal,
    UUID: str,
    IPv4Address: str,
    IPv6Address: str,
    float: _float,
}


def _array(value: Any, depth: int, budget: list[int]) -> list[JSONValue]:
    _enter(value, depth, budget)
    result = []
    for item in value:
        try:
            result.append(_convert(item, depth + 1, budget))
        except _RefusedError as refusal:
            refusal.path.append(f"[{len(result)}]")
            raise
    return result


def _object(value: Mapping[Any, Any], depth: int, budget: list[int]) -> dict[str, JSONValue]:
    _enter(value, depth, budget)
    result: dict[str, JSONValue] = {}
    for key, item in value.items():
        name = key if type(key) is str and key.isascii() else _key(key)
        try:
            result[name] = _convert(item, depth + 1, budget)
        except _RefusedError as refusal:
            refusal.path.append(f".{name}")
            raise
    if len(result) != len(value):
        raise _RefusedError("two of its keys are the same once they are strings. Rename one.")
    return result


def _enter(value: Any, depth: int, budget: list[int]) -> None:
    if depth >= _MAX_DEPTH:
        raise _RefusedError("it is nested too deeply, or contains itself. Flatten it.")
    budget[0] -= len(value)
    if budget[0] < 0:
        raise _RefusedError(
            f"it holds more values than fit the {MAX_ITEM_BYTES:,} bytes of a message. "
            "Send less, or a reference to it.",
            MessageTooLarge,
        )


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _text(str.__str__(key))
    if isinstance(key, UUID):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool) and key.bit_length() < 1_000:
        return int.__repr__(key)
    raise _RefusedError(
        f'it has a key of the type "{type(key).__name__}"; keys of JSON objects are strings. '
        "Convert the key."
    )


def _in_fixed_order(items: list[JSONValue]) -> list[JSONValue]:
    # A set iterates differently in each process; what did not change must look unchanged.
    try:
        return sorted(items)  # type: ignore[type-var]
    except TypeError:
        return sorted(items, key=encode)
