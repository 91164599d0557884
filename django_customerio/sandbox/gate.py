"""One writer at a time, and the number each request gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import router, transaction
from django.db.models import F

from .models import Activity, Person, Workspace

_gate = threading.Lock()


def now_ms() -> int:
    """The time by this machine's clock, in milliseconds."""
    return time.time_ns() // 1_000_000


@contextmanager
def writing() -> Iterator[tuple[str, int]]:
    """One request at a time: yields the database's alias and the number of the request."""
    using = router.db_for_write(Person)
    # The lock spares threads of one process the database's own, coarser waiting. The first
    # statement writes, so that SQLite never has to turn a read lock into a write lock.
    with _gate, transaction.atomic(using=using):
        rows = Workspace.objects.using(using)
        if not rows.filter(pk=1).update(requests=F("requests") + 1):
            rows.create(pk=1, requests=1)
        yield using, rows.values_list("requests", flat=True).get(pk=1)


def note(kind: str, outcome: str, why: str, *, payload: str = "", name: str = "") -> None:
    """Keeps what became of a request, or of a part of one, that touched nobody."""
    with writing() as (using, request):
        Activity.objects.using(using).create(
            request=request,
            received_at=now_ms(),
            kind=kind,
            outcome=outcome,
            note=why[:300],
            name=name[:200],
            payload=payload.encode(errors="replace").decode().replace("\0", "\ufffd"),
        )
