"""A small shop: one model for each way in which a row can be a person."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower

from django_customerio import attributes as attrs
from django_customerio.mixins import CustomerIOMixin


class Plan(models.Model):
    """What can be subscribed to; nobody over there."""

    name = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal("0.00"))

    def __str__(self) -> str:
        return self.name


def lifetime_value(customer: Customer) -> Decimal:
    """What the customer's orders come to."""
    return sum((order.total for order in customer.orders.all()), Decimal("0.00"))


class Customer(CustomerIOMixin, AbstractUser):
    """The swapped user model, with one attribute of each kind."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    nickname = models.CharField(max_length=50, blank=True)
    is_unsubscribed = models.BooleanField(default=False)

    class CustomerIO:
        id = "uuid"
        attributes = [
            "email",
            "first_name",
            "is_active",
            attrs.Timestamp("created_at", source="date_joined"),
            attrs.String("plan", source="subscription__plan__name"),
            attrs.Number("lifetime_value", source=lifetime_value, depends_on=["orders"]),
            attrs.Boolean("unsubscribed", source="is_unsubscribed", owner="customerio"),
        ]
        on_login = "logged_in"
        prefetch_related = ("orders",)


class Regular(Customer):
    """A proxy of the user model."""

    class Meta:
        proxy = True


class VIP(Customer):
    """A multi-table child of the user model."""

    level = models.PositiveSmallIntegerField(default=1)


class Partner(Customer):
    """A multi-table child with a map of its own, but the same person."""

    company = models.CharField(max_length=50, blank=True)

    class CustomerIO:
        id = "uuid"
        attributes = ["email", "company"]


class Subscription(models.Model):
    """At most one a customer."""

    customer = models.OneToOneField(
        Customer, on_delete=models.CASCADE, related_name="subscription"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)

    def __str__(self) -> str:
        return f"{self.customer_id} {self.plan_id}"


class Order(models.Model):
    """Something bought."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.pk}"


class Visitor(models.Model):
    """A model that one cannot edit; registered in ``customerio_maps``."""

    email = models.EmailField(blank=True)
    city = models.CharField(max_length=50, blank=True)
    visits = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pk}"


class Person(models.Model):
    """A registered model with a multi-table child, both without the mixin."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Teacher(Person):
    """Its child; known over there as the person."""

    subject = models.CharField(max_length=50, blank=True)


class Reader(CustomerIOMixin, models.Model):
    """Known by e-mail address; tells when one is created."""

    email = models.EmailField(null=True, blank=True)
    name = models.CharField(max_length=50, blank=True)
    topics = models.JSONField(default=list)

    class CustomerIO:
        id = "email"
        id_type = "email"
        attributes = ["name", "topics"]
        on_create = "subscribed"

    def __str__(self) -> str:
        return self.name


class Patient(CustomerIOMixin, models.Model):
    """Who must never be written to again once deleted."""

    name = models.CharField(max_length=50)

    class CustomerIO:
        attributes = ["name"]
        on_delete = "suppress"

    def __str__(self) -> str:
        return self.name


class Donor(CustomerIOMixin, models.Model):
    """Who stays over there when deleted here."""

    name = models.CharField(max_length=50)

    class CustomerIO:
        attributes = ["name"]
        on_delete = "keep"

    def __str__(self) -> str:
        return self.name


class Employee(CustomerIOMixin, models.Model):
    """Told only while ``when`` holds."""

    name = models.CharField(max_length=50)
    notes = models.CharField(max_length=50, blank=True)
    consented = models.BooleanField(default=True)

    class CustomerIO:
        attributes = ["name"]
        when = staticmethod(lambda employee: employee.consented)
        on_create = "hired"

    def __str__(self) -> str:
        return self.name


class Lead(CustomerIOMixin, models.Model):
    """Only ever updates people; its accessor has another name, and saves open no transaction."""

    name = models.CharField(max_length=50)

    class CustomerIO:
        attributes = ["name"]
        update_only = True
        accessor = "cio"
        atomic = False

    def __str__(self) -> str:
        return self.name


class PresentManager(models.Manager["Member"]):
    def get_queryset(self) -> models.QuerySet[Member]:
        return super().get_queryset().filter(removed=False)


class Member(CustomerIOMixin, models.Model):
    """Deleted softly: the default manager hides the row."""

    name = models.CharField(max_length=50)
    removed = models.BooleanField(default=False)
    objects = PresentManager()

    class CustomerIO:
        attributes = ["name", "removed"]

    def __str__(self) -> str:
        return self.name

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self.removed = True
        self.save(update_fields=["removed"])
        return 1, {}


class Account(CustomerIOMixin, models.Model):
    """Known by the key of the customer it belongs to."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True)
    credit = models.IntegerField(default=0)
    favourite = models.ForeignKey(Plan, null=True, blank=True, on_delete=models.SET_NULL)

    class CustomerIO:
        attributes = ["credit", attrs.String("favourite", source="favourite__name")]

    def __str__(self) -> str:
        return f"{self.pk}"


class Seat(CustomerIOMixin, models.Model):
    """A composite key, with a field that names the person."""

    pk = models.CompositePrimaryKey("hall", "number")
    hall = models.CharField(max_length=10)
    number = models.PositiveIntegerField()
    holder = models.CharField(max_length=50)

    class CustomerIO:
        id = "holder"
        attributes = ["number"]

    def __str__(self) -> str:
        return self.holder


class Player(CustomerIOMixin, models.Model):
    """Known by a generated column."""

    handle = models.CharField(max_length=50)
    key = models.GeneratedField(
        expression=Lower("handle"),
        output_field=models.CharField(max_length=50),
        db_persist=True,
        unique=True,
    )

    class CustomerIO:
        id = "key"
        attributes = ["handle", "key"]

    def __str__(self) -> str:
        return self.handle
