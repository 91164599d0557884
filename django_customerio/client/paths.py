"""Values as one segment of a path, whatever characters they hold."""

from __future__ import annotations

from urllib.parse import quote

from django_customerio.exceptions import InvalidMessage
from django_customerio.messages import Identifiers


def segment(value: object, *, field: str) -> str:
    """*value* as a path segment, with everything encoded that could mean something there.

    Raises:
        InvalidMessage: It is blank, holds a NUL, or is ``.`` or ``..``, which servers and
            proxies take for a step to another path.
    """
    text = str(value)
    if not text.strip() or "\0" in text:
        raise InvalidMessage(f"{field} must be neither blank nor hold a NUL.", field=field)
    if text in (".", ".."):
        raise InvalidMessage(
            f"{field} must not be one or two dots: no path can name that.", field=field
        )
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidMessage(f"{field} holds half of a surrogate pair.", field=field) from None


def person_segment(person: object) -> str:
    """A person as a segment of a path of the Track API v1.

    The server tells an id from an e-mail address and from ``cio_…`` by its looks.

    Raises:
        InvalidMessage: The person is named by something that cannot stand in a path.
    """
    who = Identifiers.parse(person)
    if who.type == "cio_id":
        return segment(f"cio_{who.value}", field="cio_id")
    if who.type in ("id", "email"):
        return segment(who.value, field=who.type)
    raise InvalidMessage(
        f"A person cannot be named by {who.type} in a v1 call: use id, email or cio_id, or"
        " send() with a message.",
        field=who.type,
    )
