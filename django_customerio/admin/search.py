"""Exact search: a person, a ULID, an event's name or the row of a model."""

from __future__ import annotations

from django.db.models import Q

from django_customerio.ids import is_ulid

_TYPES = ("id", "email", "phone", "cio_id", "anonymous_id")


def person_keys(term: str) -> tuple[str, ...]:
    """List the keys of the people that a search term may mean.

    ``"id:42"`` means that person, ``"42"`` whoever bears it as an id, e-mail address, phone
    number or Customer.io's own id. An id may itself look like ``"id:42"``.
    """
    term = term.strip()
    keys = [f"{kind}:{term.lower() if kind == 'email' else term}" for kind in _TYPES]
    kind, colon, value = term.partition(":")
    if colon and kind in _TYPES:
        value = value.strip()
        keys.insert(0, f"{kind}:{value.lower() if kind == 'email' else value}")
    return tuple(keys)


def outbox_query(term: str) -> Q:
    """Find messages of the outbox by exactly this term."""
    term = term.strip()
    query = Q(person__in=person_keys(term)) | Q(name=term) | Q(object_pk=term)
    if is_ulid(term.upper()):
        query |= Q(ulid=term.upper())
    return query


def ledger_query(term: str) -> Q:
    """Find what was sent to a person; by the index, for the ledger may be long."""
    return Q(person__in=person_keys(term))
