"""A backlog a hundred times as long: the same rate, the same memory."""

from __future__ import annotations

from time import perf_counter

from benchmarks.cases.draining import drain
from benchmarks.figures import Figure, absent, amount, ratio
from benchmarks.filling import fill, prepare_events
from benchmarks.isolation import Place, measure, peak_memory

SMALL = 10_000


def backlog(place: Place) -> list[Figure]:
    """Drain a small and a large backlog, each by a process of its own."""
    what = f"backlog of {place.large:,} : of {SMALL:,}, events a second"
    if not place.large:
        return [absent("backlog of 1,000,000", "left out by --quick")]
    prepare_events()
    small: list[float] = []
    small_peaks: list[float] = []
    for _ in range(3):
        fill(SMALL)
        speed, peak = measure("benchmarks.cases.backlog:drained", place, count=SMALL)
        small.append(speed)
        small_peaks.append(peak)
    fill(place.large)
    speed, peak = measure("benchmarks.cases.backlog:drained", place, count=place.large)
    return [
        ratio(what, [speed], small, at_least=0.65),
        amount(
            f"peak memory of {place.large:,} beyond that of {SMALL:,}",
            max(0.0, peak - max(small_peaks)),
            "MB",
            at_most=5,
            note=f"{peak:.0f} MB in all",
        ),
    ]


def drained(place: Place, *, count: int) -> tuple[float, float]:
    """Drain the outbox as it is; returns messages a second and the peak memory in MB."""
    began = perf_counter()
    drain()
    return count / (perf_counter() - began), peak_memory()
