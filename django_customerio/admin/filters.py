"""Filters of the outbox and the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_customerio.conf import get_settings
from django_customerio.delivery import outbox_aliases
from django_customerio.mapping import registry

DATABASE = "database"
"""The parameter that names the database whose outbox is shown."""


class _Choice(admin.SimpleListFilter):
    """Exact values of one field, known without asking the database for all that occur."""

    def has_output(self) -> bool:
        # One workspace is no choice; a value in the address still counts.
        return len(self.lookup_choices) > 1 or self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(**{str(self.parameter_name): value})


class WorkspaceFilter(_Choice):
    """By workspace."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in get_settings().workspaces]


class ModelFilter(_Choice):
    """By the model of the row a message is about."""

    title = _("model")
    parameter_name = "model"

    def has_output(self) -> bool:
        # Even one model is a choice: what code said about a plain id names none.
        return bool(self.lookup_choices)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Two models may bear one name, never one label.
        return sorted((person_map.label, person_map.label) for person_map in registry)


class DatabaseFilter(_Choice):
    """By database, where several have an outbox; ``get_queryset`` has already chosen."""

    title = _("database")
    parameter_name = DATABASE

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in outbox_aliases()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class AgeFilter(admin.SimpleListFilter):
    """By age."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("1h", _("Older than 1 hour")),
            ("24h", _("Older than 24 hours")),
            ("72h", _("Older than 72 hours")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        hours = {"1h": 1, "24h": 24, "72h": 72}.get(self.value() or "")
        if hours is None:
            return queryset
        return queryset.filter(created_at__lt=timezone.now() - timedelta(hours=hours))
