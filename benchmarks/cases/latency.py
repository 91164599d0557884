"""From the commit to the request, on an idle system with the thread sender."""

from __future__ import annotations

from statistics import median
from time import monotonic, sleep

from django.db import transaction

import django_customerio as cio
from benchmarks import server
from benchmarks.figures import Figure, amount, percentile
from benchmarks.filling import clear, configured
from benchmarks.isolation import Place

PAUSE = 0.2
"""Seconds between two commits: a first message after a pause goes at once."""


def commit_to_request(place: Place) -> list[Figure]:
    """Commit one event at a time and see when its request arrives."""
    count = 30 if place.quick else 150
    clear()
    with configured(SENDER="thread"):
        cio.track("warm-up", "purchased", {})
        sleep(1)
        server.reset(place.url)
        committed = []
        for number in range(count):
            with transaction.atomic():
                # Registered first, so it runs after the commit and before the wake-up.
                transaction.on_commit(lambda: committed.append(monotonic()))
                cio.track(f"person-{number}", "purchased", {})
            sleep(PAUSE)
        arrived = server.counts(place.url)["arrivals"]
    if len(arrived) != count:
        raise AssertionError(f"{count} commits made {len(arrived)} requests")
    waits = [(b - a) * 1000 for a, b in zip(committed, arrived, strict=True)]
    return [
        amount("commit → request, thread sender, median", median(waits), "ms", at_most=5),
        amount("commit → request, thread sender, p99", percentile(waits, 0.99), "ms", at_most=20),
    ]
