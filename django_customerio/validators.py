"""What each key of ``CUSTOMERIO`` accepts.

A validator takes the value and the setting's full path and returns the typed value, or
raises ``ImproperlyConfigured`` that names the path, what is accepted and the cure. None
repeats a value, which may be a secret.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

Validator = Callable[[object, str], object]

REGIONS = ("us", "eu")
QUEUES = ("outbox", "memory")
SENDERS = ("thread", "command", "celery", "tasks", "immediate")


def listing(names: Iterable[str]) -> str:
    """``"a", "b"``: names as a message shows them."""
    return ", ".join(f'"{name}"' for name in names)


def suggest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` where a known name is close, else nothing."""
    spellings = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), spellings, n=1)
    return f' (did you mean "{spellings[close[0]]}"?)' if close else ""


def is_alias(name: object) -> bool:
    """Whether ``name`` can be a workspace's alias: 1 to 64 identifier characters, ASCII."""
    return isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name))


def text(value: object, where: str, cure: str) -> str:
    """A ``str``; a lazy one is evaluated."""
    if isinstance(value, Promise):
        value = str(value)
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"{where} must be a str, not {type(value).__name__}. {cure}")
    return value


def credential(value: object, where: str) -> str:
    """A key of Customer.io. None and "" stand for "not known"."""
    if value is None:  # os.environ.get() of what is not there
        return ""
    found = text(value, where, "Copy it from Customer.io's workspace settings.")
    if found != found.strip():
        raise ImproperlyConfigured(
            f"{where} has white space around it. Remove it; a trailing line break often comes "
            "from reading a file."
        )
    # Keys travel in headers, and requests quotes an unfit header in its error.
    if not re.fullmatch(r"[\x21-\x7e\xa1-\xff]*", found):
        raise ImproperlyConfigured(
            f"{where} has a character that no key of Customer.io holds: a space, a control "
            "character or one outside of Latin-1. Copy it again from Customer.io's workspace "
            "settings."
        )
    return found


def site_id(value: object, where: str) -> str:
    """A credential that can be the user name of Basic authentication."""
    found = credential(value, where)
    if ":" in found:
        raise ImproperlyConfigured(
            f"{where} holds a colon. Give the site id alone; the API key has a setting of its own."
        )
    return found


def url(value: object, where: str) -> str:
    """A base address without trailing slash; None and "" stand for the region's own."""
    if value is None:
        return ""
    cure = 'Give a base address such as "https://track.customer.io", or None for the region\'s.'
    found = text(value, where, cure).rstrip("/")
    if not found:
        return ""
    try:
        parts = urlsplit(found)
        port = parts.port
    except ValueError:  # its text can quote the address
        raise ImproperlyConfigured(f"{where} is not a valid address. {cure}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        problem = "must be an http:// or https:// address with a host"
    elif re.search(r"[^\x21-\x7e]|\\", found):
        problem = "holds white space or a character that must be percent-encoded"
    elif "@" in parts.netloc:
        problem = "must not hold credentials, which have settings of their own"
    elif "?" in found or "#" in found:
        problem = "must not hold a query or a fragment"
    elif re.search(r"/v\d+$", parts.path):
        problem = "must end before the version: leave out /api/v1, /api/v2 or /v1"
    else:
        return found
    raise ImproperlyConfigured(f"{where} {problem}. {cure}")


def choice(accepted: tuple[str, ...], *, dotted: str = "") -> Validator:
    """One of ``accepted``, or, where ``dotted`` says to what, a dotted path."""

    def validate(value: object, where: str) -> str:
        cure = f"Accepted: {listing(accepted)}{f' or {dotted}' if dotted else ''}."
        found = text(value, where, cure)
        if found in accepted or (dotted and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", found)):
            return found
        raise ImproperlyConfigured(
            f"{where} has an unknown value{suggest(found, accepted)}. {cure}"
        )

    return validate


def boolean(value: object, where: str) -> bool:
    """True or False, and nothing that is merely true-ish."""
    if not isinstance(value, bool):
        raise ImproperlyConfigured(
            f"{where} must be True or False, not {type(value).__name__}. A str such as "
            '"False" would count as true.'
        )
    return value


def number(low: float, high: float, unit: str, *, whole: bool = False) -> Validator:
    """A number from ``low`` to ``high``; ``whole`` for an int."""
    kind = "a whole number" if whole else "a number"

    def validate(value: object, where: str) -> float:
        cure = f"Give {kind} of {unit} from {low:g} to {high:g}."
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ImproperlyConfigured(
                f"{where} must be {kind}, not {type(value).__name__}. {cure}"
            )
        if not math.isfinite(value) or not low <= value <= high:
            raise ImproperlyConfigured(f"{where} is out of range. {cure}")
        return value if whole else float(value)

    return validate


def keep_sent(value: object, where: str) -> timedelta | None:
    """How long the ledger is kept: a positive timedelta, or None."""
    cure = "Give timedelta(days=30), or None to keep no ledger."
    if value is not None and not isinstance(value, timedelta):
        raise ImproperlyConfigured(
            f"{where} must be a timedelta or None, not {type(value).__name__}. {cure}"
        )
    if value is not None and value <= timedelta(0):
        raise ImproperlyConfigured(f"{where} must be longer than nothing. {cure}")
    return value


def databases(value: object, where: str) -> tuple[str, ...] | None:
    """Aliases of databases; None for every one on which the router allows the outbox."""
    cure = 'Give aliases of DATABASES such as ["default"], or None for all that have an outbox.'
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise ImproperlyConfigured(f"{where} must be a list or tuple of str, or None. {cure}")
    if not value or len(set(value)) < len(value):
        raise ImproperlyConfigured(f"{where} must name one or more aliases, each once. {cure}")
    return tuple(value)


def release(value: object, where: str) -> str:
    """A short name of what is deployed; None and "" for none."""
    cure = 'Give a short version such as "2026.11.1".'
    found = "" if value is None else text(value, where, cure)
    if len(found) > 64 or not found.isprintable():
        raise ImproperlyConfigured(f"{where} must be 64 printable characters or fewer. {cure}")
    return found


CONNECTION: Mapping[str, Validator] = MappingProxyType(
    {
        "SITE_ID": site_id,
        "API_KEY": credential,
        "APP_API_KEY": credential,
        "REGION": choice(REGIONS),
        "TRACK_URL": url,
        "APP_URL": url,
    }
)
"""Keys of one workspace."""

GLOBAL: Mapping[str, Validator] = MappingProxyType(
    {
        "ENABLED": boolean,
        "QUEUE": choice(QUEUES),
        "MEMORY_SIZE": number(1, 100_000, "messages", whole=True),
        "MEMORY_SECONDS": number(0.01, 300, "seconds"),
        "MEMORY_LIMIT": number(1, 1_000_000, "messages", whole=True),
        "SENDER": choice(SENDERS, dotted="the dotted path to a Sender class"),
        "KEEP_SENT": keep_sent,
        "DATABASES": databases,
        "RELEASE": release,
        "TIMEOUT": number(0.1, 300, "seconds"),
        "RETRIES": number(0, 20, "attempts after the first", whole=True),
        "RETRY_BASE": number(0, 300, "seconds"),
        "RETRY_CAP": number(0, 300, "seconds"),
        "LEASE": number(5, 600, "seconds"),
    }
)
"""Keys that hold for all workspaces."""
