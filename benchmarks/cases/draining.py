"""How fast one worker drains, beside the least that any loop must do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import perf_counter

from django.db.models import F, Value
from django.db.models.functions import Concat

from benchmarks import rawloop, rival, server
from benchmarks.figures import Figure, absent, rate, ratio
from benchmarks.filling import clear_ledger, configured, fill, prepare_events, prepare_states
from benchmarks.isolation import Place
from benchmarks.people.models import Mapped
from django_customerio import delivery
from django_customerio.models import OutboxMessage

LEAST = {"postgres": 30_000, "mariadb": 20_000, "sqlite": 15_000}
MONTH = timedelta(days=30)


def timed(count: int, drain: Callable[[], object], url: str, *, said: int | None = None) -> float:
    """Fill the outbox, drain it and return how many messages a second that were.

    Args:
        said: how many of them the server must have seen; all by default.
    """
    fill(count)
    server.reset(url)
    began = perf_counter()
    drain()
    seconds = perf_counter() - began
    arrived, left = server.counts(url)["items"], OutboxMessage.objects.count()
    if left or arrived != (count if said is None else said):
        raise AssertionError(f"{arrived} of {count} arrived and {left} are left")
    return count / seconds


def drain() -> None:
    """Drain as the command does."""
    report = delivery.drain(using="default")
    if report.outcome != "empty":
        raise AssertionError(f"the drain ended {report.outcome}: {report.reason}")


def events(place: Place) -> list[Figure]:
    """Drain events of 300 bytes, beside a raw loop and the official client."""
    count, rounds = (10_000, 3) if place.quick else (50_000, 5)
    prepare_events()
    ours: list[float] = []
    kept: list[float] = []
    raw: list[float] = []
    theirs: list[float] = []
    for number in range(rounds + 1):
        each = (
            timed(count, drain, place.url),
            timed(count, lambda: rawloop.drain(place.url), place.url),
            _with_ledger(count, place.url),
        )
        if place.rival:
            theirs.append(_rival(place))
        if number:  # the first only warms up
            for rates, value in zip((ours, raw, kept), each, strict=True):
                rates.append(value)
    least = 0.5 if place.database == "sqlite" else 0.7
    client = "events, no ledger : the official client call by call"
    return [
        rate("events, no ledger", ours, at_least=LEAST[place.database]),
        ratio("events, no ledger : raw loop", ours, raw, at_least=least),
        ratio("events, with the ledger : without", kept, ours, at_least=0.7),
        ratio(client, ours, theirs, at_least=25, digits=0)
        if theirs
        else absent(client, f"customerio {rival.VERSION} is not installed"),
    ]


def _with_ledger(count: int, url: str) -> float:
    clear_ledger()
    with configured(KEEP_SENT=MONTH):
        return timed(count, drain, url)


def _rival(place: Place) -> float:
    script = Path(rival.__file__)
    said = subprocess.run(
        [place.rival, str(script), place.url, "300" if place.quick else "1000"],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(said.stdout)


def states(place: Place) -> list[Figure]:
    """Drain one look at each of many people: all changed, and none."""
    count, rounds = (3_000, 3) if place.quick else (10_000, 5)
    prepare_states(count)
    timed(count, drain, place.url)  # everybody is told
    changed: list[float] = []
    unchanged: list[float] = []
    for _ in range(rounds):
        Mapped.objects.update(
            visits=F("visits") + 1, first_name=Concat(Value("Visit "), F("visits"))
        )
        changed.append(timed(count, drain, place.url))
        unchanged.append(timed(count, drain, place.url, said=0))
    strict = place.database == "postgres"
    return [
        rate("people, all changed", changed, at_least=8_000 if strict else None),
        rate("people, none changed", unchanged, at_least=12_000 if strict else None),
    ]


def busy_people(place: Place) -> list[Figure]:
    """Drain events of 50 people, whose order must be kept."""
    count, rounds = (10_000, 3) if place.quick else (50_000, 5)
    prepare_events(people=50)
    rates = [timed(count, drain, place.url) for _ in range(rounds + 1)][1:]
    return [rate("events of 50 busy people", rates, at_least=20_000)]
