"""Draining over a line of 50 ms, with one worker and with four."""

from __future__ import annotations

from time import monotonic, sleep

from benchmarks import server
from benchmarks.figures import Figure, rate
from benchmarks.filling import fill, prepare_events
from benchmarks.isolation import Place, Running
from django_customerio import delivery
from django_customerio.models import OutboxMessage

LATENCY = 0.05
STARTING = 5.0
"""Seconds until all workers have started."""


def with_latency(place: Place) -> list[Figure]:
    """Drain events over a slow line, with worker processes that share the lanes."""
    rounds = 1 if place.quick else 3
    prepare_events()
    figures = []
    for workers, count, at_least in ((1, 30_000, 6_000), (4, 60_000, 17_000)):
        count = count // 3 if place.quick else count
        rates = [_round(place, workers, count) for _ in range(rounds)]
        words = f"{workers} worker{'s' * (workers > 1)}"
        figures.append(rate(f"events at 50 ms, {words}", rates, at_least=at_least))
    return figures


def _round(place: Place, workers: int, count: int) -> float:
    fill(count)
    server.reset(place.url, latency=LATENCY)
    begin = monotonic() + STARTING
    running = [
        Running("benchmarks.cases.workers:work", place, begin=begin) for _ in range(workers)
    ]
    ended = max(each.result() for each in running)
    server.reset(place.url)
    if OutboxMessage.objects.exists():
        raise AssertionError("something is left")
    return count / (ended - begin)


def work(place: Place, *, begin: float) -> float:
    """Drain together with others until nothing is left; returns when the last batch ended."""
    ended = begin
    settled = 0
    OutboxMessage.objects.exists()  # connects

    def progress(report: delivery.Report) -> None:
        nonlocal ended, settled
        if report.settled != settled:
            ended, settled = monotonic(), report.settled

    sleep(max(0.0, begin - monotonic()))
    if monotonic() > begin + 0.5:
        raise AssertionError("the worker started late: the machine is too busy")
    while delivery.drain(using="default", progress=progress).outcome != "empty":
        settled = 0
        sleep(0.01)
    return ended
