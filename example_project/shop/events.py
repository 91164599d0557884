"""What the shop tells about its customers: one class for each event."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import django_customerio as cio

Reason = Literal["price", "unused", "missing_feature", "other"]


class SubscriptionStarted(cio.Event):
    plan: str
    amount: Decimal
    previous_plan: str | None = None


class SubscriptionCancelled(cio.Event):
    plan: str
    reason: Reason


class Purchased(cio.Event):
    quantity: int
    amount: Decimal
