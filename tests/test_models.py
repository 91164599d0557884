"""The tables."""

from __future__ import annotations

from django.apps import apps
from django.db import connection, models

from django_customerio.models import (
    BytewiseCharField,
    BytewiseTextField,
    Fingerprint,
    Lane,
    OutboxMessage,
    SentMessage,
    Tombstone,
    WorkspaceStatus,
)

ASCII = {"ulid", "site", "kind", "state", "token", "seal", "hashes", "paused_key"}
"""Columns that hold nothing but our own words and figures."""


def test_words_of_others_fit_in_any_database() -> None:
    """Also where the database's own character set is an old one: the columns name theirs."""
    fields = [
        field
        for model in apps.get_app_config("django_customerio").get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.CharField | models.TextField)
    ]
    for field in fields:
        bytewise = isinstance(field, BytewiseCharField | BytewiseTextField)
        assert bytewise is (field.name not in ASCII), field
        if bytewise and connection.vendor == "mysql":
            assert "CHARACTER SET utf8mb4" in str(field.db_type(connection))
            assert field.db_parameters(connection)["collation"].endswith("_bin")


def test_each_row_has_a_name_without_values() -> None:
    """As the admin, a shell and a log show it."""
    person = {"workspace": "default", "person": "id:secret"}
    rows = {
        "event 01": OutboxMessage(kind="event", ulid="01", **person),
        "identify 02": SentMessage(kind="identify", ulid="02", **person),
        "default 3": Lane(workspace="default", number=3),
        "default 4": Fingerprint(pk=4, **person),
        "default 5": Tombstone(message_id=5, **person),
        "default": WorkspaceStatus(workspace="default"),
    }
    assert {name: str(row) for name, row in rows.items()} == {name: name for name in rows}
