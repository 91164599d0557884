"""The tables."""

from __future__ import annotations

from django.apps import apps
from django.db import connection, models

from django_customerio.models import BytewiseCharField, BytewiseTextField

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
