"""What a person decides about messages: send again, or give up.

Both are conditional on the state, in the statement itself, so that they cannot fight a
worker: what a worker sent in the meantime is gone, and what it may be sending is pending.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from . import senders
from .conf import get_settings
from .models import OutboxMessage
from .settling import State

_CHUNK = 500


def resend(ids: Iterable[int], *, using: str) -> list[int]:
    """Make dead and held messages pending again, meant for the site as it is set now.

    Returns:
        The ids of those that will be sent; the others were neither dead nor held.
    """
    done: list[int] = []
    settings = get_settings()
    with transaction.atomic(using=using):
        for chunk in _chunks(ids):
            stuck = {"pk__in": chunk, "state__in": [State.DEAD, State.HELD]}
            found: dict[str, list[int]] = {}
            for pk, workspace in _locked(using, **stuck).values_list("pk", "workspace"):
                found.setdefault(workspace, []).append(pk)
            for workspace, pks in found.items():
                if workspace not in settings.workspaces:
                    continue
                OutboxMessage.objects.using(using).filter(pk__in=pks).update(
                    state=State.PENDING,
                    site=settings.workspaces[workspace].site,
                    attempts=0,
                    first_failed_at=None,
                    retry_at=0,
                    answer="",
                )
                done += pks
        if done:
            transaction.on_commit(
                lambda: senders.wake(using, sweep=True), using=using, robust=True
            )
    return done


def discard(ids: Iterable[int], *, using: str) -> list[int]:
    """Delete messages for good: dead, held, or pending ones that no worker got to yet.

    Returns:
        The ids of those that are gone.
    """
    done: list[int] = []
    with transaction.atomic(using=using):
        for chunk in _chunks(ids):
            there = list(_locked(using, pk__in=chunk).values_list("pk", flat=True))
            OutboxMessage.objects.using(using).filter(pk__in=there).delete()
            done += there
    return done


def _locked(using: str, **filters: Any) -> QuerySet[OutboxMessage]:
    """Rows that nobody else changes before this transaction ends.

    Locked by writing, for SQLite has no other way, and refuses to write once it has read.
    """
    rows = OutboxMessage.objects.using(using).filter(**filters).order_by("pk")
    rows.update(state=F("state"))
    return rows


def _chunks(ids: Iterable[int]) -> Iterable[list[int]]:
    everything = sorted(set(ids))
    for start in range(0, len(everything), _CHUNK):
        yield everything[start : start + _CHUNK]
