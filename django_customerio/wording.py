"""Values in the words a person would read."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.db.models.manager import BaseManager
from django.utils.duration import duration_iso_string

from django_customerio.conversion import MAX_EXPONENT, encode


def to_text(value: Any) -> str | None:
    """*value* as a string, or None for what has no words, such as a list or bytes."""
    if isinstance(value, Enum):
        return to_text(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return encode(int(value))
    if isinstance(value, float):
        return encode(float(value)) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT:
            return None
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    if isinstance(value, FieldFile):
        return _of_file(value)
    # Whose class does not say how, has no words; nor does str() of these mean anything.
    if type(value).__str__ is _UNTOLD or isinstance(value, _WORDLESS):
        return None
    if hasattr(value, "resolve_expression"):
        return None
    return str.__str__(str(value))


_WORDLESS = (bytes, bytearray, type, Model, BaseManager)
_UNTOLD: Any = object.__str__


def _of_file(file: FieldFile) -> str:
    if not file:
        return ""
    try:
        url = file.url
    except Exception:  # storages without addresses raise what they like
        url = ""
    name: str = file.name or ""
    return url if url and "?" not in url else name
