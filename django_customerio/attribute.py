"""The base of typed attributes: a name, a source, and how a value gets from there to JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from traceback import walk_tb
from typing import Any, Literal, NoReturn, TypeAlias

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error as DatabaseError
from django.db.models import Field, Model

from django_customerio.conversion import (
    MAX_VALUE_BYTES,
    JSONValue,
    to_json,
)
from django_customerio.exceptions import InvalidAttribute, MessageTooLarge
from django_customerio.limits import (
    check_attribute_name,
    check_attribute_value,
    check_created_at,
)
from django_customerio.paths import UnreadableError, resolve

Source: TypeAlias = str | Callable[[Any], Any] | None
Owner: TypeAlias = Literal["django", "customerio"]


class Attribute:
    """An attribute of any JSON value; see the subclasses for those of one type.

    Args:
        name: What Customer.io calls it, up to 150 bytes.
        source: A field of the model, a path over relations (``"plan__name"`` or
            ``"plan.name"``), a method or a property, or a function of the instance. The
            name by default.
        owner: ``"customerio"`` for what is changed over there too, consent above all: it
            is no part of a first identify or a sync.
        depends_on: Names of fields and relations whose change can change the value, where
            the source does not tell.

    Raises:
        ImproperlyConfigured: If one of these cannot be.
    """

    expects = "anything JSON can say"
    """What :meth:`clean` takes, in the words of an error."""

    def __init__(
        self,
        name: str,
        *,
        source: Source = None,
        owner: Owner = "django",
        depends_on: Iterable[str] = (),
    ) -> None:
        try:
            self.name = check_attribute_name(name)
        except InvalidAttribute as error:
            raise ImproperlyConfigured(str(error)) from None
        if not (source is None or callable(source) or (isinstance(source, str) and source)):
            raise ImproperlyConfigured(
                f'The source of the attribute "{name}" must be the name of a field, method or '
                "property, a path over relations, or a function of the instance."
            )
        if owner not in ("django", "customerio"):
            raise ImproperlyConfigured(
                f'The owner of the attribute "{name}" must be "django" or "customerio".'
            )
        if isinstance(depends_on, str):
            raise ImproperlyConfigured(
                f'The depends_on of the attribute "{name}" must be a list of names.'
            )
        self.source = source
        self.owner = owner
        self.depends_on = tuple(depends_on)
        self._readers: dict[type, tuple[Callable[[Any], Any], Field[Any, Any] | None]] = {}

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self.name}">'

    def clean(self, value: Any) -> JSONValue:
        """*value* as JSON; None stays None.

        Raises:
            InvalidAttribute: If it is not what this type takes, or more than 1,000 bytes.
                The text does not repeat it.
        """
        return self.checked(value)

    def value_from(self, instance: Model) -> JSONValue:
        """What the source gives for *instance*, cleaned.

        None where a related object is missing. A value that is not yet what its field
        makes of it, such as a date that is still a string, is converted by the field.

        Raises:
            InvalidAttribute: As by :meth:`clean`, and if the source itself raised.
            django.db.Error: If the database did.
        """
        model = type(instance)
        reader = self._readers.get(model)
        if reader is None:
            reader = self._readers[model] = resolve(model, self.source or self.name)
        get, field = reader
        try:
            value = get(instance)
            if value is None:
                return None
            if field is not None and not hasattr(value, "resolve_expression"):
                value = field.to_python(value)
            return self.clean(value)
        except (InvalidAttribute, DatabaseError):
            raise
        except UnreadableError as error:
            reason = str(error)
        except ValidationError:
            reason = "its field does not take the value"
        except Exception as error:  # the source is the site's code
            reason = f"its source raised {type(error).__name__} in {_place(error)}"
        # Out here, the error that may quote a value is no context of this one.
        raise InvalidAttribute(
            f'The attribute "{self.name}" could not be read: {reason}.', field=self.name
        )

    def checked(self, value: Any) -> JSONValue:
        """*value* as JSON, converted and within the limits."""
        try:
            result = to_json(value, field=self.name)
        except MessageTooLarge:
            self.refuse("is too large", f"{MAX_VALUE_BYTES:,} bytes are accepted")
        return check_created_at(check_attribute_value(result, self.name), self.name)

    def mismatch(self, value: Any) -> NoReturn:
        """Raise the error for a *value* of the wrong type."""
        if hasattr(value, "resolve_expression"):
            self.refuse(
                "is still a database expression", "Read the row again, or name another source"
            )
        self.refuse(
            f'must be {self.expects}, and is of the type "{type(value).__name__}"',
            "Convert it in the source, or choose another type of attribute",
        )

    def refuse(self, problem: str, cure: str) -> NoReturn:
        """Raise ``InvalidAttribute``; neither text may quote the value."""
        raise InvalidAttribute(f'The attribute "{self.name}" {problem}. {cure}.', field=self.name)


def _place(error: Exception) -> str:
    """``Customer.ltv, line 42``: where *error* came from, without what it says."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{frame.f_code.co_qualname}, line {line}"
