"""The settings as environment variables, read by django-environ.

Each key of ``CUSTOMERIO`` has a variable: ``CUSTOMERIO_SITE_ID`` and so on, for the one
workspace "default". Or one line says it all::

    CUSTOMERIO_URL=customerio://SITE:KEY@eu?app_key=APPKEY&sender=command

with site id, API key, region and then any other key in lower case. Every part is
percent-decoded, and a plus sign stays one. A single variable wins over the line, save that
site id and API key go together: setting one alone beside a line with both is refused.
An empty variable counts as absent.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from .validators import CONNECTION, GLOBAL, listing, suggest

PREFIX = "CUSTOMERIO_"
LINE = "CUSTOMERIO_URL"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class Variable(NamedTuple):
    """A value of the setting's type, and where it was read, for messages."""

    place: str
    value: object


def read() -> dict[str, Variable]:
    """What the environment sets, by key of ``CUSTOMERIO``.

    Raises:
        ImproperlyConfigured: a variable cannot be read as its type, or ``CUSTOMERIO_URL``
            cannot be taken apart.
    """
    env = environ.Env()
    single = {
        key: value for key in (*CONNECTION, *GLOBAL) if (value := env(PREFIX + key, default=""))
    }
    texts = _take_apart(env(LINE, default=""))
    pair = {"SITE_ID", "API_KEY"}
    if pair <= texts.keys() and len(pair & single.keys()) == 1:
        (one,) = pair & single.keys()
        raise ImproperlyConfigured(
            f"{PREFIX}{one} is set beside {LINE}, which holds both a site id and an API key. "
            "Keys of two places do not fit together: set both variables, or only the line."
        )
    found = {}
    for key, text in (texts | single).items():
        place = PREFIX + key if key in single else f"{LINE} ({key.lower()})"
        found[key] = Variable(place, CASTS[key](text, place) if key in CASTS else text)
    return found


def is_of_the_line(variable: str) -> bool:
    """Whether a value comes from ``CUSTOMERIO_URL``, not from this variable of its own."""
    return not os.environ.get(variable)


def misspelt() -> dict[str, str]:
    """Variables that nothing reads but that look like one that is, with the one meant.

    A name that ends like one of ours, such as ``CUSTOMERIO_CDP_API_KEY``, is somebody's own.
    """
    known = ["URL", *CONNECTION, *GLOBAL]
    found = {}
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known or name.endswith(tuple(f"_{each}" for each in known)):
            continue
        if close := difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75):
            found[variable] = PREFIX + close[0]
    return found


def _take_apart(line: str) -> dict[str, str]:
    """The parts of ``CUSTOMERIO_URL`` by key of ``CUSTOMERIO``, decoded."""
    if not line:
        return {}
    form = "Write customerio://SITE_ID:API_KEY@REGION?key=value, each part percent-encoded."
    try:
        parts = urlsplit(line)
        user, password, region = parts.username, parts.password, parts.hostname
    except ValueError:  # its text can quote the line
        raise ImproperlyConfigured(f"{LINE} cannot be taken apart. {form}") from None
    if parts.scheme != "customerio":
        problem = "must begin with customerio://"
    elif re.search(r"%(?![0-9A-Fa-f]{2})", line):
        problem = "has a percent sign that encodes nothing; write it as %25"
    elif parts.path not in ("", "/") or parts.fragment or ":" in parts.netloc.rpartition("@")[2]:
        problem = "has a path, a port or a fragment, which mean nothing here"
    else:
        problem = ""
    if problem:
        raise ImproperlyConfigured(f"{LINE} {problem}. {form}")
    named = {"SITE_ID": user, "API_KEY": password, "REGION": region}
    found = {key: _decode(value) for key, value in named.items() if value}
    for item in filter(None, parts.query.split("&")):
        name, _, value = item.partition("=")
        key = {"app_key": "APP_API_KEY"}.get(name, name.upper())
        if name != name.lower() or key in named or key not in {*CONNECTION, *GLOBAL}:
            accepted = ["app_key", *(key.lower() for key in (*CONNECTION, *GLOBAL))]
            accepted = [each for each in accepted if each.upper() not in named]
            raise ImproperlyConfigured(
                f'{LINE} has an unknown key "{_decode(name)}" in its query'
                f"{suggest(name, accepted)}. Accepted: {listing(accepted)}."
            )
        if key in found:
            raise ImproperlyConfigured(f'{LINE} names "{name}" twice. Keep one.')
        found[key] = _decode(value)
    return found


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:  # holds the text
        raise ImproperlyConfigured(
            f"{LINE} has percent-encoded bytes that are not UTF-8. Encode its parts as UTF-8."
        ) from None


def _boolean(text: str, where: str) -> bool:
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ImproperlyConfigured(
        f"{where} is neither true nor false. Accepted: {listing((*_TRUE, *_FALSE))}."
    )


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{where} is not a number. Write seconds such as 10.") from None


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{where} is not a whole number. Write such as 3.") from None


def _days(text: str, where: str) -> timedelta | None:
    if text.strip().lower() == "none":
        return None
    try:
        return timedelta(days=float(text))
    except (ValueError, OverflowError):
        raise ImproperlyConfigured(
            f'{where} is no number of days. Write days such as 30, or "none".'
        ) from None


def _aliases(text: str, where: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(","))


CASTS: Mapping[str, Callable[[str, str], object]] = MappingProxyType(
    {
        "ENABLED": _boolean,
        "MEMORY_SIZE": _whole,
        "MEMORY_SECONDS": _number,
        "MEMORY_LIMIT": _whole,
        "KEEP_SENT": _days,
        "DATABASES": _aliases,
        "TIMEOUT": _number,
        "RETRIES": _whole,
        "RETRY_BASE": _number,
        "RETRY_CAP": _number,
        "LEASE": _number,
    }
)
"""How the text of a variable becomes the setting's type; the others are text."""
