"""Customers, what they can subscribe to, and what they bought.

Customer.io is mentioned in two places: the inner class of `Customer` says what describes
a person, and the methods that do business track an event in their own transaction.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models, transaction
from django.utils import timezone

from django_customerio import CustomerIOMixin
from django_customerio import attributes as attrs
from shop.events import Purchased, SubscriptionCancelled, SubscriptionStarted


class Plan(models.Model):
    """Something to subscribe to."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=40)
    price = models.DecimalField(max_digits=8, decimal_places=2, help_text="For a month.")
    summary = models.CharField(max_length=200)
    features = models.TextField(help_text="One a line.")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position",)

    def __str__(self) -> str:
        return self.name

    @property
    def feature_list(self) -> list[str]:
        return self.features.splitlines()


class CustomerManager(UserManager):
    """Customers are known by their e-mail address; they have no other name to log in with."""

    def _create_user(self, email: str, password: str | None, **fields: Any) -> Customer:
        customer = self.model(email=self.normalize_email(email).lower(), **fields)
        customer.set_password(password)
        customer.save(using=self._db)
        return customer

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Customer:
        return self._create_user(email, password, **fields)

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> Customer:
        return self._create_user(email, password, is_staff=True, is_superuser=True, **fields)


class Customer(CustomerIOMixin, AbstractUser):
    """Somebody with an account."""

    username = None
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    email = models.EmailField("e-mail address", unique=True)
    plan = models.ForeignKey(Plan, models.PROTECT, null=True, blank=True)
    plan_since = models.DateTimeField(null=True, blank=True)
    lifetime_value = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal(0))
    unsubscribed = models.BooleanField("no newsletters", default=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = CustomerManager()

    class CustomerIO:
        id = "uuid"
        attributes = (
            "email",
            "first_name",
            "is_active",
            "lifetime_value",
            attrs.Timestamp("created_at", source="date_joined"),
            attrs.String("plan", source="plan__slug"),
            attrs.Boolean("unsubscribed", owner="customerio"),
        )
        on_create = "signed_up"
        on_login = "logged_in"
        on_delete = "delete"
        when = staticmethod(lambda customer: not customer.is_staff)

    def __str__(self) -> str:
        return self.first_name or self.email

    @transaction.atomic
    def subscribe(self, plan: Plan) -> bool:
        """Starts a plan, in place of another one if there is one, and pays its first month.

        False, and nothing happens, if it is the customer's plan already.
        """
        # The row as it is now: somebody may have clicked twice.
        previous = type(self).objects.select_for_update().get(pk=self.pk).plan
        if previous == plan:
            return False
        self.plan, self.plan_since = plan, timezone.now()
        self.save(update_fields=["plan", "plan_since"])
        self._pay(plan.price, 1, timezone.now(), f"{plan.name}, one month")
        self.customerio.track(
            SubscriptionStarted(
                plan=plan.slug,
                amount=plan.price,
                previous_plan=previous.slug if previous else None,
            )
        )
        return True

    @transaction.atomic
    def cancel(self, reason: Any) -> None:
        """Ends the plan; nothing happens without one."""
        if self.plan is None:
            return
        ended = SubscriptionCancelled(plan=self.plan.slug, reason=reason)
        self.plan = self.plan_since = None
        self.save(update_fields=["plan", "plan_since"])
        self.customerio.track(ended)

    @transaction.atomic
    def buy(self, *, quantity: int, amount: Decimal, placed_at: datetime, line: str) -> Order:
        """Takes an order that may lie in the past, and tells of it with its own date."""
        order = self._pay(amount, quantity, placed_at, f"{quantity} CDs", line=line)
        self.customerio.track(
            Purchased(quantity=quantity, amount=amount), timestamp=order.placed_at
        )
        return order

    def _pay(
        self, amount: Decimal, quantity: int, placed_at: datetime, what: str, **fields: Any
    ) -> Order:
        # The row as it is now, not as it was when this instance was read.
        locked = type(self).objects.select_for_update().get(pk=self.pk)
        locked.lifetime_value += amount
        locked.save(update_fields=["lifetime_value"])
        self.lifetime_value = locked.lifetime_value
        return Order.objects.create(
            customer=self,
            amount=amount,
            quantity=quantity,
            placed_at=placed_at,
            description=what,
            **fields,
        )


class Order(models.Model):
    """What was bought, and for how much."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    placed_at = models.DateTimeField()
    description = models.CharField(max_length=100)
    quantity = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    line = models.CharField(
        "line of an import",
        max_length=40,
        unique=True,
        null=True,
        blank=True,
        help_text="Where it came from; the same line is never taken twice.",
    )

    class Meta:
        ordering = ("-placed_at", "-id")

    def __str__(self) -> str:
        return f"{self.description}, {self.amount}"
