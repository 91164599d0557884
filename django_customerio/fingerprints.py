"""What was last accepted about a person, attribute by attribute, without the values.

A hash is keyed, so that a copy of the table tells nothing, and short, so that it stays
small. The key comes from ``SECRET_KEY`` and the seal names key and site: after a change of
either, no hash counts, and the next look tells everything again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import lru_cache

from django.conf import settings
from django.db import connections

from .models import Fingerprint

Hashes = dict[str, str]

DOUBT = ""
"""Stands among the names when Customer.io may hold something else: a request whose answer was
lost may have been applied. Then the next look tells everything again."""


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), person=b"cio fingerprint", digest_size=32).digest()


def seal(site: str) -> str:
    """Name the key of the hashes together with the site they were told to."""
    return hashlib.blake2b(
        site.encode(), key=_key(settings.SECRET_KEY), person=b"cio seal", digest_size=8
    ).hexdigest()


class Hasher:
    """Hashes the JSON text of attributes with the site's own key."""

    def __init__(self) -> None:
        # Copying costs half of keying anew.
        self._begun = hashlib.blake2b(key=_key(settings.SECRET_KEY), digest_size=6)

    def __call__(self, text: str) -> str:
        begun = self._begun.copy()
        begun.update(text.encode())
        return begun.hexdigest()


def load(people: Collection[str], *, using: str, workspace: str, seal: str) -> dict[str, Hashes]:
    """Read what is known of these people, in one statement. The unknown are left out.

    Of somebody under another seal only that much is known: that they were told of.
    """
    if not people:
        return {}
    rows = Fingerprint.objects.using(using).filter(workspace=workspace, person__in=list(people))
    return {
        person: json.loads(text) if sealed == seal else {DOUBT: ""}
        for person, sealed, text in rows.values_list("person", "seal", "hashes")
    }


def store(known: Mapping[str, Hashes], *, using: str, workspace: str, seal: str) -> None:
    """Write what is known of these people from now on, in one statement."""
    if not known:
        return
    # In one order everywhere, so that two workers cannot deadlock.
    texts = {person: _encode(hashes) for person, hashes in sorted(known.items())}
    connection = connections[using]
    if connection.vendor == "postgresql":
        # One JSON parameter: arrays of texts that are full of quotes are escaped one by one,
        # which takes longer than all the rest of a batch.
        with connection.cursor() as cursor:
            cursor.execute(_store(using), [workspace, seal, _encode(texts)])
        return
    features = connection.features
    Fingerprint.objects.using(using).bulk_create(
        [
            Fingerprint(workspace=workspace, person=person, seal=seal, hashes=text)
            for person, text in texts.items()
        ],
        update_conflicts=True,
        update_fields=["seal", "hashes"],
        unique_fields=(
            ["workspace", "person"] if features.supports_update_conflicts_with_target else None
        ),
    )


_encode = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=8)
def _store(using: str) -> str:
    table = connections[using].ops.quote_name(Fingerprint._meta.db_table)
    return (
        f"INSERT INTO {table} (workspace, person, seal, hashes)"
        f" SELECT %s, key, %s, value FROM json_each_text(%s::json)"
        f" ON CONFLICT (workspace, person) DO UPDATE"
        f" SET seal = EXCLUDED.seal, hashes = EXCLUDED.hashes"
    )


def forget(people: Collection[str], *, using: str, workspace: str) -> None:
    """Know nothing of these people any more."""
    Fingerprint.objects.using(using).filter(workspace=workspace, person__in=list(people)).delete()
