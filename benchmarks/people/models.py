"""A model that is mapped, and its twin that is not."""

from __future__ import annotations

from django.db import models

from django_customerio import attributes as attrs
from django_customerio.mixins import CustomerIOMixin


class _Fields(models.Model):
    email = models.EmailField()
    first_name = models.CharField(max_length=50)
    last_name = models.CharField(max_length=50)
    plan = models.CharField(max_length=20, default="free")
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField()
    visits = models.PositiveIntegerField(default=0)
    notes = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.email


class Mapped(CustomerIOMixin, _Fields):
    """Told to Customer.io; ``visits`` and ``notes`` are not."""

    class CustomerIO:
        attributes = [
            "email",
            "first_name",
            "last_name",
            "plan",
            "is_active",
            attrs.Timestamp("created_at", source="joined_at"),
        ]


class Bare(_Fields):
    """The same without a map."""
