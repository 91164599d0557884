"""The public API as a type checker sees it. Never run, only checked."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, assert_type

from django.contrib.auth.models import AbstractBaseUser, Group
from django.db import models

import django_customerio as cio
from django_customerio import CustomerIOMixin
from django_customerio import attributes as attrs
from django_customerio.accessors import PersonAccessor
from django_customerio.client import AppClient, TrackClient, get_app_client
from django_customerio.exceptions import APIError, CustomerIOError, InvalidMessage
from django_customerio.testing import Said, capture

# Mapping


def lifetime_value(customer: Customer) -> Decimal:
    return Decimal(customer.pk)


class Customer(CustomerIOMixin, models.Model):
    email = models.EmailField()

    class CustomerIO:
        id = "pk"
        attributes = [
            "email",
            attrs.Timestamp("created_at", source="date_joined"),
            attrs.Number("lifetime_value", source=lifetime_value, depends_on=["orders"]),
            attrs.Boolean("unsubscribed", owner="customerio"),
        ]
        on_create = "signed_up"


@cio.register(Group)
class GroupMap(cio.PersonMap):
    id = "pk"
    attributes = ["name"]
    on_delete = "keep"


assert_type(GroupMap, type[GroupMap])


class Money(attrs.String):
    def clean(self, value: Any) -> str | None:
        return super().clean(value and f"{value.amount}")


# Events


class SubscriptionStarted(cio.Event):
    plan: Literal["free", "pro", "enterprise"]
    amount: Decimal
    coupon: str | None = None


started = SubscriptionStarted(plan="pro", amount=Decimal("9.00"))
assert_type(started.plan, Literal["free", "pro", "enterprise"])
assert_type(started.coupon, str | None)
SubscriptionStarted(plan="gold", amount=Decimal(9))  # type: ignore[arg-type]
SubscriptionStarted(plan="free")  # type: ignore[call-arg]
SubscriptionStarted("free", Decimal(9))  # type: ignore[call-arg]
started.plan = "free"  # type: ignore[misc]


# Verbs


def say(customer: Customer, user: AbstractBaseUser, at: datetime) -> None:
    cio.identify(customer)
    cio.identify(42, {"plan": "pro"}, timestamp=at)
    cio.track(customer, "bought", {"items": [1, 2]}, expires=timedelta(hours=1))
    cio.track(user, started, using="default")
    cio.track({"email": "ada@example.com"}, "bought", workspace="brand_b")
    cio.page(customer, "/pricing", {"referrer": "/"})
    cio.screen(customer, "Pricing")
    cio.delete(customer)
    cio.suppress("42")
    cio.unsuppress("42")
    cio.merge(customer, {"id": "old"})
    cio.add_device(customer, "token", "ios")
    cio.delete_device(customer, "token")
    cio.track(customer)  # type: ignore[call-arg]
    cio.track(customer, 42)  # type: ignore[arg-type]
    cio.track(customer, "bought", None, "default")  # type: ignore[call-arg]

    assert_type(customer.customerio, PersonAccessor)
    customer.customerio.track("bought", {"plan": "pro"})
    customer.customerio.track(started)
    customer.customerio.identify()


async def say_async(customer: Customer) -> None:
    await cio.aidentify(customer)
    await cio.atrack(customer, started)
    await customer.customerio.atrack("bought")


# Client

assert_type(cio.get_client(), TrackClient)
assert_type(get_app_client("brand_b"), AppClient)


def judge(error: CustomerIOError) -> float | None:
    if isinstance(error, APIError):
        assert_type(error.status, int | None)
        assert_type(error.endpoint, str)
    if isinstance(error, InvalidMessage):
        assert_type(error.field, str | None)
    assert_type(error.retryable, bool)
    return error.retry_after


# Testing

with capture() as said:
    assert_type(said.assert_tracked("bought", plan="pro"), Said)
    assert_type(said.identifies[0].data, dict[str, Any])
