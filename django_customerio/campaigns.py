"""Which messages can still start a campaign at Customer.io."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from .models import OutboxMessage

WINDOW = 72 * 3600
"""Seconds. An event with a time of its own no older than this can start a campaign."""

EVENT_KINDS = (
    OutboxMessage.Kind.EVENT,
    OutboxMessage.Kind.ANONYMOUS_EVENT,
    OutboxMessage.Kind.PAGE,
    OutboxMessage.Kind.SCREEN,
)


def count_fresh_events(messages: QuerySet[OutboxMessage]) -> int:
    """Count the stopped events that can start a campaign when they are sent again.

    Their own time decides, for an event may be told long after it happened.
    """
    now = time.time()
    rows = messages.filter(kind__in=EVENT_KINDS).exclude(state=OutboxMessage.State.PENDING)
    return sum(
        now - _event_time(body, created) < WINDOW
        for body, created in rows.order_by("pk")
        .values_list("body", "created_at")
        .iterator(chunk_size=500)
    )


def _event_time(body: str, created: datetime) -> float:
    try:
        item: Any = json.loads(body)
        return float(item["timestamp"])
    except (ValueError, TypeError, KeyError):
        return created.timestamp()
