"""What all messages have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django_customerio.conversion import MAX_ITEM_BYTES, encode, size_of
from django_customerio.exceptions import MessageTooLarge
from django_customerio.identifiers import Identifiers
from django_customerio.limits import check_person

complete = object.__setattr__
"""How a frozen value is completed while it is made."""


class Message:
    """Something to say about a person; see the subclasses."""

    __slots__ = ()
    kind: ClassVar[str]
    """One of ``OutboxMessage.Kind``."""
    name: str = ""
    """Of the event, page or screen."""

    if TYPE_CHECKING:
        # Most of them have a field of this name, to which a property would be the default.
        @property
        def person(self) -> Identifiers | None:
            """Whom it is about; None for an invitation."""

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes of the person that it sets."""
        return ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON object, as documented."""
        raise NotImplementedError

    def as_json(self) -> str:
        """The JSON text, compact.

        Raises:
            MessageTooLarge: If it has more than 32,000 bytes.
        """
        text = encode(self.as_dict())
        # No character has more than four bytes.
        if len(text) * 4 > MAX_ITEM_BYTES and (size := size_of(text)) > MAX_ITEM_BYTES:
            raise MessageTooLarge(
                f"This {self.kind.replace('_', ' ')} message has {size:,} bytes; Customer.io "
                f"takes {MAX_ITEM_BYTES:,}. Send less, or a reference to it."
            )
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutPerson(Message):
    action: ClassVar[str]

    person: Identifiers

    def __post_init__(self) -> None:
        complete(self, "person", check_person(self.person))

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "person",
            "action": self.action,
            "identifiers": self.person.as_dict(),
        }
