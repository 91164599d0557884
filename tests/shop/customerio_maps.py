"""Maps of models that carry no mixin."""

from __future__ import annotations

from django_customerio import attributes as attrs
from django_customerio.mapping import PersonMap, register

from .models import Person, Visitor


@register(Visitor)
class VisitorMap(PersonMap):
    attributes = ["email", attrs.String("town", source="city")]


@register(Person)
class PersonOfNameMap(PersonMap):
    attributes = ["name"]
