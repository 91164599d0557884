"""What there is to say about a person: a reading, compared with what was last accepted."""

from __future__ import annotations

from dataclasses import dataclass

from .conversion import MAX_ITEM_BYTES, MAX_VALUE_BYTES, encode
from .exceptions import InvalidMessage
from .fingerprints import DOUBT, Hasher, Hashes
from .mapping import PersonMap, Reading


@dataclass(slots=True, kw_only=True)
class State:
    """What there is to say about a person, compared with what was last accepted."""

    text: str | None
    """The JSON of the identify, None when there is nothing new."""
    changed: list[str]
    hashes: Hashes
    errors: dict[str, InvalidMessage]
    withheld: list[str]
    """Attributes that Customer.io owns and the site did not change."""


def render_state(
    person_map: PersonMap, reading: Reading, known: Hashes | None, hasher: Hasher
) -> State:
    """Render the identify of a reading, with only those attributes that differ.

    Args:
        known: hashes of what was last accepted; None for somebody never told.
    """
    errors: dict[str, InvalidMessage] = dict(reading.errors)
    in_doubt = known is not None and DOUBT in known
    # What this reading cannot say stays known: of an attribute that cannot be rendered, or one
    # that another map tells of the same person.
    hashes: Hashes = {name: it for name, it in (known or {}).items() if name != DOUBT}
    parts: list[str] = []
    changed: list[str] = []
    withheld: list[str] = []
    elsewhere = reading.owners_elsewhere
    for name, value in reading.attributes.items():
        try:
            text = encode(value)
        except InvalidMessage as error:
            errors[name] = error
            continue
        if len(text) > MAX_VALUE_BYTES // 4 and _size(value, text) > MAX_VALUE_BYTES:
            errors[name] = InvalidMessage(
                f"{name} is longer than {MAX_VALUE_BYTES} bytes, the most Customer.io keeps of an "
                f"attribute: shorten its source.",
                field=name,
            )
            continue
        hashes[name] = digest = hasher(text)
        before = known.get(name) if known else None
        if digest == before and (name in elsewhere or not in_doubt):
            continue
        if name in elsewhere:
            # Two-way: the first look is only remembered. Only a later change of the site's
            # own is told, and never one that opts somebody in again.
            if before is None or not _is_opt_out(name, value):
                withheld.append(name)
                continue
        elif before is None and value is None and not in_doubt:
            # Nothing was told, so there is nothing to take back.
            continue
        changed.append(name)
        parts.append(f"{encode(name)}:{text}")
    rendered: str | None = None
    if changed or in_doubt or known is None:
        if person_map.update_only:
            parts.append('"_update":true')
        rendered = (
            f'{{"type":"person","action":"identify","identifiers":'
            f"{encode(reading.person.as_dict())},"
            f'"attributes":{{{",".join(parts)}}},"timestamp":{reading.at // 1000}}}'
        )
        if len(rendered.encode()) > MAX_ITEM_BYTES:
            raise InvalidMessage(
                f"The attributes of {person_map.label} come to more than {MAX_ITEM_BYTES} bytes, "
                f"the most Customer.io takes of one person: map fewer, or shorter ones.",
                field="attributes",
            )
    return State(text=rendered, changed=changed, hashes=hashes, errors=errors, withheld=withheld)


def _size(value: object, text: str) -> int:
    """Bytes of a value as Customer.io counts them: a string without its quotes."""
    return len((value if isinstance(value, str) else text).encode())


def _is_opt_out(name: str, value: object) -> bool:
    if name == "unsubscribed":
        return value is True
    if name.startswith("cio_subscription_preferences"):
        return value is False
    return True
